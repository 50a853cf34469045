"""What a head answers for rows in memory, and what is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

SCORE_BINS = 8  # strata of scores

# Of A answers of a batch: the line of each one's row (A,), and the token or tokens (A,) or (A, k) that it reads there.
Places = tuple["torch.Tensor", "torch.Tensor"]


@dataclass(frozen=True)
class Answers:
    """The A answers of a head for N rows, row after row.

    `labels` are what is right: one an answer (A, …), or with `label_a_row` one a row (N, …). `strata` (N,) sort the
    rows: whole numbers are strata, scores are cut into `SCORE_BINS`. `offsets` (N + 1) tell where each row's answers
    begin, and `tokens` (A,) or (A, k) which tokens of its row each reads; both are None where each row has one answer,
    which reads its pooled states. `facts` (A, …) are what else the kind needs to know of answers, by name.
    """

    labels: np.ndarray
    strata: np.ndarray
    offsets: np.ndarray | None = None
    tokens: np.ndarray | None = None
    facts: Mapping[str, np.ndarray] = field(default_factory=dict)
    label_a_row: bool = False

    def __len__(self) -> int:
        return len(self.strata) if self.offsets is None else int(self.offsets[-1])

    @property
    def per_row(self) -> np.ndarray:
        """The number of answers of each row (N,)."""
        return np.ones(len(self.strata), dtype=np.int64) if self.offsets is None else np.diff(self.offsets)

    def of_rows(self, rows: np.ndarray) -> np.ndarray:
        """Where the answers of the rows at the given positions stand among all."""
        return rows if self.offsets is None else ragged(self.offsets, rows)[0]

    def labels_of_rows(self, rows: np.ndarray) -> np.ndarray:
        """The labels of the rows at the given positions."""
        return self.labels[rows if self.label_a_row else self.of_rows(rows)]

    def places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """`Places` of the answers when the rows at the given positions are the lines of a batch."""
        if self.tokens is None:
            return None
        lines = np.repeat(np.arange(len(rows)), self.per_row[rows])
        return lines, self.tokens[self.of_rows(rows)]

    def take(self, rows: np.ndarray) -> Answers:
        """Those of the rows at the given positions, in that order."""
        found = self.of_rows(rows)
        return replace(
            self,
            labels=self.labels_of_rows(rows),
            strata=self.strata[rows],
            offsets=None if self.offsets is None else ragged(self.offsets, rows)[1],
            tokens=None if self.tokens is None else self.tokens[found],
            facts={name: values[found] for name, values in self.facts.items()},
        )


def ragged(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of all items of the given rows, row after row, and the offsets that rows of these items have."""
    lengths = offsets[rows + 1] - offsets[rows]
    taken = np.concatenate([[0], np.cumsum(lengths)])
    return np.repeat(offsets[rows] - taken[:-1], lengths) + np.arange(taken[-1]), taken
