"""Commands that a reader can give as they are, made from the command of a run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from adaptershare_cli.methods import METHODS

STAGE = "train-share"
NOT_COPIED = ("seed", "seeds", "method", "preset", "workspace")
ROOT_NAME = "adaptershare"


def training_command(
    command: str, tasks: Sequence[str], method: str, seeds: Iterable[int], plans: Sequence[str] = ()
) -> str:
    """The command that trains `method` with these seeds as the run with this `command` was trained.

    Options that the method does not know are left out. Where the run was not made by such a command, the tasks are
    named, and defaults are taken. A method that needs plans takes those of the runs `plans`.
    """
    words = shlex.split(command)
    start = words.index(STAGE) + 1 if STAGE in words else None
    kept = ["--tasks", ",".join(tasks)]
    if start is not None:
        strange = {name for spec in METHODS.values() for name in spec.options} - METHODS[method].options
        strange |= {"init_plan"} if plans else set()
        kept = [word for option in _options(words[start:]) if _name(option[0]) not in {*strange, *NOT_COPIED}
                for word in option]  # fmt: skip
    named = ["--method", method, "--seeds", ",".join(map(str, seeds))]
    if METHODS[method].needs_plan and plans:
        named += ["--init-plan", ",".join(plans)]
    return f"{ROOT_NAME} {STAGE} {shlex.join([*kept, *named])}"


def _options(words: Sequence[str]) -> list[list[str]]:
    """Each option with its value, if it has one."""
    found: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not found:
            found.append([word])
        else:
            found[-1].append(word)
    return found


def _name(word: str) -> str:
    """The field that an option sets."""
    return word.removeprefix("--").removeprefix("no-").replace("-", "_")
