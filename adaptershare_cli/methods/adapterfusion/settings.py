"""The settings of the method `adapterfusion`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from adaptershare_cli.errors import UserError
from adaptershare_cli.methods.settings import MethodSettings
from adaptershare_cli.settings.fields import option


@dataclass(frozen=True)
class AdapterFusionSettings(MethodSettings):
    """Train adapters first, then let each task learn to attend over all of them.

    Stage two's learning rate and the penalty are the paper's; stage one is trained with the common options.
    """

    takes_chosen_rows: ClassVar[bool] = False
    can_be_stage_one: ClassVar[bool] = False

    fusion_over: str | None = option(
        None,
        "The adapters to attend over: those of train-single (not given), of a method of joint training (for example "
        "private), both made when missing, or of an earlier train-share run (name, key prefix, glob or path).",
        names="runs",
    )
    adapters: str | None = option(
        None,
        "Attend over the adapters in the sub-folders of this folder (AdapterHub layout, safetensors).",
        names="folder",
    )
    fusion_head: Literal["fresh", "copied"] = option(
        "fresh", "Stage two starts with fresh heads, or with those that were trained with the adapters."
    )
    fusion_learning_rate: float = option(5e-5, "Stage two's peak learning rate (--learning-rate is stage one's).", 0)
    fusion_regularization: float = option(0.01, "Weight of the sum over sites of |V - I|^2 in stage two's loss.", 0)
    stage_one_share: float | None = option(
        None, "Stage one's updates, as a share of the run's updates on each task (by default half).", 0.001, 1
    )
    stage_two_share: float | None = option(
        None, "Stage two's updates, likewise (by default what stage one leaves; all where the adapters are given).",
        0.001, 1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.adapters is not None and self.fusion_over is not None:
            raise UserError("--adapters and --fusion-over name two sets of adapters", fix="Give one of them.")

    @property
    def method_below(self) -> str | None:
        """The method of joint training whose adapters are attended over, if --fusion-over names one."""
        from adaptershare_cli.methods import METHODS  # the registry holds these settings

        return self.fusion_over if self.fusion_over in METHODS else None

    @property
    def trains_adapters(self) -> bool:
        """Whether stage one is trained, on the run's own tasks, and not there already."""
        return self.adapters is None and (self.fusion_over is None or self.method_below is not None)

    @property
    def fewest_tasks(self) -> int:
        """Adapters that are there already may be attended over for one task."""
        return 2 if self.trains_adapters else 1

    @property
    def training_defaults(self) -> Mapping[str, Any]:
        """Those of the method that trains the adapters."""
        from adaptershare_cli.methods import METHODS

        return METHODS[self.method_below].settings().training_defaults if self.method_below else {}
