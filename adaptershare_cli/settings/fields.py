"""Settings as fields of frozen dataclasses: help texts, bounds, and what has an effect beside what."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import Field, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from adaptershare_cli.errors import UserError


def option(
    default: Any,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    needs: tuple[str, Any] | None = None,
    names: Literal["", "runs", "folder"] = "",
    basic: bool = False,
) -> Any:
    """A field with the help text and the bounds (both included) of its command-line option.

    It `needs` another field to have a certain value: without it, it would have no effect. A value that `names` runs or
    a folder counts by what it names, so the word itself stands in no key and no record. The short help shows those that
    are `basic`: what most people need.
    """
    metadata = {"help": help, "min": minimum, "max": maximum, "needs": needs, "names": names, "basic": basic}
    return field(default=default, metadata=metadata)


def valued_fields(settings: Any) -> list[str]:
    """The names of the fields whose values count in keys and records: not those that only name runs or a folder."""
    return [item.name for item in fields(settings) if not item.metadata.get("names")]


def flag(name: str, value: Any = None) -> str:
    """A field as it is written on the command line, with a value if it is given one."""
    written = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{written}" if value else f"--no-{written}"
    return f"--{written}" if value is None else f"--{written} {value}"


def check_settings(settings: Any, chosen: Container[str] = ()) -> None:
    """Raise UserError where a value lies outside its field's bounds, or would have no effect beside the others.

    `chosen` are the options that the user gave: one of them is looked at even if its value is the default.
    """
    by_name = {item.name: item for item in fields(settings)}
    for item in by_name.values():
        value = getattr(settings, item.name)
        check_value(item, value)
        needs = item.metadata.get("needs") if value != item.default or item.name in chosen else None
        while needs is not None:  # what is needed may need something itself
            name, needed = needs
            if getattr(settings, name) != needed:
                raise UserError(f"{flag(item.name)} belongs to {flag(name, needed)}", fix="Leave one of them out.")
            needs = by_name[name].metadata.get("needs")


def check_value(item: Field, value: Any) -> None:
    """Raise UserError where a value lies outside its field's bounds."""
    low, high = item.metadata.get("min"), item.metadata.get("max")
    if value is None or isinstance(value, bool | str):
        return
    too_low, too_high = low is not None and value < low, high is not None and value > high
    if not math.isfinite(value) or too_low or too_high:
        raise out_of_bounds(flag(item.name), value, low, high)


def out_of_bounds(option: str, value: Any, low: float | None, high: float | None) -> UserError:
    """The error that an option's value lies outside its bounds, or is not finite."""
    bounds = [f"{bound:g}" if isinstance(bound, float) else str(bound) for bound in (low, high) if bound is not None]
    must = f"between {' and '.join(bounds)}" if len(bounds) == 2 else ", at least ".join(["a finite number", *bounds])
    return UserError(f"{option} must be {must}, got {value}")


def option_value(settings: type, name: str, value: Any) -> Any:
    """A value as the option of that name can have it: None where no command line can say it."""
    kind = get_type_hints(settings)[name]
    if get_origin(kind) is Literal:
        return value if value in get_args(kind) else None
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind in (int, float):
        value = kind(value) if number and kind(value) == value else None
    elif not isinstance(value, kind):
        return None
    try:
        check_value(next(item for item in fields(settings) if item.name == name), value)
    except UserError:
        return None
    return value


def non_default(settings: Any) -> dict[str, Any]:
    """The settings that differ from their defaults, for an artefact's key (`valued_fields` alone)."""
    valued, defaults = valued_fields(settings), {item.name: item.default for item in fields(settings)}
    return {name: value for name in valued if (value := getattr(settings, name)) != defaults[name]}


def joint_settings(classes: list[type]) -> dict[str, Any]:
    """Every field that any of the given settings classes has, by name; the first class that has it defines it."""
    found: dict[str, Any] = {}
    for cls in classes:
        for item in fields(cls):
            found.setdefault(item.name, item)
    return found
