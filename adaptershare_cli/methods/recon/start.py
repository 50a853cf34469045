"""Stage one of Recon: a shared training, whose checks say which layers become private.

As in every method of two stages, both together have as many updates by default as a run of another method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods.recon.settings import ReconSettings
from adaptershare_cli.methods.start import Ask, Begin, Beginning, Preparation, Start
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.conflicts import conflicts, most_conflicting, rows
from adaptershare_cli.training.schedule import task_updates, total_steps

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class PrivateLayers:
    """What the method gets: the layers that become private, and rows of `schemas.CONFLICTS`."""

    layers: Sequence[int]
    conflicts: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ReconStart(Start):
    """Stage two starts from nothing but the layers that stage one tells."""

    private: PrivateLayers

    def read(self, encoder: PreTrainedModel, infos: Mapping[str, TaskInfo], training: TrainingSettings) -> Beginning:
        """The layers; weights are fresh."""
        return Beginning(own=self.private)


def begin(settings: ReconSettings, ask: Ask) -> Begin:
    """The shared training of each seed. Raises UserError for more layers than there are, before anything is made."""
    layers = ask.encoder.layers
    count = settings.recon_layers or max(1, layers // 4)
    if count > layers:
        raise UserError(
            f"--recon-layers {count}: this encoder has {layers} layers", where=f"--model {ask.model}", fix="Give fewer."
        )
    return lambda preparation, seed: _start(settings, ask.training, preparation, seed, count)


def _start(
    settings: ReconSettings, training: TrainingSettings, preparation: Preparation, seed: int, count: int
) -> ReconStart:
    first, second = _updates(settings, training, preparation.train_sizes())
    settings.stage_one.check_updates(first)
    run = preparation.train_together("shared", settings.stage_one, first, seed)
    table = run.table("interference", ["layer", "cosine"])
    cosines = zip(table["layer"].to_pylist(), table["cosine"].to_pylist(), strict=True)
    found = conflicts(cosines, settings.recon_threshold)
    if not found:
        raise UserError(
            f"No check of stage one ({run.label}) knows how two tasks' gradients lie to each other",
            fix="Tasks need held-out rows (five train rows or more), and losses that are not zero.",
        )
    private = most_conflicting(found, count)
    return ReconStart(
        request={"origin": [run.content]},
        runs=(run,),
        info={"stage_one": [run.label]},
        examples=run.record.examples,
        parameters=run.record.costs["trained"],
        heads=run.record.costs["trained_heads"],
        seconds=run.training_seconds,
        updates=second,
        private=PrivateLayers(private, rows(found, private)),
    )


def _updates(
    settings: ReconSettings, training: TrainingSettings, sizes: Mapping[str, int]
) -> tuple[int, dict[str, int]]:
    """All updates of stage one, and those of stage two on each task."""
    steps = total_steps(sizes, training)
    share = 0.5 if settings.stage_one_share is None else settings.stage_one_share
    first = max(1, round(share * steps))
    if settings.stage_two_share is not None:
        second = task_updates(sizes, training, round(settings.stage_two_share * steps))
    else:
        before = task_updates(sizes, training, first)
        second = {task: max(0, count - before[task]) for task, count in task_updates(sizes, training, steps).items()}
    if not sum(second.values()):
        raise UserError(
            "Nothing is left for stage two",
            where="--stage-one-share, --stage-two-share",
            fix="Give the run more updates (--max-steps, --num-train-epochs), or other shares to the stages.",
        )
    return first, second
