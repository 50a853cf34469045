"""Rows through the tasks of a run: tokenised, sorted by length, and each text run once for all tasks as far as it can.

A row is a value for each role of its kind (`text`; of pairs `text_pair`). Rows are run as those that a run is scored
on: longest first, in batches of the same size, so that a window that holds a whole split gives the run's very outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from adaptershare_cli.data.batches import Batch, Rows, ordered_batches
from adaptershare_cli.data.encoding import encode_rows
from adaptershare_cli.errors import RunError, UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.model.layer_range import LayerRange
from adaptershare_cli.model.loaded import LoadedModel
from adaptershare_cli.serving.branches import Branch, branches
from adaptershare_cli.serving.rows import Row, RowCheck

Progress = Callable[[int], None]  # told how many inputs were run


@dataclass(frozen=True)
class Outputs:
    """What a task's head gave for rows: `values` (A, outputs) float32 for the A answers of `rows`, in their order.

    A long sentence has several of `rows`; `rows.row` tells which of the rows that were asked each one is. Of `cut` of
    them the end was cut off.
    """

    info: TaskInfo
    rows: Rows
    values: np.ndarray
    cut: int

    def answers(self, top_k: int | None = None) -> list[dict[str, Any]]:
        """A row's answer each, by the names of `Kind.answer_fields`."""
        kind = KINDS[self.info.kind]
        return list(kind.row_answers(self.info, self.rows.row, self.rows.answers, self.values, top_k))


class Predictor:
    """The tasks of a loaded run; `tokenizer_of` gives the encoder's tokenizer for a kind of task.

    Inputs have at most `max_length` tokens. Not for two threads at once (`LayerRange`).
    """

    def __init__(
        self, model: LoadedModel, tokenizer_of: Callable[[str], Any], max_length: Mapping[str, int], batch_size: int
    ) -> None:
        self.model, self.max_length, self.batch_size = model, max_length, batch_size
        self.tokenizers = {kind: tokenizer_of(kind) for kind in {info.kind for info in model.infos.values()}}
        self.layers = LayerRange(model.encoder)

    def branches(self, tasks: Sequence[str]) -> list[Branch]:
        """How the tasks share layers: a tree for each set of tasks that read rows alike."""
        return [self._tree(group) for group in self._reading_alike(tasks)]

    def predict(
        self, tasks: Sequence[str], rows: Sequence[Row], progress: Progress = lambda inputs: None
    ) -> dict[str, Outputs]:
        """What each of the tasks says of every row, all in one pass as far as they read rows and share layers alike.

        Raises UserError for a row that a task cannot answer (`RowCheck`), RunError for outputs that are not finite.
        """
        found: dict[str, Outputs] = {}
        for group in self._reading_alike(tasks):
            table = self._encode(group[0], rows)
            read, cut = Rows(table, self.model.infos[group[0]]), sum(table["truncated"].to_pylist())
            for task, values in self._outputs(group, read, progress).items():
                found[task] = Outputs(self.model.infos[task], read, values, cut)
        return {task: found[task] for task in tasks}

    def _tree(self, tasks: Sequence[str]) -> Branch:
        return branches({task: self.model.layer_keys[task] for task in tasks})

    def _reading_alike(self, tasks: Sequence[str]) -> list[list[str]]:
        """The tasks in groups for which rows are the same tokens, and whose heads are asked of the same ones."""
        groups: dict[Any, list[str]] = {}
        for task in tasks:
            kind = KINDS[self.model.infos[task].kind]
            reading = (type(kind).encode, type(kind).answers, str(kind.tokenizer_options), self.max_length[task])
            groups.setdefault(reading, []).append(task)
        return list(groups.values())

    def _encode(self, task: str, rows: Sequence[Row]) -> pa.Table:
        info = self.model.infos[task]
        kind, check = KINDS[info.kind], RowCheck(info)
        whole = []
        for number, row in enumerate(rows):
            checked, wrong = check(row)
            if row.keys() != rows[0].keys():
                raise UserError(f"Row {number} has other keys than row 0: {', '.join(row)}", where=f"task {task}")
            if wrong is not None:
                raise UserError(f"The {wrong.role} of row {number} {wrong.reason}", where=f"task {task}")
            whole.append({**checked, "row": number})
        schema = kind.downloaded_schema()
        table = pa.table({name: [row.get(name) for row in whole] for name in schema.names}, schema=schema)
        return encode_rows(info, table, [""] * len(rows), self.tokenizers[info.kind], self.max_length[task])

    @torch.inference_mode()
    def _outputs(self, tasks: Sequence[str], rows: Rows, progress: Progress) -> dict[str, np.ndarray]:
        model, tree = self.model, self._tree(tasks)
        pad_token = self.tokenizers[model.infos[tasks[0]].kind].pad_token_id
        found = {
            task: np.zeros((len(rows.answers), KINDS[model.infos[task].kind].outputs(model.infos[task])), np.float32)
            for task in tasks
        }
        for batch in ordered_batches(tasks[0], rows, self.batch_size, pad_token):
            places = rows.answers.of_rows(batch.indices)
            for task, hidden in self._states(tree, batch, None):
                logits = model.read(task, hidden, batch.inputs["attention_mask"], batch.targets)
                found[task][places] = logits.float().cpu().numpy()
            progress(len(batch))
        for task, values in found.items():
            if not np.isfinite(values).all():
                raise RunError("The model's outputs are not finite", where=f"task {task}")
        return found

    def _states(self, branch: Branch, batch: Batch, given: torch.Tensor | None) -> Iterator[tuple[str, torch.Tensor]]:
        """The last hidden states (B, S, H) of a batch for each task of a branch, from those that its layers take."""
        if branch.end > branch.start:
            first, model = branch.tasks[0], self.model
            with model.active(first):
                given = self.layers.run(
                    branch.start, branch.end, given, lambda: model.encode(batch.inputs, model.weights(first))
                )
        for part in branch.parts:
            yield from self._states(part, batch, given)
        if not branch.parts:
            assert given is not None, "an encoder without layers"
            for task in branch.tasks:
                yield task, given
