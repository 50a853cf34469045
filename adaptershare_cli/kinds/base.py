"""What a kind of task says of itself, and what the learning core knows of a task. Nothing heavy is imported here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adaptershare_cli.kinds.metrics.base import Metric
from adaptershare_cli.kinds.metrics.own import is_own, own_metric
from adaptershare_cli.kinds.rows.texts import text_fault
from adaptershare_cli.kinds.rows.values import Allowed, LabelNames, Wrong

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

    from adaptershare_cli.kinds.rows.answers import Answers, Targets

RowCheck = Callable[[dict[str, Any]], Wrong | None]
ROLES = ("text", "text_pair", "label")  # what the values of a row may be for
TEXT_ROLES = tuple(role for role in ROLES if role != "label")
# What else a row of any kind may say: what its owner calls it, whom it belongs to, how much it counts.
EXTRAS = ID, GROUP, WEIGHT = ("id", "group", "weight")
_ROWS = 1000  # rows that are text at once


@dataclass(frozen=True)
class TaskInfo:
    """What training needs to know of a task: kind, labels, range of scores, metrics (the main one first).

    `unseen` are labels of words in scored splits that train never has; their numbers come after those of `labels`.
    `positive` is the label that metrics of one label are of, "" for all labels alike. `weights`, one a label, are how
    much it counts in the loss; () for all alike.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    range: tuple[float, float] | None
    metrics: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    positive: str = ""
    weights: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all labels, by their numbers."""
        return self.labels + self.unseen


class Kind(ABC):
    """A kind of task: what a definition says, how rows are checked and encoded, how a head learns and is scored.

    What is not said otherwise holds for tasks whose rows are a text, or a pair of texts, with one label of a list, and
    whose head gives one answer a row, of its pooled states. A kind is one object without state; what differs from
    task to task comes in a `TaskInfo`.
    """

    # ---- what a definition may say; these must be had without numpy, Arrow or torch ----

    name: str
    summary: str  # what a row has to answer
    metrics: tuple[Metric, ...]  # those that a definition may name
    roles: tuple[str, ...] = ROLES  # what columns may be for
    listed: tuple[str, ...] = ()  # roles whose values may be lists
    labelled: bool = True  # labels have names: a definition lists them, or has them collected from train
    ordered: bool = False  # labels have an order: a definition lists them in it
    ranged: bool = False  # labels are scores: a definition gives their range
    counted: str = "rows"  # what has a label: rows, or what they are made of
    weighs_labels: bool = False  # labels may count differently in the loss (--class-weights)
    ranks_labels: bool = True  # an answer can name the best few labels
    keeps_new_labels: bool = False  # rows of scored splits are kept whose labels train never has

    # ---- files ----

    predictions_table: str = "predictions"  # the table of a run that holds its predictions
    # What a line says of counts besides rows, by their names (see `counts`).
    count_notes: Mapping[str, str] = {}
    tokenizer_options: Mapping[str, Any] = {}  # with which an encoder's tokenizer is loaded

    # ---- an exported head ----

    pooling: str = ""  # what the head reads, as head.json says it; "": pooled states, as the training settings say
    states: int = 1  # hidden states that one answer reads, side by side
    pipeline_tag: str = "text-classification"  # what the hub calls such tasks
    usage: str = "rows"  # the lines of an exported folder's README that run the head
    output_note: str = ""  # what that README says of the head's outputs

    def metric(self, name: str) -> Metric:
        """The metric of that name."""
        return own_metric(name) if is_own(name) else next(metric for metric in self.metrics if metric.name == name)

    def metric_of(self, info: TaskInfo, name: str) -> Metric:
        """The metric of that name as it scores a task."""
        return self.metric(name).of_label(info.labels.index(info.positive) if info.positive else None)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of its metrics."""
        return tuple(metric.name for metric in self.metrics)

    # ---- rows as a source gives them ----

    @abstractmethod
    def label_type(self) -> pa.DataType:
        """The type of a downloaded row's label."""

    def downloaded_schema(self) -> pa.Schema:
        """Rows of one split as a source gave them."""
        import pyarrow as pa

        return pa.schema(
            [
                pa.field("row", pa.int64(), nullable=False),  # 0-based position in the source
                pa.field("text", pa.string(), nullable=False),
                pa.field("text_pair", pa.string()),  # null for single texts
                pa.field("label", self.label_type(), nullable=False),
            ]
        )

    def label_reader(self, allowed: Allowed) -> Callable[[Any], tuple[Any, str]]:
        """A function from what a source writes for a label to what is kept of it, or to why it cannot be one."""
        return LabelNames(allowed, self.keeps_new_labels and allowed.from_train)

    def row_check(self, allowed: Allowed) -> RowCheck:
        """A function that gives the first fault of a row (a value a role); in one without, the label is what is kept.

        It may change the row.
        """
        read = self.label_reader(allowed)
        texts = [role for role in self.roles if role != "label"]

        def check(row: dict[str, Any]) -> Wrong | None:
            for role in texts:
                if role in row and (reason := text_fault(row[role])):
                    return Wrong(role, row[role], reason)
            row["label"], reason = read(row["label"])
            return Wrong("label", row["label"], reason) if reason else None

        return check

    def single_labels(self, table: pa.Table) -> pa.ChunkedArray:
        """Every label of downloaded rows; those that are lists one after the other."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = table["label"]
        return pc.list_flatten(column) if pa.types.is_list(column.type) else column

    # ---- prepared rows ----

    @abstractmethod
    def target_type(self) -> pa.DataType:
        """The type of a prepared row's label, from which training learns."""

    @abstractmethod
    def targets(self, info: TaskInfo, labels: Sequence[Any]) -> list[Any]:
        """Labels of downloaded rows as prepared rows hold them: names become numbers."""

    @abstractmethod
    def strata(self, table: pa.Table) -> list[Any]:
        """A value a downloaded row, that can be sorted: parts of train have all values in train's proportions."""

    def row_labels(self, table: pa.Table) -> list[Collection[Any]]:
        """The labels that each downloaded row has: train is to keep rows of every one."""
        return [(stratum,) for stratum in self.strata(table)]

    def prepared_schema(self) -> pa.Schema:
        """Tokenised rows of one part (train, heldout, select or a scored split)."""
        import pyarrow as pa

        from adaptershare_cli.schemas import TOKENISED

        return pa.schema([*TOKENISED, pa.field("label", self.target_type(), nullable=False)])

    def texts(self, table: pa.Table) -> Iterator[tuple[str | None, ...]]:
        """The texts of each downloaded row: rows whose texts are all the same never stand in different parts."""
        for batch in table.select(["text", "text_pair"]).to_batches(max_chunksize=_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def text_sizes(self, table: pa.Table) -> np.ndarray:
        """The bytes of text of each downloaded row."""
        import pyarrow.compute as pc

        return sum(pc.fill_null(pc.binary_length(table[name]), 0).to_numpy() for name in ("text", "text_pair"))

    def encode(
        self, info: TaskInfo, table: pa.Table, contents: Sequence[str], tokenizer: Any, max_length: int
    ) -> pa.Table:
        """Downloaded rows with the hashes of their contents as prepared ones of at most `max_length` tokens."""
        import pyarrow as pa

        from adaptershare_cli.kinds.rows.tokens import tokenise

        labels = self.targets(info, table["label"].to_pylist())
        columns = {**tokenise(table, tokenizer, max_length), "content": contents, "label": labels}
        return pa.table(columns, schema=self.prepared_schema())

    def counts(self, table: pa.Table, prepared: pa.Table, tokenizer: Any) -> dict[str, int]:
        """What is counted of a part, downloaded and prepared: rows that are `blank`, with special tokens only."""
        pair = bool(table.num_rows) and table["text_pair"].null_count == 0
        special = tokenizer.num_special_tokens_to_add(pair=pair)
        return {"blank": int((prepared["length"].to_numpy() <= special).sum())}

    # ---- learning ----

    @abstractmethod
    def outputs(self, info: TaskInfo) -> int:
        """Outputs of the head for one answer."""

    @abstractmethod
    def row_losses(self, info: TaskInfo, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """The loss of each row (B,) of a batch from the head's outputs (A, outputs)."""

    def answers(self, info: TaskInfo, table: pa.Table) -> Answers:
        """What the head is asked of prepared rows, and what is right."""
        from adaptershare_cli.kinds.rows.answers import Answers, numbers

        return Answers(numbers(table["label"]))

    def cost_targets(self, length: int) -> Targets:
        """The answers of one row of `length` tokens for which costs are counted."""
        import torch

        from adaptershare_cli.kinds.rows.answers import Targets

        return Targets(torch.zeros(1))

    def label_columns(self, info: TaskInfo, answers: Answers) -> np.ndarray | None:
        """What a linear model of the A answers predicts (A, K): a column of 0 and 1 for each label, or the scores.

        Labels that no answer has get no column. None where the labels belong to rows, not to answers.
        """
        import numpy as np

        if answers.label_a_row:
            return None
        if not self.labelled:
            return answers.labels.reshape(len(answers), -1).astype(np.float64)
        return (answers.labels[:, None] == np.unique(answers.labels)[None, :]).astype(np.float64)

    # ---- scoring ----

    @abstractmethod
    def predicted(self, info: TaskInfo, outputs: np.ndarray, answers: Answers) -> np.ndarray:
        """Predictions from the head's outputs (A, outputs), in the form of `answers.labels`."""

    @abstractmethod
    def label_text(self, info: TaskInfo, label: Any) -> str:
        """One label, or prediction, as tables of predictions show it."""

    def scored(self, info: TaskInfo, metric: Metric, labels: np.ndarray, answers: Answers) -> Any:
        """Labels, or predictions in their form, as a metric takes them."""
        if not metric.of_names:
            return labels
        return [info.names[number] for number in labels] if self.labelled else labels.tolist()

    def scores(
        self, info: TaskInfo, outputs: np.ndarray, answers: Answers, constant: bool = False
    ) -> dict[str, float | None]:
        """Each of the task's metrics of the head's outputs (A, outputs), None where undefined; the main one first.

        With `constant` outputs, all alike, they come to the same with less to load.
        """
        from adaptershare_cli.kinds.rows.outputs import probabilities

        predicted = self.predicted(info, outputs, answers)
        found: dict[str, float | None] = {}
        for name in info.metrics:
            metric = self.metric_of(info, name)
            given, right = (self.scored(info, metric, labels, answers) for labels in (predicted, answers.labels))
            if metric.from_outputs:
                given = probabilities(outputs)
            if constant:
                found[name] = metric.of_constant(given, right)
            else:
                found |= metric.values(given, right)
        return found

    def constant_outputs(self, info: TaskInfo, train: Answers) -> np.ndarray | None:
        """The outputs (outputs,) of a head that says the same of everything: the commonest label of `train`.

        None where a kind has no such prediction.
        """
        import numpy as np

        if train.label_a_row or not self.labelled:
            return None
        counts = np.bincount(train.labels, minlength=len(info.labels))
        return np.log(counts + 1.0).astype(np.float32)

    def shown_label(self, info: TaskInfo, label: Any) -> str:
        """One label, or prediction, for a line of text."""
        return self.label_text(info, label)

    def predictions_schema(self) -> pa.Schema:
        """The table of predictions."""
        from adaptershare_cli.schemas import PREDICTIONS

        return PREDICTIONS

    def prediction_rows(
        self, info: TaskInfo, rows: Sequence[int], answers: Answers, predicted: np.ndarray, outputs: np.ndarray
    ) -> Iterator[dict[str, Any]]:
        """The rows of that table but for `task` and `split`, in the order of the rows of these numbers."""
        for row, label, guess, output in zip(rows, answers.labels, predicted, outputs, strict=True):
            texts = {"label": self.label_text(info, label), "prediction": self.label_text(info, guess)}
            yield {"row": int(row), **texts, "logits": output}

    # ---- predictions that a run published ----

    def label_values(self, info: TaskInfo, texts: Sequence[str]) -> np.ndarray:
        """Labels, or predictions (A,), from how tables of predictions show them: the inverse of `label_text`."""
        import numpy as np

        number_of = {label: number for number, label in enumerate(info.names)}
        return np.array([number_of[text] for text in texts], dtype=np.int64)

    def published_answers(self, info: TaskInfo, table: pa.Table) -> Answers:
        """What is right for the rows of a table of predictions, and what metrics need to know of them."""
        from adaptershare_cli.kinds.rows.answers import Answers

        return Answers(self.label_values(info, table["label"].to_pylist()))

    def errors(self, labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """How wrong each prediction is (A,): 0 or 1, or, where labels are no names, how far off."""
        return (labels != predicted).astype("float64") if self.labelled else abs(labels - predicted)

    # ---- answers to rows without labels ----

    def blank_label(self, info: TaskInfo, row: Mapping[str, Any]) -> Any:
        """A label that passes for one of a row that has none: what the head says of the row does not depend on it."""
        return info.labels[0] if self.labelled else None

    def answer_fields(self, info: TaskInfo, top_k: int | None) -> dict[str, pa.DataType]:
        """What `row_answers` gives, by name: the label, its probability, and that of each label.

        With `top_k` the best so many labels with their probabilities instead.
        """
        import pyarrow as pa

        best = 1 if top_k is None else min(top_k, len(info.labels))
        fields: dict[str, pa.DataType] = {}
        for place in range(1, best + 1):
            number = "" if place == 1 else f".{place}"
            fields |= {f"label{number}": pa.string(), f"probability{number}": pa.float64()}
        return fields | ({} if top_k is not None else {f"probability.{label}": pa.float64() for label in info.labels})

    def row_answers(
        self, info: TaskInfo, rows: Sequence[int], answers: Answers, outputs: np.ndarray, top_k: int | None
    ) -> Iterator[dict[str, Any]]:
        """The answer of each of the rows with these numbers, in their order, from the head's outputs (A, outputs)."""
        import numpy as np

        from adaptershare_cli.kinds.rows.outputs import probabilities

        fields = self.answer_fields(info, top_k)
        best = sum(name.startswith("label") for name in fields)
        shares = probabilities(outputs)
        order = np.argsort(-outputs, axis=1, kind="stable")[:, :best]
        for labels, of_labels in zip(order, shares, strict=True):
            found = [value for label in labels for value in (info.labels[label], float(of_labels[label]))]
            yield dict(zip(fields, [*found, *(of_labels.tolist() if top_k is None else ())], strict=True))
