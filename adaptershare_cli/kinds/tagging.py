"""Tagging: of a sentence given as words, a label for each word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from adaptershare_cli.kinds.base import Kind, RowCheck, TaskInfo
from adaptershare_cli.kinds.metrics.base import Metric
from adaptershare_cli.kinds.metrics.labels import Accuracy, MacroF1
from adaptershare_cli.kinds.metrics.spans import OUTSIDE, SpanF1, SpanPrecision, SpanRecall
from adaptershare_cli.kinds.rows.texts import LONGEST_ROW, TOO_LONG, excerpt, split_words, text_fault
from adaptershare_cli.kinds.rows.values import Allowed, Wrong

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

    from adaptershare_cli.kinds.rows.answers import Answers, Targets

_SHOWN_WORDS = 20


class Tagging(Kind):
    """Cross-entropy over the labels at the first sub-word of each word, averaged over the words of a row.

    So its rows count as those of other tasks do, and rows' gradients add up to the task's. (Batches hold rows of about
    one length; the mean over all words of a batch would be nearly the same.) A sentence longer than an input makes
    several rows. A label of a scored split that train never has counts as wrong.
    """

    name, summary = "tagging", "a label for each word"
    metrics = (SpanF1(), SpanPrecision(), SpanRecall(), Accuracy(), MacroF1())
    roles = listed = ("text", "label")
    weighs_labels = True
    counted, keeps_new_labels, ranks_labels = "words", True, False
    predictions_table = "word_predictions"
    count_notes = {"windowed": "sentences longer than an input, in several"}
    tokenizer_options = {"add_prefix_space": True}  # byte-level ones (RoBERTa's) then put a blank before each word
    pooling = "first-subword"
    pipeline_tag = "token-classification"
    usage = "words"

    # ---- sentences as a source gives them ----

    def label_type(self) -> pa.DataType:
        """The names of the words' labels."""
        import pyarrow as pa

        return pa.list_(pa.field("item", pa.string(), nullable=False))

    def downloaded_schema(self) -> pa.Schema:
        """The words of each sentence and the names of their labels."""
        import pyarrow as pa

        return pa.schema(
            [
                pa.field("row", pa.int64(), nullable=False),
                pa.field("text", self.label_type(), nullable=False),
                pa.field("label", self.label_type(), nullable=False),
            ]
        )

    def row_check(self, allowed: Allowed) -> RowCheck:
        """Words and labels are lists, or texts that blanks part; as many words as labels, each of which passes."""
        read = self.label_reader(allowed)

        def check(row: dict[str, Any]) -> Wrong | None:
            if wrong := _lists_fault(row):
                return wrong
            written, row["label"] = row["label"], []
            for place, (word, label) in enumerate(zip(row["text"], written, strict=True)):
                if reason := text_fault(word):
                    return Wrong("text", word, f"{reason} (word {place + 1} of its sentence)", place)
                name, reason = read(label)
                if reason:
                    return Wrong("label", label, f"{reason} (word {place + 1} of its sentence)", place)
                row["label"].append(name)
            return None

        return check

    # ---- prepared rows ----

    def target_type(self) -> pa.DataType:
        """The number of each word's label; above those of the task's labels stand labels that train never has."""
        import pyarrow as pa

        return pa.list_(pa.int64())

    def targets(self, info: TaskInfo, labels: Sequence[Sequence[str]]) -> list[list[int]]:
        """Numbers in the order of the task's labels, then of those that train never has."""
        number_of = {label: number for number, label in enumerate(info.names)}
        return [[number_of[label] for label in found] for found in labels]

    def strata(self, table: pa.Table) -> list[int]:
        """1 if a sentence has a label other than O, else 0: a row of many words has its labels nearly in proportion."""
        return [int(any(label != OUTSIDE for label in found)) for found in table["label"].to_pylist()]

    def row_labels(self, table: pa.Table) -> list[Collection[Any]]:
        """The labels of the sentence's words."""
        return [set(found) for found in table["label"].to_pylist()]

    def prepared_schema(self) -> pa.Schema:
        """Tokenised rows of one part.

        A sentence that is longer than an input has several rows, one after the other; each of its words is labelled in
        one of them, and the others are there to be read.
        """
        import pyarrow as pa

        from adaptershare_cli.schemas import TOKENISED

        return pa.schema(
            [
                *TOKENISED,
                pa.field("stratum", pa.int64(), nullable=False),
                pa.field("first_word", pa.int32(), nullable=False),  # place in the sentence of the first labelled word
                pa.field("words", pa.list_(pa.string()), nullable=False),  # those that are labelled here
                pa.field("starts", pa.list_(pa.int32()), nullable=False),  # the token of each one's first sub-word
                pa.field("label", self.target_type(), nullable=False),
            ]
        )

    def texts(self, table: pa.Table) -> Iterator[tuple[str | None, ...]]:
        """A sentence counts as the text in which blanks part its words."""
        return ((" ".join(words), None) for words in table["text"].to_pylist())

    def text_sizes(self, table: pa.Table) -> np.ndarray:
        """The bytes of all words of each sentence."""
        import numpy as np
        import pyarrow.compute as pc

        ends = np.cumsum([0, *pc.binary_length(pc.list_flatten(table["text"])).to_numpy()])
        return np.diff(ends[np.cumsum([0, *pc.list_value_length(table["text"]).to_numpy()])])

    def encode(
        self, info: TaskInfo, table: pa.Table, contents: Sequence[str], tokenizer: Any, max_length: int
    ) -> pa.Table:
        """Sentences as inputs of at most `max_length` tokens.

        A word is labelled at its first sub-word; one that the tokenizer makes nothing of becomes its unknown token.
        Raises UserError for such a word if there is no unknown token.
        """
        import pyarrow as pa

        from adaptershare_cli.kinds.rows.words import tokenise_words

        columns, inputs = tokenise_words(table, tokenizer, max_length)
        targets, strata = self.targets(info, table["label"].to_pylist()), self.strata(table)
        columns |= {
            "content": [contents[at] for at, _ in inputs],
            "stratum": [strata[at] for at, _ in inputs],
            "label": [targets[at][window.first : window.last] for at, window in inputs],
        }
        return pa.table(columns, schema=self.prepared_schema())

    def counts(self, table: pa.Table, prepared: pa.Table, tokenizer: Any) -> dict[str, int]:
        """Words, `windowed` sentences (those of more than one input), and `blank` ones: every word has a token."""
        import pyarrow.compute as pc

        inputs = Counter(prepared["row"].to_pylist())
        return {
            "words": int(pc.sum(pc.list_value_length(table["text"])).as_py() or 0),
            "windowed": sum(count > 1 for count in inputs.values()),
            "blank": 0,
        }

    # ---- learning ----

    def outputs(self, info: TaskInfo) -> int:
        """One a label."""
        return len(info.labels)

    def row_losses(self, info: TaskInfo, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """The mean of the cross-entropies of a row's labelled words."""
        import torch

        from adaptershare_cli.kinds.rows.outputs import label_weights

        assert targets.rows is not None
        weights = label_weights(info.weights, logits)
        losses = torch.nn.functional.cross_entropy(logits, targets.labels.long(), weights, reduction="none")
        counts = torch.bincount(targets.rows)
        sums = torch.zeros(len(counts), dtype=losses.dtype, device=losses.device).index_add(0, targets.rows, losses)
        return sums / counts

    def answers(self, info: TaskInfo, table: pa.Table) -> Answers:
        """One a word, at the token of its first sub-word; kept of each: its place in its sentence, and its text."""
        import numpy as np
        import pyarrow.compute as pc

        from adaptershare_cli.kinds.rows.answers import Answers

        counts = pc.list_value_length(table["starts"]).to_numpy().astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        first = table["first_word"].to_numpy().astype(np.int64)
        return Answers(
            pc.list_flatten(table["label"]).to_numpy(),
            sorted_by=table["stratum"].to_numpy().astype(np.int64),
            offsets=offsets,
            tokens=pc.list_flatten(table["starts"]).to_numpy().astype(np.int64),
            facts={
                "place": np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], counts),
                "word": pc.list_flatten(table["words"]).to_numpy(),
            },
        )

    def cost_targets(self, length: int) -> Targets:
        """One at every token: how many words a row has is not known there."""
        import torch

        from adaptershare_cli.kinds.rows.answers import Targets

        rows = torch.zeros(length, dtype=torch.int64)
        return Targets(labels=rows, rows=rows, tokens=torch.arange(length))

    # ---- scoring ----

    def predicted(self, info: TaskInfo, outputs: np.ndarray, answers: Answers) -> np.ndarray:
        """The number of the label with the highest output, one a word."""
        return outputs.argmax(1)

    def label_text(self, info: TaskInfo, label: Any) -> str:
        """The label's name."""
        return info.names[label]

    def scored(self, info: TaskInfo, metric: Metric, labels: np.ndarray, answers: Answers) -> Any:
        """For metrics of spans the names of all words' labels, a list a sentence.

        The rows of a sentence, if it has several, stand one after the other.
        """
        import numpy as np

        if not metric.in_lists:
            return labels
        names = np.array(info.names, dtype=object)[labels]
        begins = np.flatnonzero(answers.facts["place"] == 0)
        return [part.tolist() for part in np.split(names, begins[1:])]

    def predictions_schema(self) -> pa.Schema:
        """A row a word, in the order of the sentences."""
        import pyarrow as pa

        return pa.schema(
            [
                ("task", pa.string()),
                ("split", pa.string()),
                ("row", pa.int64()),  # the sentence: `row` of the downloaded split
                ("place", pa.int64()),  # the word's place in its sentence, from 0
                ("word", pa.string()),
                ("label", pa.string()),
                ("prediction", pa.string()),
                ("logits", pa.list_(pa.float32())),
            ]
        )

    def prediction_rows(
        self, info: TaskInfo, rows: Sequence[int], answers: Answers, predicted: np.ndarray, outputs: np.ndarray
    ) -> Iterator[dict[str, Any]]:
        """Word by word."""
        of_words = [row for row, count in zip(rows, answers.per_row, strict=True) for _ in range(count)]
        found = super().prediction_rows(info, of_words, answers, predicted, outputs)
        for row, place, word in zip(found, answers.facts["place"], answers.facts["word"], strict=True):
            yield {**row, "place": int(place), "word": word}

    def published_answers(self, info: TaskInfo, table: pa.Table) -> Answers:
        """Of each word also its place in its sentence."""
        answers = super().published_answers(info, table)
        return replace(answers, facts={"place": table["place"].to_numpy()})

    # ---- answers to rows without labels ----

    def blank_label(self, info: TaskInfo, row: Mapping[str, Any]) -> list[str]:
        """A label for each word."""
        text = row["text"]
        words = split_words(text) if isinstance(text, str) else text
        return [info.labels[0]] * (len(words) if isinstance(words, list) else 0)

    def answer_fields(self, info: TaskInfo, top_k: int | None) -> dict[str, pa.DataType]:
        """The words, the label of each, and the probability of that label."""
        import pyarrow as pa

        return {"words": pa.list_(pa.string()), "labels": pa.list_(pa.string()),
                "probabilities": pa.list_(pa.float64())}  # fmt: skip

    def row_answers(
        self, info: TaskInfo, rows: Sequence[int], answers: Answers, outputs: np.ndarray, top_k: int | None
    ) -> Iterator[dict[str, Any]]:
        """Of each sentence, whose inputs stand one after the other."""
        of_words = [row for row, count in zip(rows, answers.per_row, strict=True) for _ in range(count)]
        from adaptershare_cli.kinds.rows.outputs import probabilities

        best = outputs.argmax(1)
        shares = probabilities(outputs)[range(len(best)), best].tolist()
        words = zip(of_words, answers.facts["word"].tolist(), best.tolist(), shares, strict=True)
        for _, of_sentence in groupby(words, key=itemgetter(0)):
            found = list(of_sentence)
            yield {
                "words": [word for _, word, _, _ in found],
                "labels": [info.labels[label] for _, _, label, _ in found],
                "probabilities": [share for *_, share in found],
            }


def _lists_fault(row: dict[str, Any]) -> Wrong | None:
    """What keeps a row from being words and as many labels; its texts become lists."""
    for role in ("text", "label"):
        if isinstance(row[role], str):
            row[role] = split_words(row[role])
        if not isinstance(row[role], list):
            return Wrong(role, row[role], text_fault(row[role]).replace("not text", "not a list"))
    words, labels = row["text"], row["label"]
    if not words:
        return Wrong("text", "", "holds no word")
    if len(words) != len(labels):
        value = " ".join(map(excerpt, labels[:_SHOWN_WORDS]))
        return Wrong("label", value, f"has {_count(labels, 'label')} for {_count(words, 'word')}")
    if sum(len(word) for word in words if isinstance(word, str)) > LONGEST_ROW:
        return Wrong("text", words[0], TOO_LONG)
    return None


def _count(items: list[Any], name: str) -> str:
    return f"{len(items)} {name}" if len(items) == 1 else f"{len(items)} {name}s"


KIND = Tagging()
