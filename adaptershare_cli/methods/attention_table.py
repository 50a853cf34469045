"""What each task attends to, as a table of targets x adapters, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from adaptershare_cli.methods.start import PastRun

if TYPE_CHECKING:
    import pandas as pd

WIDEST = 8  # adapters that have columns of their own
STRONGEST = 5  # where there are more, so many are named


def attended(run: PastRun, title: str) -> Iterator[Table]:
    """What the tasks of a run attend to; nothing for a run without fusion."""
    if "attention.parquet" in run.files:
        yield attention_table(run.table("attention").to_pandas(), title)


def attention_table(attention: pd.DataFrame, title: str) -> Table:
    """Mean attention in percent over all fused sites (`schemas.ATTENTION`); a row a target, a column an adapter.

    Of more than `WIDEST` adapters each target's strongest are named instead.
    An adapter that several tasks share counts for each of them in equal parts.
    """
    import pandas as pd

    rows = attention.assign(attention=attention["attention"] / attention["members"].map(len)).explode("members")
    sites = attention.drop_duplicates(["task", "layer", "location"]).groupby("task").size()
    shares = rows.groupby(["task", "members"], sort=False)["attention"].sum().unstack().div(sites, axis=0)
    table = Table(title=f"Attention, {title} (% of each task's; mean over layers)")
    table.add_column("task")
    targets = list(attention["task"].unique())
    sources = [name for name in targets if name in shares] + sorted(set(shares) - set(targets))
    if len(sources) > WIDEST:
        table.add_column("attends most to", overflow="fold")
        for task in targets:
            most = shares.loc[task, sources].dropna().sort_values(ascending=False, kind="stable")
            named = [f"{source} {100 * share:.0f}" for source, share in most[:STRONGEST].items()]
            others = [f"{len(most) - STRONGEST} others {100 * most[STRONGEST:].sum():.0f}"] * (len(most) > STRONGEST)
            table.add_row(task, ", ".join([*named, *others]))
        return table
    for source in sources:
        table.add_column(source, justify="right")
    for task in targets:
        cells = shares.loc[task, sources]
        table.add_row(task, *("–" if pd.isna(cell) else f"{100 * cell:.0f}" for cell in cells))
    return table
