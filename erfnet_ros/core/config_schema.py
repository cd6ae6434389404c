"""Conversion between frozen dataclasses and the plain content of YAML and JSON files."""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from erfnet_ros.core.errors import ErfnetError, ParameterError
from erfnet_ros.core.printable_text import printable

T = TypeVar("T")

_RANGE = "range"

_SHOWN = 60
"""Characters of a wrong value in an error."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = _SHOWN


def ranged(low: float, high: float, default: Any = dataclasses.MISSING) -> Any:
    """Declare a dataclass field whose number, or each of whose numbers, lies in `low`..`high`."""
    return dataclasses.field(default=default, metadata={_RANGE: (low, high)})


def read_mapping(path: Path, most: int = 1 << 20) -> Any:
    """Return the content of a YAML file; raise ParameterError where it is larger than `most` bytes, or is not YAML.

    Aliases can make a small file stand for a content that takes hours to print: use `shown`.
    """
    import yaml

    try:
        size = path.stat().st_size
        if size > most:
            raise ParameterError(f"Expected at most {most} bytes of YAML in {path}, got {size}; is it another file?")
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"Cannot read {path}: {error.strerror}; check the path.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ParameterError(f"Expected YAML in {path}, got: {' '.join(str(error).split())}.") from error


def shown(value: Any) -> str:
    """Return a wrong value for an error, shortened."""
    return printable(_repr.repr(value), _SHOWN)


def encode(value: Any) -> Any:
    """Return `value` in what JSON holds: dataclasses and mappings become objects, tuples lists.

    Objects with a `to_dict` method are converted by it.
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


def to_json(value: Any) -> str:
    """Return what `encode` returns as a JSON text; raise ValueError where a number is not finite."""
    return json.dumps(encode(value), indent=1, allow_nan=False) + "\n"


def decode(kind: type[T], content: Any, where: str) -> T:
    """Build a `kind` from plain lists, dicts, numbers and texts, as `encode` or a YAML file gives them.

    Types that are understood: bool, int, float (finite), str, None, Literal of texts, dataclasses, classes with a
    `from_dict`, `tuple` (of a fixed or any length) and `Mapping` from text of these, and unions. YAML 1.1 reads 1e-3,
    which lacks the dot of 1.0e-3, as a text: a text that is a number is one where a float is expected.

    Args:
        kind: What to build. A missing key takes the field's default. Unknown keys are ignored: a later version may
            have written them.
        content: What to read.
        where: Name of the content in an error, such as `modern.yaml` or `modern.yaml: stages[0]`.

    Raises:
        ParameterError: A key without default is missing, or a value has the wrong type or is out of range.
    """
    return cast(T, _decoded(kind, content, where, strict=False))


def build(kind: type[T], content: Any, where: str) -> T:
    """Build a dataclass as `decode` does, and refuse unknown keys: what a user writes may have typing errors."""
    if not isinstance(content, dict):
        raise ParameterError(f"Expected {_described(kind)} in {where}, got {shown(content)}.")
    return decode_fields(kind, content, where, strict=True)


def decode_fields(kind: type[T], content: Any, where: str, *, strict: bool = False) -> T:
    """Build a dataclass field by field, as `decode` does, even if it has a `from_dict` (which may call this)."""
    fields = {field.name: field for field in dataclasses.fields(cast(Any, kind))}
    unknown = [str(key) for key in content if key not in fields]
    if strict and unknown:
        raise ParameterError(f"Expected keys out of {', '.join(fields)} in {where}, got '{unknown[0]}'.")
    hints, values = get_type_hints(kind), {}
    for name, field in fields.items():
        if name in content:
            values[name] = _decoded(hints[name], content[name], f"{where}: {name}", strict=strict)
            _check_range(field.metadata.get(_RANGE), values[name], f"{where}: {name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ParameterError(
                f"Expected the key '{name}' in {where}, got only {', '.join(map(str, content)) or 'none'}."
            )
    try:
        return kind(**values)
    except ParameterError as error:
        raise ParameterError(f"{where}: {error}") from error


def _decoded(kind: Any, value: Any, where: str, *, strict: bool) -> Any:
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for option in options:
        origin = get_origin(option)
        if option in (bool, int, str, type(None)) and type(value) is option:
            return value
        if option is float and (number := _number(value)) is not None:
            return number
        if origin is Literal and isinstance(value, str) and value in get_args(option):
            return value
        if origin is tuple and isinstance(value, list):
            return _decoded_list(option, value, where, strict=strict)
        if not isinstance(value, dict):
            continue
        if origin in (Mapping, dict):
            part = get_args(option)[1]
            return {key: _decoded(part, entry, f"{where}: {key}", strict=strict) for key, entry in value.items()}
        if hasattr(option, "from_dict"):
            try:
                return option.from_dict(value)
            except ErfnetError as error:
                raise ParameterError(f"Cannot read {where}: {error}") from error
        if dataclasses.is_dataclass(option):
            return decode_fields(cast(type, option), value, where, strict=strict)
    expected = " or ".join(_described(option) for option in options)
    raise ParameterError(f"Expected {expected} as {where}, got {shown(value)}.")


def _decoded_list(kind: Any, value: list[Any], where: str, *, strict: bool) -> tuple[Any, ...]:
    parts = get_args(kind)
    kinds = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
    if len(value) != len(kinds):
        raise ParameterError(f"Expected {_described(kind)} as {where}, got {shown(value)}.")
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_decoded(part, entry, f"{where}[{n}]", strict=strict) for n, (part, entry) in pairs)


def _number(value: Any) -> float | None:
    """Return the finite number that a number or a text is; None where it is none."""
    if type(value) not in (int, float, str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _described(kind: Any) -> str:
    """Return a type in a user's words."""
    if get_origin(kind) is Literal:
        return ", ".join(get_args(kind))
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        one = " or ".join(map(_described, get_args(parts[0]) or parts[:1]))
        return f"a list, each {one}" if parts[-1] is Ellipsis else f"a list of {len(parts)}, each {one}"
    if dataclasses.is_dataclass(kind):
        return f"a mapping with {', '.join(field.name for field in dataclasses.fields(kind))}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "null"}
    return words.get(kind, "a mapping")


def _check_range(bounds: tuple[float, float] | None, value: Any, where: str) -> None:
    if bounds is None:
        return
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, (int, float)) and not bounds[0] <= number <= bounds[1]:
            raise ParameterError(f"Expected {bounds[0]:g} to {bounds[1]:g} as {where}, got {number:g}.")
