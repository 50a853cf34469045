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

from adaptershare_cli.data.batches import Batch, Rows, narrowed, ordered_batches
from adaptershare_cli.data.encoding import encode_rows
from adaptershare_cli.errors import RunError, UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.model.layer_range import LayerRange
from adaptershare_cli.model.loaded import LoadedModel
from adaptershare_cli.serving.branches import Branch, branches
from adaptershare_cli.serving.rows import Call, Row, RowCheck

Progress = Callable[[int], None]  # told how many inputs were run


@dataclass(frozen=True)
class Outputs:
    """What a task's head gave for rows: `values` (A, outputs) float32 for the A answers of `rows`, in their order.

    A long sentence has several of `rows`; `rows.row` tells which of the rows that were asked each one is. Of those in
    `cut` the end was cut off.
    """

    info: TaskInfo
    rows: Rows
    values: np.ndarray
    cut: Sequence[int]

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
        return self.predict_calls([Call(tuple(tasks), rows)], progress)[0]

    def predict_calls(
        self, calls: Sequence[Call], progress: Progress = lambda inputs: None
    ) -> list[dict[str, Outputs]]:
        """As `predict` for each of several calls, whose rows run together however much their tasks differ.

        Above the layers that all tasks share, a task's layers run on the rows alone that it is asked. A call's outputs
        are those that it would have by itself but for rounding, as its rows stand in other batches; a single call's
        are the same bits as ever.
        """
        found: list[dict[str, Outputs]] = [{} for _ in calls]
        asked = dict.fromkeys(task for call in calls for task in call.tasks)
        for group in self._reading_alike(list(asked)):
            numbers = [number for number, call in enumerate(calls) if not call.asks.isdisjoint(group)]
            table = self._encode(group[0], [calls[number].rows for number in numbers])
            read = Rows(table, self.model.infos[group[0]])
            sizes = [len(calls[number].rows) for number in numbers]
            owners = np.repeat(numbers, sizes)[read.row]
            asking = {task: np.isin(owners, [n for n in numbers if task in calls[n].asks]) for task in group}
            values = self._outputs(read, asking, progress)
            truncated = table["truncated"].to_numpy()
            for number, end, size in zip(numbers, np.cumsum(sizes), sizes, strict=True):
                own = np.flatnonzero(owners == number)
                rows = read.take(own)
                rows.row = rows.row - (end - size)
                places, cut = read.answers.of_rows(own), sorted({*rows.row[truncated[own]].tolist()})
                for task in calls[number].asks.intersection(group):
                    found[number][task] = Outputs(self.model.infos[task], rows, values[task][places], cut)
        return [{task: of_call[task] for task in call.tasks} for call, of_call in zip(calls, found, strict=True)]

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

    def _encode(self, task: str, calls: Sequence[Sequence[Row]]) -> pa.Table:
        """The rows of all calls as the task reads them, numbered from the first call's on."""
        info, start = self.model.infos[task], 0
        # One table for calls whose rows have the same roles: singles and pairs are tokenised in different ways.
        whole: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for rows in calls:
            if rows:
                whole.setdefault(tuple(rows[0]), []).extend(self._checked(info, rows, start))
            start += len(rows)
        schema = KINDS[info.kind].downloaded_schema()
        tables = [
            pa.table({name: [row.get(name) for row in alike] for name in schema.names}, schema=schema)
            for alike in whole.values()
        ] or [schema.empty_table()]
        tokenizer, longest = self.tokenizers[info.kind], self.max_length[task]
        return pa.concat_tables(encode_rows(info, part, [""] * len(part), tokenizer, longest) for part in tables)

    def _checked(self, info: TaskInfo, rows: Sequence[Row], start: int) -> list[dict[str, Any]]:
        """The rows of one call, whose numbers begin at `start`."""
        check, found = RowCheck(info), []
        for number, row in enumerate(rows):
            checked, wrong = check(row)
            if row.keys() != rows[0].keys():
                raise UserError(f"Row {number} has other keys than row 0: {', '.join(row)}", where=f"task {info.name}")
            if wrong is not None:
                raise UserError(f"The {wrong.role} of row {number} {wrong.reason}", where=f"task {info.name}")
            found.append({**checked, "row": start + number})
        return found

    @torch.inference_mode()
    def _outputs(self, rows: Rows, asking: Mapping[str, np.ndarray], progress: Progress) -> dict[str, np.ndarray]:
        """What each task's head gives for the rows that ask it (`asking`, by task whether each row does), else 0."""
        model, tree = self.model, self._tree(list(asking))
        pad_token = self.tokenizers[model.infos[tree.tasks[0]].kind].pad_token_id
        found = {
            task: np.zeros((len(rows.answers), KINDS[model.infos[task].kind].outputs(model.infos[task])), np.float32)
            for task in tree.tasks
        }
        for batch in ordered_batches(tree.tasks[0], rows, self.batch_size, pad_token):
            for task, part, hidden in self._states(tree, batch, rows, asking, None):
                logits = model.read(task, hidden, part.inputs["attention_mask"], part.targets)
                found[task][rows.answers.of_rows(part.indices)] = logits.float().cpu().numpy()
            progress(len(batch))
        for task, values in found.items():
            if not np.isfinite(values).all():
                raise RunError("The model's outputs are not finite", where=f"task {task}")
        return found

    def _states(
        self, branch: Branch, batch: Batch, rows: Rows, asking: Mapping[str, np.ndarray], given: torch.Tensor | None
    ) -> Iterator[tuple[str, Batch, torch.Tensor]]:
        """For each task of a branch the rows of a batch that ask any of them, and their last hidden states (B, S, H).

        `given` are the states of the whole batch that the branch's layers take.
        """
        asked = np.flatnonzero(np.any([asking[task][batch.indices] for task in branch.tasks], axis=0))
        if not len(asked):
            return
        if len(asked) < len(batch):
            batch = narrowed(batch, rows, asked)
            width = batch.inputs["input_ids"].shape[1]
            given = None if given is None else given[torch.from_numpy(asked), :width]
        if branch.end > branch.start:
            first, model = branch.tasks[0], self.model
            with model.active(first):
                given = self.layers.run(
                    branch.start, branch.end, given, lambda: model.encode(batch.inputs, model.weights(first))
                )
        for part in branch.parts:
            yield from self._states(part, batch, rows, asking, given)
        if not branch.parts:
            assert given is not None, "an encoder without layers"
            for task in branch.tasks:
                yield task, batch, given
