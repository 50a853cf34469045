"""What is wrong with a key of a task's definition, and where that key stands."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from adaptershare_cli.data.names import near_names


class KeyFault(ValueError):
    """What is wrong with one key, and what to do about it; `keys` lead to it from the value that was looked at."""

    def __init__(self, what: str, fix: str = "", keys: Iterable[str] = ()) -> None:
        super().__init__(what)
        self.what, self.fix, self.keys = what, fix or "Correct the definition.", tuple(keys)

    def sentence(self, key: str) -> str:
        """What is wrong, with the key's full name ("" for the definition as a whole)."""
        return f"`{key}` {self.what}" if key else self.what


class UnknownKey(KeyFault):
    """A key that is none of those `known` where it stands."""

    def __init__(self, key: str, known: Collection[str]) -> None:
        super().__init__("", f"{near_names(key, known)}Known: {', '.join(known)}.", [key])

    def sentence(self, key: str) -> str:
        return f"unknown key `{key}`"


@contextmanager
def inside(*keys: str) -> Iterator[None]:
    """Faults that are found in here are of what stands below `keys`."""
    try:
        yield
    except KeyFault as fault:
        fault.keys = (*keys, *fault.keys)
        raise


def check_one_of(known: Collection[str], written: str) -> str:
    """The text itself. Raises KeyFault if it is none of the names `known`."""
    if written not in known:
        raise KeyFault(f"cannot be `{written}`", f"{near_names(written, known)}Known: {', '.join(known)}.")
    return written
