"""What the settings of methods whose runs are put together from other trainings have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adaptershare_cli.methods.settings import MethodSettings


@dataclass(frozen=True)
class AssembledSettings(MethodSettings):
    """Their trainings are planned for all rows, and what they give is no first stage of another method."""

    takes_chosen_rows: ClassVar[bool] = False
    can_be_stage_one: ClassVar[bool] = False
