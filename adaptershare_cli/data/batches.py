"""Rows in memory, padded batches, and length-bucketed streams whose position is three integers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import WEIGHT, TaskInfo
from adaptershare_cli.kinds.rows.answers import Answers, Targets, ragged
from adaptershare_cli.seeds import derive_seed

if TYPE_CHECKING:
    import torch

POOL_BATCHES = 32  # rows are sorted by length within pools of this many batches: little padding, still random


class Rows:
    """Tokenised rows of one part of one task: ragged token ids in two flat arrays, and what the head is asked of them.

    `table` has the schema of the prepared rows of the task's kind, and maybe their weights.
    """

    def __init__(self, table: pa.Table, info: TaskInfo) -> None:
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
        self.answers: Answers = KINDS[info.kind].answers(info, table)
        if WEIGHT in table.column_names:
            self.answers = replace(self.answers, weights=table[WEIGHT].to_numpy())
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
        rows.answers, rows.row = self.answers.take(indices), self.row[indices]
        rows.content = [self.content[index] for index in indices]
        return rows

    @property
    def are_pairs(self) -> bool:
        """Whether each row is a pair of texts: it has a second segment, or the token at its end stands inside, too.

        A tokenizer that tells no segments apart puts its last token between the texts; one that does neither hides it.
        """
        if self.types is not None and self.types.any():
            return True
        ends = self.tokens[self.offsets[1:] - 1]
        again = self.tokens == np.repeat(ends, self.lengths)
        return bool(len(self) and (np.add.reduceat(again, self.offsets[:-1]) > 1).all())

    @property
    def examples(self) -> int:
        """How many rows of the downloaded split they are: a long sentence stands in several."""
        return len(np.unique(self.row))

    def same_texts(self) -> np.ndarray:
        """A whole number for each row (N,), from 0 on: the same for rows of one text."""
        numbers = {content: number for number, content in enumerate(dict.fromkeys(self.content))}
        return np.array([numbers[content] for content in self.content])

    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """The positions of every other text and of the rest; rows of one text stand in the same half."""
        odd = self.same_texts() % 2 == 1
        return np.flatnonzero(~odd), np.flatnonzero(odd)

    def with_shuffled_labels(self, seed: int) -> Rows:
        """The same rows with all their labels in a random order."""
        rows = copy.copy(self)
        shuffled = np.random.default_rng(seed).permutation(self.answers.labels)
        rows.answers = replace(self.answers, labels=shuffled)
        return rows

    def by_length(self) -> np.ndarray:
        """Row indices sorted by length, longest first (a batch that does not fit fails at once); ties by position."""
        return np.argsort(-self.lengths, kind="stable")


@dataclass(frozen=True)
class TaskParts:
    """The rows of one task: to learn from, for checks, for choices, and to be scored."""

    train: Rows
    heldout: Rows
    select: Rows
    scored: dict[str, Rows]


@dataclass
class Batch:
    """A padded batch of B rows: `inputs` are `input_ids`, `attention_mask` and `token_type_ids`, (B, S) int64."""

    task: str
    inputs: dict[str, torch.Tensor]
    targets: Targets
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)


def pad(parts: Sequence[tuple[Rows, np.ndarray]], pad_token: int) -> dict[str, torch.Tensor]:
    """Pad the given rows of one or several tasks, in order, to their longest: model inputs of (B, S)."""
    import torch

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


def make_batch(task: str, rows: Rows, indices: np.ndarray, pad_token: int) -> Batch:
    """One padded batch of the given rows of one task."""
    return Batch(task, pad([(rows, indices)], pad_token), rows.answers.targets(indices), indices)


def narrowed(batch: Batch, rows: Rows, kept: np.ndarray) -> Batch:
    """The rows at the positions `kept` of a batch of `rows`, no wider than the longest of them."""
    import torch

    indices, width = batch.indices[kept], int(rows.lengths[batch.indices[kept]].max())
    inputs = {name: values[torch.from_numpy(kept), :width] for name, values in batch.inputs.items()}
    return Batch(batch.task, inputs, rows.answers.targets(indices), indices)


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
