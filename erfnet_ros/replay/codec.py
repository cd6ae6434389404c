"""Frozen dataclasses to plain lists and numbers and back, with every value checked on the way in."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from erfnet_ros.core.errors import EvaluationError

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Return `value` in what JSON holds: dataclasses and mappings become objects, tuples lists.

    Objects with a `to_dict` of their own are asked for it.
    """
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(entry) for entry in value]
    return value


def decode(kind: type[T], content: Any, where: str) -> T:
    """Build a `kind` out of what `encode` gave.

    Args:
        kind: A dataclass, a class with `from_dict`, or a type that a field may have: int, float, str, bool, a tuple of
            any length, a mapping from text, and any of them or None.
        content: Plain lists, dicts, numbers and texts. Unknown keys of objects are left alone: a later version may
            have written them. A missing key takes the field's default.
        where: What to call the content in an error.

    Raises:
        EvaluationError: A key without default is missing, or a value is of another type or not finite.
    """
    return cast(T, _decoded(kind, content, where))


def _decoded(kind: Any, content: Any, where: str) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (wanted,) = (part for part in inner if part is not type(None))
        return None if content is None else _decoded(wanted, content, where)
    if origin is tuple:
        entries = _checked(content, list, where)
        return tuple(_decoded(inner[0], entry, f"{where}[{index}]") for index, entry in enumerate(entries))
    if origin is not None:
        entries = _checked(content, dict, where)
        return {key: _decoded(inner[1], entry, f"{where}.{key}") for key, entry in entries.items()}
    if hasattr(kind, "from_dict"):
        return _from_dict(kind, content, where)
    if dataclasses.is_dataclass(kind):
        return decode_fields(cast(type, kind), content, where)
    return _checked(content, kind, where)


def decode_fields(kind: type[T], content: Any, where: str) -> T:
    """Build a dataclass field by field, as `decode` does, though it may have a `from_dict` (which may call this).

    Raises:
        EvaluationError: As in `decode`.
    """
    content = _checked(content, dict, where)
    hints = typing.get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(cast(Any, kind)):
        if field.name in content:
            values[field.name] = _decoded(hints[field.name], content[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise EvaluationError(f"Expected '{field.name}' in {where}, got {_shown(sorted(content))}.")
    return kind(**values)


def _from_dict(kind: Any, content: Any, where: str) -> Any:
    try:
        return kind.from_dict(content)
    except EvaluationError:
        raise
    except Exception as error:
        # Whatever the part says of its own content, the file that holds it is what the user must replace.
        raise EvaluationError(f"Cannot read {where}: {error}") from error


def _checked(content: Any, kind: type, where: str) -> Any:
    if kind is float and type(content) is int:
        return float(content)
    if type(content) is not kind or (isinstance(content, float) and not math.isfinite(content)):
        names = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a finite number"}
        raise EvaluationError(f"Expected {names.get(kind, kind.__name__)} as {where}, got {_shown(content)}.")
    return content


def _shown(content: Any) -> str:
    text = repr(content)
    return text if len(text) <= 60 else f"{text[:57]}..."
