"""A setting stands once: default, help, range and choices on a dataclass's field.

Checks, ``--help`` and the page of settings in the docs are made from these fields.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hadis_lightly.checks import is_number

#: What a change of a setting alters: results, only their last bits, or nothing.
Effect = Literal["results", "rounding", "nothing"]

# No sensible number is larger; far below what overflows.
_MAX_NUMBER = 10**12
_WORDS = {
    bool: "true or false",
    int: "an integer",
    float: "a finite number",
    str: "text",
    type(None): "null",
}


@dataclass(frozen=True)
class FieldInfo:
    """What is known of a setting beside its type and default."""

    help: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    reason: str = ""
    effect: Effect = "results"
    is_path: bool = False

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value of the right type: ``must be >= 2``, or None.

        Every number of a list has to lie in the range.
        """
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        if self.is_path and not isinstance(value, str) and not (is_list and value):
            return "must be a path or a list of paths"
        if is_list:
            return next(filter(None, map(self.problem, value)), None)
        if self.is_path and not value.strip():
            return "must not be empty"  # which would mean the current folder
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}"
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return None
        why = f" ({self.reason})" if self.reason else ""
        if self.above is not None and not value > self.above:
            return f"must be > {self.above}{why}"
        if self.low is not None and not value >= self.low:
            return f"must be >= {self.low}{why}"
        if self.high is not None and not value <= self.high:
            return f"must be <= {self.high}{why}"
        return None


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: Sequence[str] = (),
    reason: str = "",
    effect: Effect = "results",
    is_path: bool = False,
) -> Any:
    """A field of a dataclass of settings.

    Args:
        default: Value if none is given; a list or a dictionary is copied.
        help: What it means, in one or two sentences; the paper's value if it differs.
        low: Lowest value allowed.
        high: Highest value allowed.
        above: The value must be larger than this.
        choices: All values allowed.
        reason: Why the range is what it is, in a few words.
        effect: What a change alters: "results", only their last bits ("rounding"), or
            "nothing" that a run leaves behind.
        is_path: Whether it is a path, or a list of them, in which ``~`` is the home
            folder; it must not be empty.

    Example:
        >>> @dataclass
        ... class LossSettings:
        ...     temperature: float = setting(0.5, "Temperature.", above=0)
        >>> check_fields(LossSettings(temperature=0.0), "loss.")
        Traceback (most recent call last):
        ValueError: loss.temperature must be > 0, got 0.0.
    """
    info = FieldInfo(help, low, high, above, tuple(choices), reason, effect, is_path)
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: deepcopy(default), metadata={"info": info})
    return field(default=default, metadata={"info": info})


def field_infos(section: Any, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Full name and description of every setting, of sections inside as well.

    Args:
        section: A dataclass of settings, or its type.
        prefix: Comes before the names.
    """
    hints = get_type_hints(section if isinstance(section, type) else type(section))
    for own in fields(section):
        if "info" in own.metadata:
            yield f"{prefix}{own.name}", own.metadata["info"]
        elif is_dataclass(hints[own.name]):
            yield from field_infos(hints[own.name], f"{prefix}{own.name}.")


def text_settings(section: Any, prefix: str = "") -> dict[str, bool]:
    """Full names of all settings that are text or paths: whether each may be None.

    Args:
        section: A dataclass of settings, or its type.
        prefix: Comes before the names.
    """
    cls = section if isinstance(section, type) else type(section)
    infos = dict(field_infos(cls))
    found: dict[str, bool] = {}
    for name, hint in get_type_hints(cls).items():
        kinds = set(get_args(hint)) or {hint}
        if is_dataclass(hint):
            found |= text_settings(hint, f"{prefix}{name}.")
        elif kinds in ({str}, {str, type(None)}) or (
            name in infos and infos[name].is_path
        ):
            found[f"{prefix}{name}"] = kinds != {str}
    return found


def expand_paths(section: Any) -> None:
    """Puts the home folder in place of ``~`` in all settings that are paths.

    Args:
        section: A dataclass of settings, and of such dataclasses; it is changed.
    """
    for own in fields(section):
        value = getattr(section, own.name)
        if is_dataclass(value):
            expand_paths(value)
        elif "info" in own.metadata and own.metadata["info"].is_path:
            setattr(section, own.name, _expanded(value))


def _expanded(value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    return os.path.expanduser(value) if isinstance(value, str) else value


def check_fields(section: Any, prefix: str = "") -> None:
    """Checks types, ranges and choices of all settings, of sections inside as well.

    Args:
        section: A dataclass of settings, and of such dataclasses.
        prefix: Comes before their names.

    Raises:
        TypeError: If a value is not of its type; names the setting and the value.
        ValueError: If a value is not allowed.
    """
    hints = get_type_hints(type(section))
    infos = dict(field_infos(section))
    for name in (own.name for own in fields(section)):
        value, hint = getattr(section, name), hints[name]
        if is_dataclass(hint):
            if not is_dataclass(value):
                raise TypeError(
                    f"{prefix}{name} must be a section of settings, got {value!r}."
                )
            check_fields(value, f"{prefix}{name}.")
            continue
        if not _is_of(value, hint):
            words = _describe_type(hint)
            raise TypeError(f"{prefix}{name} must be {words}, got {value!r}.")
        if isinstance(value, (int, float)) and abs(value) > _MAX_NUMBER:
            raise ValueError(
                f"{prefix}{name} must be at most {_MAX_NUMBER:g}, got {value}."
            )
        problem = infos[name].problem(value) if name in infos else None
        if problem is not None and value is not None:
            raise ValueError(f"{prefix}{name} {problem}, got {value!r}.")


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a value is of a type: a plain one, a list of it, or one of several."""
    if hint is Any:  # a check of its own looks at it
        return True
    if hint is float:
        return isinstance(value, (int, float)) and is_number(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str) and "\0" not in value
    if hint in (bool, type(None)):
        return isinstance(value, hint)
    parts = get_args(hint)
    if get_origin(hint) is list:
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        return is_list and all(_is_of(item, parts[0]) for item in value)
    return any(_is_of(value, part) for part in parts)


def _describe_type(hint: Any) -> str:
    if hint in _WORDS:
        return _WORDS[hint]
    parts = [_describe_type(part) for part in get_args(hint)]
    if get_origin(hint) is list:
        return f"a list, each {parts[0]}"
    return " or ".join(parts)
