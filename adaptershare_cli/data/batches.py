"""Rows in memory, padded batches, and length-bucketed streams whose position is three integers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from adaptershare_cli.seeds import derive_seed

POOL_BATCHES = 32  # rows are sorted by length within pools of this many batches: little padding, still random


@dataclass(frozen=True)
class TaskInfo:
    """What training needs to know of a task: kind, outputs, label scale and metrics.

    `unseen` are labels of words in scored splits that train never has; their numbers come after those of `labels`.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    range: tuple[float, float] | None
    metrics: tuple[str, ...]
    unseen: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """Width of the head."""
        return len(self.labels) if self.labels else 1

    @property
    def names(self) -> tuple[str, ...]:
        """Of all labels, by their numbers."""
        return self.labels + self.unseen

    def scaled(self, labels: torch.Tensor) -> torch.Tensor:
        """Scores of a regression, moved from `range` to [-1, 1], so that its loss is of a classification's size."""
        assert self.range is not None
        low, high = self.range
        return (labels - (low + high) / 2) / ((high - low) / 2)

    def unscaled(self, outputs: np.ndarray) -> np.ndarray:
        """The inverse of `scaled`."""
        assert self.range is not None
        low, high = self.range
        return outputs * ((high - low) / 2) + (low + high) / 2


@dataclass(frozen=True)
class Words:
    """The labelled words of tagging rows, those of all N rows one after the other.

    `offsets` (N + 1): where each row's words begin. Of each word `starts` is the token of its first sub-word in its
    row, `places` its place in its sentence, `texts` itself. `strata` (N): what prepro cut the rows by.
    """

    offsets: np.ndarray
    starts: np.ndarray
    places: np.ndarray
    texts: np.ndarray
    strata: np.ndarray

    @classmethod
    def of(cls, table: pa.Table) -> Words:
        """Those of a table of `schemas.prepared`."""
        counts = pc.list_value_length(table["starts"]).to_numpy().astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        first = table["first_word"].to_numpy().astype(np.int64)
        return cls(
            offsets,
            pc.list_flatten(table["starts"]).to_numpy().astype(np.int64),
            np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], counts),
            pc.list_flatten(table["words"]).to_numpy(),
            table["stratum"].to_numpy().astype(np.int64),
        )

    def take(self, rows: np.ndarray) -> Words:
        """Those of the rows at the given positions, in that order."""
        words, offsets = ragged(self.offsets, rows)
        return Words(offsets, self.starts[words], self.places[words], self.texts[words], self.strata[rows])


def ragged(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of all items of the given rows, row after row, and the offsets that rows of these items have."""
    lengths = offsets[rows + 1] - offsets[rows]
    taken = np.concatenate([[0], np.cumsum(lengths)])
    return np.repeat(offsets[rows] - taken[:-1], lengths) + np.arange(taken[-1]), taken


class Rows:
    """Tokenised rows of one part of one task: ragged token ids in two flat arrays.

    `labels` has one label a row; of a tagging (where `words` is given) one a word, row after row.
    """

    def __init__(self, table: pa.Table) -> None:
        ids = table["input_ids"].combine_chunks()
        if isinstance(ids, pa.ChunkedArray):  # combine_chunks of an empty column
            ids = pa.concat_arrays(ids.chunks) if ids.num_chunks else pa.array([], pa.list_(pa.int32()))
        self.tokens = ids.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
        self.lengths = table["length"].to_numpy().astype(np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        types = table["token_type_ids"]
        self.types: np.ndarray | None = None
        if len(table) and types.null_count == 0:
            self.types = pa.concat_arrays(types.chunks).flatten().to_numpy(zero_copy_only=False).astype(np.int64)
        self.words = Words.of(table) if "words" in table.column_names else None
        self.labels = (pc.list_flatten(table["label"]) if self.words else table["label"]).to_numpy()
        self.row = table["row"].to_numpy()
        self.content = table["content"].to_pylist()

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, indices: np.ndarray) -> Rows:
        """The rows at the given positions, in that order."""
        rows = copy.copy(self)
        rows.lengths = self.lengths[indices]
        tokens, rows.offsets = ragged(self.offsets, indices)
        rows.tokens = self.tokens[tokens]
        rows.types = None if self.types is None else self.types[tokens]
        rows.labels, rows.row = self.labels[self.answers(indices)], self.row[indices]
        rows.words = self.words.take(indices) if self.words else None
        rows.content = [self.content[index] for index in indices]
        return rows

    @property
    def examples(self) -> int:
        """How many rows of the downloaded split they are: a long sentence stands in several."""
        return len(np.unique(self.row))

    def answers(self, indices: np.ndarray) -> np.ndarray:
        """Where the labels (and the head's outputs) of the given rows stand among those of all rows."""
        return indices if self.words is None else ragged(self.words.offsets, indices)[0]

    def strata(self) -> np.ndarray:
        """What sorts the rows (N,): their labels or scores, of a tagging its strata."""
        return self.labels if self.words is None else self.words.strata

    def with_shuffled_labels(self, seed: int) -> Rows:
        """The same rows with their labels (of a tagging: all words' labels) in a random order."""
        rows = copy.copy(self)
        rows.labels = np.random.default_rng(seed).permutation(self.labels)
        return rows

    def by_length(self) -> np.ndarray:
        """Row indices sorted by length, longest first (a batch that does not fit fails at once); ties by position."""
        return np.argsort(-self.lengths, kind="stable")


WordTokens = tuple[torch.Tensor, torch.Tensor]  # (W,) each: the line of a word's row, the token of its first sub-word


@dataclass
class Batch:
    """A padded batch. `input_ids`, `attention_mask`, `token_type_ids`: (B, S) int64; `labels`: (B,).

    Of a tagging, `labels` are those of all W words (W,), and `words` tells of each its line in the batch and its token.
    """

    task: str
    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    indices: np.ndarray
    words: WordTokens | None = None

    def __len__(self) -> int:
        return len(self.indices)


def pad(parts: Sequence[tuple[Rows, np.ndarray]], pad_token: int) -> dict[str, torch.Tensor]:
    """Pad the given rows of one or several tasks, in order, to their longest: model inputs of (B, S)."""
    lengths = np.concatenate([rows.lengths[indices] for rows, indices in parts])
    width = int(lengths.max())
    ids = np.full((len(lengths), width), pad_token, dtype=np.int64)
    types = np.zeros((len(lengths), width), dtype=np.int64)
    line = 0
    for rows, indices in parts:
        for index in indices:
            start, end = rows.offsets[index], rows.offsets[index + 1]
            ids[line, : end - start] = rows.tokens[start:end]
            if rows.types is not None:
                types[line, : end - start] = rows.types[start:end]
            line += 1
    inputs = {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy((np.arange(width) < lengths[:, None]).astype(np.int64)),
    }
    if all(rows.types is not None for rows, _ in parts):
        inputs["token_type_ids"] = torch.from_numpy(types)
    return inputs


def wanted(rows: Rows, indices: np.ndarray) -> tuple[torch.Tensor, WordTokens | None]:
    """Labels of the given rows, and for a tagging where its words stand when the rows are the lines of a batch."""
    answers = rows.answers(indices)
    labels = torch.from_numpy(rows.labels[answers].copy())
    if rows.words is None:
        return labels, None
    counts = rows.words.offsets[indices + 1] - rows.words.offsets[indices]
    lines = np.repeat(np.arange(len(indices)), counts)
    return labels, (torch.from_numpy(lines), torch.from_numpy(rows.words.starts[answers]))


def make_batch(task: str, rows: Rows, indices: np.ndarray, pad_token: int) -> Batch:
    """One padded batch of the given rows of one task."""
    labels, words = wanted(rows, indices)
    return Batch(task, pad([(rows, indices)], pad_token), labels, indices, words)


def ordered_batches(task: str, rows: Rows, size: int, pad_token: int) -> Iterator[Batch]:
    """All rows once, longest first, for scoring; `indices` tell where each row belongs."""
    order = rows.by_length()
    for start in range(0, len(order), size):
        yield make_batch(task, rows, order[start : start + size], pad_token)


class TaskStream:
    """An endless stream of a task's training batches; every epoch is a fresh seeded order of length buckets.

    The order of epoch e depends on (seed, task, e) alone, so (epoch, position) is the whole state.
    """

    def __init__(self, task: str, rows: Rows, size: int, seed: int, pad_token: int) -> None:
        if not len(rows):
            raise ValueError(f"task {task} has no training rows")
        self.task, self.rows, self.size, self.seed, self.pad_token = task, rows, size, seed, pad_token
        self.epoch, self.position = 0, 0
        self._order = self._epoch_order()

    def _epoch_order(self) -> list[np.ndarray]:
        random = np.random.default_rng(derive_seed(self.seed, "batches", self.task, self.epoch))
        permutation = random.permutation(len(self.rows))
        batches: list[np.ndarray] = []
        pool = self.size * POOL_BATCHES
        for start in range(0, len(permutation), pool):
            part = permutation[start : start + pool]
            part = part[np.argsort(self.rows.lengths[part], kind="stable")]
            batches.extend(part[i : i + self.size] for i in range(0, len(part), self.size))
        return [batches[i] for i in random.permutation(len(batches))]

    def __next__(self) -> Batch:
        if self.position == len(self._order):
            self.epoch, self.position = self.epoch + 1, 0
            self._order = self._epoch_order()
        indices = self._order[self.position]
        self.position += 1
        return make_batch(self.task, self.rows, indices, self.pad_token)

    def state(self) -> dict[str, Any]:
        """Epoch and position."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.epoch, self.position = int(state["epoch"]), int(state["position"])
        self._order = self._epoch_order()
