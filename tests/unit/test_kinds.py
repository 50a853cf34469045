"""Kinds of task: what is had without anything heavy, what all of them keep to, and kinds that do not exist yet."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from sklearn.utils.class_weight import compute_sample_weight

import adaptershare_cli
from adaptershare_cli import schemas
from adaptershare_cli.data.batches import Rows, TaskParts, make_batch
from adaptershare_cli.kinds import KINDS, METRICS, prediction_tables
from adaptershare_cli.kinds.base import Kind, TaskInfo
from adaptershare_cli.kinds.classification import Classification
from adaptershare_cli.kinds.metrics.base import Metric
from adaptershare_cli.kinds.rows.answers import Answers, Targets
from adaptershare_cli.kinds.rows.shares import balanced, constant
from adaptershare_cli.observe.gradients import gram_matrices, row_index
from adaptershare_cli.training.costs import count_costs
from tests import core
from tests.core import build_method, random_parts
from tests.trainings import train

HEAVY = ("torch", "transformers", "adapters", "datasets", "evaluate", "pandas", "numpy", "pyarrow", "sklearn", "scipy")


# ---- what every kind keeps to ----


def test_what_definitions_may_say_is_had_without_anything_heavy() -> None:
    script = f"""
import json, sys
from adaptershare_cli.kinds import KINDS, METRICS
for kind in KINDS.values():
    kind.name, kind.summary, kind.metric_names, kind.roles, kind.listed, kind.labelled, kind.ranged, kind.counted
[metric.labels_fault(("a", "b")) for metric in METRICS.values()]
print(json.dumps([sorted(KINDS), sorted(set({HEAVY!r}) & set(sys.modules))]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [["classification", "ordinal", "regression", "tagging"], []]


def test_no_kind_is_named_outside_the_room() -> None:
    """What differs from kind to kind is said by the kinds: no other module compares with a kind's name."""
    package = Path(adaptershare_cli.__file__).parent
    files = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] != "kinds"]
    assert len(files) > 100
    found = [
        f"{path.relative_to(package)}:{node.lineno}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in KINDS
    ]
    assert found == []


def test_a_metric_is_one_class() -> None:
    classes = {(metric.name, type(metric)) for kind in KINDS.values() for metric in kind.metrics}
    assert len(classes) == len(METRICS)
    assert all(type(metric).__doc__ for metric in METRICS.values())


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_the_tables_of_a_kind(kind: Kind) -> None:
    assert kind.name == type(kind).__module__.split(".")[-1] and type(kind).__doc__ and kind.summary
    assert {"row", "text", "label"} <= set(kind.downloaded_schema().names)
    assert set(kind.downloaded_schema().names) == {"row", *kind.roles}
    assert kind.prepared_schema().names[: len(schemas.TOKENISED)] == schemas.TOKENISED.names
    assert "label" in kind.prepared_schema().names
    common = {"task", "split", "row", "label", "prediction", "logits"}
    assert common <= set(prediction_tables()[kind.predictions_table].schema.names)
    assert set(kind.listed) <= set(kind.roles) and "label" in kind.roles
    assert kind.metrics and not (kind.labelled and kind.ranged)


# ---- kinds that do not exist yet ----


class Inside(Metric):
    """Share of rows whose two predicted tokens are the right ones."""

    name, in_lists = "inside", True

    def value(self, predictions: list[list[int]], references: list[list[int]]) -> float:
        return float(np.mean([found == right for found, right in zip(predictions, references, strict=True)]))


class Extraction(Kind):
    """The first and the last token of an answer in a text: two outputs a token, one pair of labels a row."""

    name, summary, metrics = "extraction", "a part of the text", (Inside(),)
    labelled = False

    def label_type(self) -> pa.DataType:
        return pa.string()

    def target_type(self) -> pa.DataType:
        return pa.list_(pa.int64())

    def targets(self, info: TaskInfo, labels: Sequence[Any]) -> list[Any]:
        return list(labels)

    def strata(self, table: pa.Table) -> list[int]:
        return [0] * len(table)

    def outputs(self, info: TaskInfo) -> int:
        return 2

    def answers(self, info: TaskInfo, table: pa.Table) -> Answers:
        lengths = table["length"].to_numpy().astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Answers(
            pc.list_flatten(table["label"]).to_numpy().reshape(-1, 2),
            sorted_by=np.zeros(len(table), dtype=np.int64),
            offsets=offsets,
            tokens=np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths),
            label_a_row=True,
        )

    def cost_targets(self, length: int) -> Targets:
        return Targets(torch.zeros(1, 2), torch.zeros(length, dtype=torch.int64), torch.arange(length))

    def row_losses(self, info: TaskInfo, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        assert targets.rows is not None
        counts = torch.bincount(targets.rows).tolist()
        each = [
            torch.nn.functional.cross_entropy(of_row.T, label.long())
            for of_row, label in zip(logits.split(counts), targets.labels, strict=True)
        ]
        return torch.stack(each)

    def predicted(self, info: TaskInfo, outputs: np.ndarray, answers: Answers) -> np.ndarray:
        assert answers.offsets is not None
        return np.array([part.argmax(0) for part in np.split(outputs, answers.offsets[1:-1])])

    def label_text(self, info: TaskInfo, label: Any) -> str:
        return f"{label[0]}-{label[1]}"

    def scored(self, info: TaskInfo, metric: Metric, labels: np.ndarray, answers: Answers) -> Any:
        return labels.tolist()

    def prediction_rows(self, info: TaskInfo, rows: Any, answers: Answers, predicted: Any, outputs: Any) -> Any:
        logits = [part.ravel() for part in np.split(outputs, answers.per_row.cumsum()[:-1])]
        return super().prediction_rows(info, rows, answers, predicted, logits)  # type: ignore[arg-type]


class Relation(Classification):
    """How two tokens of a text relate: the head reads both states side by side."""

    name, summary = "relation", "a label for two words"
    states = 2

    def answers(self, info: TaskInfo, table: pa.Table) -> Answers:
        count = len(table)
        tokens = np.stack([np.ones(count, dtype=np.int64), table["length"].to_numpy().astype(np.int64) - 2], axis=1)
        return Answers(table["label"].to_numpy(), offsets=np.arange(count + 1), tokens=tokens)

    def cost_targets(self, length: int) -> Targets:
        return Targets(torch.zeros(1), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.int64))


NEW = {
    "part": TaskInfo("part", "extraction", (), None, ("inside",)),
    "pair": TaskInfo("pair", "relation", ("no", "yes"), None, ("accuracy",)),
}


def new_rows(info: TaskInfo, count: int, seed: int) -> Rows:
    """Random rows: the tokens asked for are the highest one and the lowest, or the label is that of the lowest."""
    random = np.random.default_rng(seed)
    ids = [random.integers(4, 40, random.integers(4, 18)).tolist() for _ in range(count)]
    ends = [sorted((int(np.argmax(row)), int(np.argmin(row)))) for row in ids]
    columns = {
        "row": list(range(count)), "content": [f"{seed}-{number}" for number in range(count)], "input_ids": ids,
        "token_type_ids": [[0] * len(row) for row in ids], "length": [len(row) for row in ids],
        "truncated": [False] * count, "label": ends if info.kind == "extraction" else [min(row) % 2 for row in ids],
    }  # fmt: skip
    return Rows(pa.table(columns, schema=KINDS[info.kind].prepared_schema()), info)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, TaskParts]:
    """Two tasks of new kinds beside those of all others."""
    for kind in (Extraction(), Relation()):
        monkeypatch.setitem(KINDS, kind.name, kind)
    for name, info in NEW.items():
        monkeypatch.setitem(core.INFOS, name, info)
    new = {
        name: TaskParts(
            new_rows(info, 40, 1), new_rows(info, 11, 2), new_rows(info, 12, 3), {"dev": new_rows(info, 15, 4)}
        )
        for name, info in NEW.items()
    }
    return {**random_parts(("first", "score", "tags")), **new}


def test_answers_of_taken_rows(parts: dict[str, TaskParts]) -> None:
    """Labels of rows go with their rows, tokens with their answers."""
    order = np.array([5, 0, 5])
    for name in NEW:
        whole = parts[name].train.answers
        taken, batch = whole.take(order), whole.targets(order)
        assert len(taken) == len(whole.of_rows(order)) == int(whole.per_row[order].sum())
        assert taken.labels.tolist() == whole.labels[order].tolist() == batch.labels.tolist()
        assert batch.rows is not None and batch.tokens is not None
        assert torch.bincount(batch.rows).tolist() == taken.per_row.tolist()
        again = taken.targets(np.arange(3))
        assert again.tokens is not None and torch.equal(again.tokens, batch.tokens)


def test_gradients_of_new_kinds_add_up(parts: dict[str, TaskParts], encoder: Path) -> None:
    method, _ = build_method(encoder, "private", parts=parts, double=True)
    method.eval_mode()
    heldout = {task: part.heldout for task, part in parts.items()}
    index = row_index(heldout)
    for layer, gram in enumerate(gram_matrices(method.model, heldout, 0, chunk_rows=7)):
        for number, (task, rows) in enumerate(heldout.items()):
            tensors = [tensor for _, tensor in method.model.bank.named_parameters(task, layer)]
            loss = method.loss(make_batch(task, rows, np.arange(len(rows)), 0))
            square = sum((part**2).sum().item() for part in torch.autograd.grad(loss, tensors))
            own = index.rows(number)
            assert gram[np.ix_(own, own)].mean() == pytest.approx(square, rel=1e-10), (layer, task)


def test_new_kinds_are_trained_scored_counted_and_exported(
    parts: dict[str, TaskParts], encoder: Path, tmp_path: Path
) -> None:
    run = train(encoder, "shared", parts=parts)
    for name, info in NEW.items():
        metrics = [row for row in run.records["metrics"] if row["task"] == name and row["final"]]
        assert {row["metric"] for row in metrics} == set(info.metrics)
        predictions = [row for row in run.records["predictions"] if row["task"] == name]
        assert [row["row"] for row in predictions] == list(range(15))
        assert {row["split"] for row in predictions} == {"dev"}
        pa.Table.from_pylist(predictions, schemas.PREDICTIONS)
        run.method.export(name, tmp_path / name)
        head = json.loads((tmp_path / name / "head.json").read_text())
        assert head["kind"] == info.kind
    costs = count_costs(run.method, {task: [10] for task in parts}).tasks
    assert costs["pair"].heads == 2 * 64 + 2 and costs["part"].heads == 2 * 32 + 2
    assert costs["pair"].multiply_adds - costs["first"].multiply_adds == 2 * 32  # twice as many states
    assert costs["part"].multiply_adds - costs["first"].multiply_adds == 9 * 2 * 32  # ten answers


# ---- constant predictions ----


def test_the_constant_prediction_is_learnt_from_train_alone() -> None:
    info = TaskInfo("mail", "classification", ("ham", "spam", "other"), None, ("accuracy", "macro_f1", "matthews"))
    found = constant(KINDS["classification"], info, Answers(np.array([1, 1, 0])), Answers(np.array([0, 0, 0, 1])))
    assert found == ("always spam", {"accuracy": 0.25, "macro_f1": pytest.approx(0.2), "matthews": 0.0})


def test_the_constant_score_is_the_mean_and_has_no_correlation() -> None:
    info = TaskInfo("score", "regression", (), (0.0, 5.0), ("pearson", "spearman"))
    found = constant(KINDS["regression"], info, Answers(np.array([1.0, 2.0, 4.5])), Answers(np.array([1.0, 2.0])))
    assert found == ("always 2.5", {"pearson": None, "spearman": None})


def test_the_constant_tag_is_the_commonest() -> None:
    rows = random_parts(("tags",))["tags"]
    info = core.WORD_INFOS["tags"]
    labels = rows.train.answers.labels
    common = int(np.bincount(labels).argmax())
    found = constant(KINDS["tagging"], info, rows.train.answers, rows.scored["dev"].answers)
    assert found is not None and found[0] == f"always {info.labels[common]}"
    assert found[1]["accuracy"] == pytest.approx((rows.scored["dev"].answers.labels == common).mean())


def test_of_constant_predictions_every_metric_comes_to_what_it_computes() -> None:
    """With less to load: the two ways must not part."""
    for kind in KINDS.values():
        for metric in kind.metrics:
            references: Any = [["O", "B-x"], ["O"]] if metric.in_lists else [0, 1, 1, 0]
            predictions: Any = [["O", "O"], ["O"]] if metric.in_lists else [1, 1, 1, 1]
            if metric.from_outputs:
                predictions, references = np.full((4, 2), 0.5), np.array(references)
            assert metric.of_constant(predictions, references) == metric.compute(predictions, references), metric.name


def test_nothing_constant_is_said_of_no_rows_or_of_a_kind_that_has_none() -> None:
    info = TaskInfo("mail", "classification", ("ham", "spam"), None, ("accuracy",))
    none = Answers(np.zeros(0, dtype=np.int64))
    assert constant(KINDS["classification"], info, Answers(np.array([1])), none) is None
    assert constant(Extraction(), NEW["part"], none, Answers(np.array([1]))) is None


# ---- class weights ----


def test_class_weights_are_those_of_scikit_learn_and_weigh_the_loss() -> None:
    info = TaskInfo("mail", "classification", ("ham", "spam", "never"), None, ("accuracy",))
    labels = np.array([0, 0, 0, 1])
    weighed = balanced(KINDS["classification"], info, Answers(labels))
    assert weighed.weights == pytest.approx((4 / (2 * 3), 4 / (2 * 1), 1.0))  # of two labels that are there
    expected = compute_sample_weight("balanced", labels)
    logits = torch.tensor([[1.0, 0.0, -1.0]] * 4, dtype=torch.float64)
    kind, targets = KINDS["classification"], Targets(torch.from_numpy(labels))
    plain, changed = (kind.row_losses(task, logits, targets).numpy() for task in (info, weighed))
    assert changed == pytest.approx(plain * expected)


def test_class_weights_of_words_and_of_scores() -> None:
    parts, info = random_parts(("tags", "score")), core.WORD_INFOS["tags"]
    answers = parts["tags"].train.answers
    weighed = balanced(KINDS["tagging"], info, answers)
    share = np.array(weighed.weights)[answers.labels]
    assert share == pytest.approx(compute_sample_weight("balanced", answers.labels))
    targets = answers.targets(np.arange(4))
    logits = torch.zeros(len(targets.labels), 3)
    plain, changed = (KINDS["tagging"].row_losses(task, logits, targets) for task in (info, weighed))
    assert plain.shape == changed.shape and not torch.equal(plain, changed)
    grade = TaskInfo("grade", "ordinal", ("bad", "ok", "good"), None, ("qwk",))
    labels = np.array([0, 0, 0, 1])
    weighed, right = balanced(KINDS["ordinal"], grade, Answers(labels)), Targets(torch.from_numpy(labels))
    output = torch.full((4, 1), 0.5)
    losses = [KINDS["ordinal"].row_losses(task, output, right).numpy() for task in (grade, weighed)]
    assert losses[1] == pytest.approx(losses[0] * compute_sample_weight("balanced", labels))
    score = core.INFOS["score"]
    assert balanced(KINDS["regression"], score, parts["score"].train.answers) == score
