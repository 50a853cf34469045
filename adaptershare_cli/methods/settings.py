"""What the settings of every method answer for: what a method needs of the tasks, and what it changes for itself."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, ClassVar

from adaptershare_cli.settings import RuntimeSettings, TrainingSettings


@dataclass(frozen=True)
class MethodSettings:
    """The settings of a method: its options, and what else depends on them."""

    takes_chosen_rows: ClassVar[bool] = True  # whether it can be trained on some of a task's rows (--selection by fg)
    can_be_stage_one: ClassVar[bool] = True  # whether AdapterFusion can attend over the adapters that it trains

    @property
    def fewest_tasks(self) -> int:
        """How many tasks it needs at least."""
        return 2

    @property
    def looks_at_heldout(self) -> bool:
        """Whether a training of several tasks looks at their held-out rows."""
        return False

    @property
    def training_defaults(self) -> Mapping[str, Any]:
        """The training settings whose defaults are others than usual, by name."""
        return {}

    def check_updates(self, updates: int) -> None:
        """Raise UserError where a run of so many updates leaves an option without effect."""

    def runtime(self, runtime: RuntimeSettings, training: TrainingSettings, chosen: Set[str]) -> RuntimeSettings:
        """The runtime settings that it trains with.

        `chosen` are the names of the options that the user gave. Raises UserError for those that have no effect beside
        this method's own.
        """
        return runtime
