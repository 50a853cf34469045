"""What a head answers for rows in memory, and what is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

SCORE_BINS = 8  # strata of scores


@dataclass(frozen=True)
class Targets:
    """What the A answers of a head for B rows of a batch are compared with, and what each of them reads.

    `labels` are as in `Answers`. `rows` (A,) tell which row of the batch each answer belongs to, and `tokens` (A,) or
    (A, k) which of its tokens it reads; both are None where each row has one answer, which reads its pooled states.
    `weights` (B,) are what the rows' losses are multiplied with, None where all count alike.
    """

    labels: torch.Tensor
    rows: torch.Tensor | None = None
    tokens: torch.Tensor | None = None
    weights: torch.Tensor | None = None

    def to(self, device: torch.device) -> Targets:
        """The same on a device."""
        moved = (None if part is None else part.to(device) for part in (self.rows, self.tokens, self.weights))
        return Targets(self.labels.to(device), *moved)


@dataclass(frozen=True)
class Answers:
    """The A answers of a head for N rows, row after row.

    `labels` are what is right: one an answer (A, …), or with `label_a_row` one a row (N, …). `sorted_by` (N,) is what
    sorts the rows, where that is not their labels. `offsets` (N + 1) tell where each row's answers begin, and `tokens`
    (A,) or (A, k) which tokens of its row each reads; both are None where each row has one answer, which reads its
    pooled states. `facts` (A, …) are what else the kind needs to know of answers, by name. `weights` (N,) are those of
    the rows, None where all count alike.
    """

    labels: np.ndarray
    sorted_by: np.ndarray | None = None
    offsets: np.ndarray | None = None
    tokens: np.ndarray | None = None
    facts: Mapping[str, np.ndarray] = field(default_factory=dict)
    label_a_row: bool = False
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.strata) if self.offsets is None else int(self.offsets[-1])

    @property
    def strata(self) -> np.ndarray:
        """What sorts the rows (N,): whole numbers are strata, scores are to be cut into `SCORE_BINS`."""
        return self.labels if self.sorted_by is None else self.sorted_by

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

    def targets(self, rows: np.ndarray) -> Targets:
        """Those of a batch of the rows at the given positions."""
        import torch

        labels = torch.from_numpy(self.labels_of_rows(rows).copy())
        weights = None if self.weights is None else torch.from_numpy(self.weights[rows])
        if self.tokens is None:
            return Targets(labels, weights=weights)
        of_answers = np.repeat(np.arange(len(rows)), self.per_row[rows])
        return Targets(labels, torch.from_numpy(of_answers), torch.from_numpy(self.tokens[self.of_rows(rows)]), weights)

    def take(self, rows: np.ndarray) -> Answers:
        """Those of the rows at the given positions, in that order."""
        found = self.of_rows(rows)
        return replace(
            self,
            labels=self.labels_of_rows(rows),
            sorted_by=None if self.sorted_by is None else self.sorted_by[rows],
            offsets=None if self.offsets is None else ragged(self.offsets, rows)[1],
            tokens=None if self.tokens is None else self.tokens[found],
            facts={name: values[found] for name, values in self.facts.items()},
            weights=None if self.weights is None else self.weights[rows],
        )


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column of numbers, none of them null, as an array (Arrow's own way imports pandas)."""
    empty = np.zeros(0, dtype=column.type.to_pandas_dtype())
    return np.concatenate([empty, *(np.from_dlpack(chunk) for chunk in column.chunks)])


def score_bins(scores: np.ndarray) -> np.ndarray:
    """Which of `SCORE_BINS` equally filled bins each score lies in; equal scores lie in one."""
    if not len(scores):
        return np.zeros(0, dtype=np.int64)
    edges = np.quantile(scores, np.arange(1, SCORE_BINS) / SCORE_BINS)
    return np.searchsorted(edges, scores, side="right")


def ragged(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of all items of the given rows, row after row, and the offsets that rows of these items have."""
    lengths = offsets[rows + 1] - offsets[rows]
    taken = np.concatenate([[0], np.cumsum(lengths)])
    return np.repeat(offsets[rows] - taken[:-1], lengths) + np.arange(taken[-1]), taken
