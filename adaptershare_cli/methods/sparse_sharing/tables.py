"""Each task's mask, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
from rich.table import Table

from adaptershare_cli.kinds import metric_title
from adaptershare_cli.methods.start import PastRun


def kept_weights(run: PastRun, title: str) -> Iterator[Table]:
    """The masks of a run."""
    masks, pruning = (run.table(name).to_pandas() for name in ("masks", "pruning"))
    yield mask_table(masks, pruning, title, run.record.positive or {})


def mask_table(masks: pd.DataFrame, pruning: pd.DataFrame, title: str, positive: Mapping[str, str]) -> Table:
    """A row a task: what its mask keeps, and of a pruned one its round and the select score that it was chosen by.

    `masks` and `pruning` are tables of a run (`schemas.MASKS`, `schemas.PRUNING`), `positive` what its record says.
    """
    table = Table(title=f"Masks, {title}")
    kept = masks.groupby("task", sort=False)[["kept", "weights"]].sum()
    chosen = pruning[pruning["chosen"].astype(bool)].set_index("task")
    heads = ["task", "weights kept", "of all", "each layer"]
    if len(chosen):
        heads += ["round", "alone, select rows", "overlap with the start's largest"]
    for head in heads:
        table.add_column(head, justify="left" if head == "task" else "right")
    for task, row in kept.iterrows():
        layers = masks[masks["task"] == task].groupby("layer")[["kept", "weights"]].sum()
        rates = layers["kept"] / layers["weights"]
        cells = [f"{row['kept']:,}", _percent(row["kept"] / row["weights"]), f"{_percent(rates.min())} to "
                 f"{_percent(rates.max())}"]  # fmt: skip
        if len(chosen):
            own = chosen.loc[task]
            metric = "" if pd.isna(own["value"]) else metric_title(own["metric"], positive.get(str(task)))
            score = f"{100 * own['value']:.1f} {metric}" if metric else "–"
            cells += [str(own["round"]), score, f"{own['start_overlap']:.2f}"]
        table.add_row(str(task), *cells)
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
