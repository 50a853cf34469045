"""What to tell of trainings whose numbers cannot say what they seem to say, before they begin and afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from adaptershare_cli.data.cutting import LARGEST_SHARE, PARTS
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.metrics.labels import MacroF1
from adaptershare_cli.kinds.rows.shares import commonest
from adaptershare_cli.runs.baselines import answers_of
from adaptershare_cli.runs.rows import task_info
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import PreproRecord, RunRecord

FEWEST_CHECKS = 3  # fewer have no standard error, or one that says nothing
COMMON = 0.8  # of train: a label that is more common hides the others
FEWEST_HELDOUT = 32  # of fewer held-out rows a mean gradient is mostly noise

_SUGGESTED = MacroF1.name


def heldout_cautions(prepared: Iterable[Artefact]) -> Iterator[str]:
    """A line for each task with too few held-out rows for what checks look at."""
    for artefact in prepared:
        rows = PreproRecord.of(artefact).counts["heldout_rows"]
        if rows < FEWEST_HELDOUT:
            yield (
                f"{artefact.name}: {rows} held-out rows: what checks say of it is mostly noise. No more than "
                f"1/{LARGEST_SHARE} of train is held out, and no more than --heldout-size"
            )


def balance_cautions(prepared: Iterable[Artefact], weighed: bool) -> Iterator[str]:
    """A line for each task whose main metric tells little, as nearly all train rows have one label.

    `weighed`: --class-weights balanced is given already.
    """
    for artefact in prepared:
        info = task_info(artefact)
        kind = KINDS[info.kind]
        if not kind.metric(info.metrics[0]).by_frequency:
            continue
        found = commonest(kind, info, answers_of(artefact, info, PARTS[0]))
        if found is None or found[1] <= COMMON:
            continue
        label, share = found
        train = "" if weighed or not kind.weighs_labels else ", or train with --class-weights balanced"
        yield (
            f"{info.name}: {100 * share:.0f} % of train {kind.counted} have the label {label}, so {info.metrics[0]} "
            f"says little of the others: put {_SUGGESTED} first in the definition's metrics{train}"
        )


def few_checks(checks: int) -> str:
    """That so few checks cannot be read, in words; "" if they can, or there are none."""
    if not 0 < checks < FEWEST_CHECKS:
        return ""
    return ("one check only" if checks == 1 else f"{checks} checks only") + ": too few to read"


def check_cautions(runs: Iterable[Artefact]) -> Iterator[str]:
    """A line for each run whose conflicts were looked at, but too seldom to be read."""
    for run in runs:
        if "interference.parquet" in run.meta["files"]:
            steps = run.table("interference.parquet", ["phase", "step"]).to_pylist()
            if few := few_checks(len({(row["phase"], row["step"]) for row in steps})):
                record = RunRecord.of(run)
                yield (
                    f"{record.method} seed {record.seed}: {few} who conflicts with whom. Train longer, or with a "
                    "smaller --check-every"
                )
