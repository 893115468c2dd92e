"""Classes by the name that settings give them."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name

from ferrokv import DataError


def named(option: str, known: Mapping[str, type], given: object) -> object:
    """What an option names: one of the `known`, or by dotted path; an object is its own name. `DataError` if there is none."""
    if not isinstance(given, str):
        return given
    try:
        return known.get(given) or resolve_name(given)
    except (ImportError, AttributeError, ValueError) as error:
        raise DataError(f"{option} must be one of {sorted(known)} or a class: {given!r}") from error
