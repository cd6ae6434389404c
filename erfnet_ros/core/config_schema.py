"""Mappings out of YAML into frozen dataclasses: what does not fit is refused with key, value and what is allowed."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from erfnet_ros.core.errors import EvaluationError, ParameterError

T = TypeVar("T")

_RANGE = "range"


def ranged(low: float, high: float, default: Any = dataclasses.MISSING) -> Any:
    """Declare a dataclass field whose number, or each of whose numbers, lies in `low`..`high`."""
    return dataclasses.field(default=default, metadata={_RANGE: (low, high)})


def read_mapping(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        ParameterError: The file cannot be read or is not YAML.
    """
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"Cannot read {path}: {error.strerror}; check the path.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ParameterError(f"Expected YAML in {path}, got: {' '.join(str(error).split())}.") from error


def build(cls: type[T], content: Any, where: str) -> T:
    """Make a dataclass out of a mapping, and the dataclasses in it out of the mappings in that.

    Types that are understood: bool, int, float, str, Literal of texts, None, dataclasses, `tuple` of these (of a fixed
    or any length), and unions.

    Args:
        cls: A dataclass; fields with a default may be left out.
        content: What to read.
        where: What to call the content in an error, such as `modern.yaml` or `modern.yaml: stages[0]`.

    Raises:
        ParameterError: A key is unknown or missing, or a value has the wrong type or is out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if not isinstance(content, dict):
        raise ParameterError(f"Expected a mapping with {', '.join(fields)} in {where}, got {content!r}.")
    unknown = [str(key) for key in content if key not in fields]
    if unknown:
        raise ParameterError(f"Expected keys out of {', '.join(fields)} in {where}, got '{unknown[0]}'.")
    missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in content]
    if missing:
        raise ParameterError(f"Expected the key '{missing[0]}' in {where}, got only {', '.join(content) or 'none'}.")
    hints = get_type_hints(cls)
    values = {}
    for name, value in content.items():
        values[name] = _converted(hints[name], value, f"{where}: {name}")
        _check_range(fields[name].metadata.get(_RANGE), values[name], f"{where}: {name}")
    try:
        return cls(**values)
    except ParameterError as error:
        raise ParameterError(f"{where}: {error}") from error


def _converted(hint: Any, value: Any, where: str) -> Any:
    """Return `value` as `hint` has it: lists as tuples, whole numbers as floats, mappings as dataclasses.

    A text that is a number is one where a float is due: YAML 1.1 reads 1e-3, which lacks the dot of 1.0e-3, as a text.
    """
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        if dataclasses.is_dataclass(option) and isinstance(value, dict):
            return build(option, value, where)  # type: ignore[arg-type]
        if get_origin(option) is tuple and isinstance(value, list):
            return _converted_list(option, value, where)
        if get_origin(option) is Literal and value in get_args(option) and isinstance(value, str):
            return value
        if option is float and type(value) in (int, float) and math.isfinite(value):
            return float(value)
        if option is float and isinstance(value, str) and (number := _number(value)) is not None:
            return number
        if option in (bool, int, str, type(None)) and type(value) is option:
            return value
    raise ParameterError(f"Expected {' or '.join(_described(option) for option in options)} as {where}, got {value!r}.")


def _number(text: str) -> float | None:
    """Return the finite number that a text is; None where it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _converted_list(hint: Any, value: list[Any], where: str) -> tuple[Any, ...]:
    parts = get_args(hint)
    if parts[-1] is Ellipsis:
        return tuple(_converted(parts[0], part, f"{where}[{n}]") for n, part in enumerate(value))
    if len(value) != len(parts):
        raise ParameterError(f"Expected {_described(hint)} as {where}, got {value!r}.")
    return tuple(
        _converted(hint, part, f"{where}[{n}]") for n, (hint, part) in enumerate(zip(parts, value, strict=True))
    )


def _described(hint: Any) -> str:
    """Return a type in a user's words."""
    if get_origin(hint) is Literal:
        return ", ".join(get_args(hint))
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        one = _described(parts[0])
        return f"a list, each {one}" if parts[-1] is Ellipsis else f"a list of {len(parts)}, each {one}"
    if dataclasses.is_dataclass(hint):
        return f"a mapping with {', '.join(field.name for field in dataclasses.fields(hint))}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "null"}
    return words[hint]


def _check_range(bounds: tuple[float, float] | None, value: Any, where: str) -> None:
    if bounds is None:
        return
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, (int, float)) and not bounds[0] <= number <= bounds[1]:
            raise ParameterError(f"Expected {bounds[0]:g} to {bounds[1]:g} as {where}, got {number:g}.")


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
