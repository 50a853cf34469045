"""What runs know, as small objects that show themselves: a sharing plan, and how tasks relate by a measure."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from adaptershare_cli.schemas import ALL_LAYERS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Plan:
    """Which tasks share an adapter: of each layer the groups of tasks, from the first layer on."""

    layers: tuple[tuple[tuple[str, ...], ...], ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, those of the first layer's groups one after the other."""
        return tuple(task for group in self.layers[0] for task in group)

    def groups(self, layer: int = 0) -> tuple[tuple[str, ...], ...]:
        """The groups of a layer; of most methods they are the same in all."""
        return self.layers[layer]

    @property
    def stretches(self) -> list[tuple[int, int, tuple[tuple[str, ...], ...]]]:
        """First and last layer of each run of layers with the same groups, and these."""
        found: list[tuple[int, int, tuple[tuple[str, ...], ...]]] = []
        for number, groups in enumerate(self.layers):
            if found and found[-1][2] == groups:
                found[-1] = (found[-1][0], number, groups)
            else:
                found.append((number, number, groups))
        return found

    def to_frame(self) -> pd.DataFrame:
        """A row a layer, a column a task, with the number of the task's group in that layer."""
        import pandas as pd

        rows = [{task: number for number, group in enumerate(groups) for task in group} for groups in self.layers]
        return pd.DataFrame(rows, columns=list(self.tasks)).rename_axis("layer")

    def __str__(self) -> str:
        return "\n".join(
            f"layers {first}–{last}: {' | '.join(' '.join(group) for group in groups)}"
            for first, last, groups in self.stretches
        )

    def _repr_html_(self) -> str:
        rows = [
            f"<tr><td>{first}–{last}</td><td>{'</td><td>'.join(escape(', '.join(group)) for group in groups)}</td></tr>"
            for first, last, groups in self.stretches
        ]
        return f"<table><thead><tr><th>layers</th><th>groups</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"


@dataclass(frozen=True)
class Correlation:
    """How much each task helps each other one by a measure, over all layers and seeds.

    `table` has every layer and seed (as `correlation.parquet`), `matrix` the answer: rows are the tasks that help
    (sources), columns those that are helped; NaN where nothing is known.
    """

    measure: str
    directed: bool
    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    tasks: tuple[str, ...] = field(default=())

    @property
    def matrix(self) -> pd.DataFrame:
        """A value for each pair of tasks."""
        answer = self.table[self.table["seed"].isna() & (self.table["layer"] == ALL_LAYERS)]
        found = answer.pivot(index="source", columns="target", values="value")
        return found.reindex(index=list(self.tasks), columns=list(self.tasks))

    def __str__(self) -> str:
        return f"{self.measure}\n{self.matrix.round(3)}"

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return f"<p><b>{escape(self.measure)}</b></p>{frame_html(self.matrix.round(3))}{notes}"


def frame_html(frame: pd.DataFrame, **options: Any) -> str:
    """A frame as an HTML table, all of its texts escaped."""
    return str(frame.to_html(escape=True, border=0, na_rep="", **options))
