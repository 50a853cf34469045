"""The settings of the method `recon`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from adaptershare_cli.methods.planned.settings import ObserveSettings
from adaptershare_cli.methods.shared.settings import SharedSettings
from adaptershare_cli.settings.fields import option


@dataclass(frozen=True)
class ReconSettings(ObserveSettings):
    """Share all and look at gradients, then train anew with the layers that conflict most private.

    The released code counts cosines below 0 (CityScapes), -0.02 (NYUv2) or -0.1 (MultiFashion+MNIST) at every update of
    a whole training, and makes 15 or so of many layers private, a number that was tuned for each data set.
    """

    takes_chosen_rows: ClassVar[bool] = False
    can_be_stage_one: ClassVar[bool] = False

    recon_threshold: float = option(
        -0.02, "A pair of tasks conflicts in a layer where its gradients' cosine at a check is below this.", -1, 0
    )
    recon_layers: int | None = option(
        None, "How many layers become private; by default a quarter of the encoder's, at least one.", 1
    )
    stage_one_share: float | None = option(
        None, "Stage one's updates, as a share of the run's updates on each task (by default half).", 0.001, 1
    )
    stage_two_share: float | None = option(
        None, "Stage two's updates, likewise (by default what stage one leaves).", 0.001, 1
    )

    @property
    def stage_one(self) -> SharedSettings:
        """The settings of the shared training, whose checks are always made."""
        ours = {item.name: getattr(self, item.name) for item in fields(ObserveSettings)}
        return SharedSettings(**{**ours, "observe": True})
