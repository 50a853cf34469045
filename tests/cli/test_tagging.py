"""Tagging from its files to predictions, in every method and measure, beside classification and regression."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adaptershare_cli.measures import MEASURES
from adaptershare_cli.methods import METHODS
from adaptershare_cli.store.workspace import Workspace
from tests.cli.conftest import LABELS, add_task, call, good, hashed, interrupt_at, made, only, refused
from tests.conftest import WORDS
from tests.methods import method_arguments
from tests.served import assert_answers_as_scored, load

TAGS = ["O", "B-x", "I-x", "B-y", "I-y"]
MIXED = "first,score,tags,others"
# Inputs of 16 tokens are less than the longer sentences take.
QUICK = (
    "--max-steps", "16", "--per-device-train-batch-size", "8", "--max-seq-length", "16", "--threads", "1",
    "--precision", "fp32", "--learning-rate", "0.01",
)  # fmt: skip
Sentence = tuple[list[str], list[str]]
FORMATS = ("conll", "lines", "jsonl", "texts", "parquet", "csv", "tsv")


def sentences(count: int, seed: str, longest: int = 30) -> list[Sentence]:
    """Random words whose labels depend on them."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        words = [draw.choice(WORDS) for _ in range(draw.randint(1, longest))]
        found.append((words, [TAGS[len(word) % 5] for word in words]))
    return found


def write(file: Path, form: str, rows: list[Sentence]) -> None:
    """One split in one of the formats."""
    file.parent.mkdir(parents=True, exist_ok=True)
    texts = [(" ".join(words), " ".join(labels)) for words, labels in rows]
    if form == "conll":
        parts = ["".join(f"{word}\tx\t{label}\n" for word, label in zip(*row, strict=True)) for row in rows]
        file.write_text("-DOCSTART- -X- O\n\n" + "\n".join(parts))
    elif form == "lines":
        file.mkdir()
        for number, name in enumerate(("text", "label")):
            (file / name).write_text("".join(row[number] + "\n" for row in texts))
    elif form == "parquet":
        columns = {"text": [words for words, _ in rows], "label": [labels for _, labels in rows]}
        pq.write_table(pa.table(columns), file)
    elif form in ("csv", "tsv"):
        sign = "," if form == "csv" else "\t"
        file.write_text(f"text{sign}label\n" + "".join(f"{text}{sign}{label}\n" for text, label in texts))
    else:
        values = rows if form == "jsonl" else texts
        file.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in values))


def definition(form: str, name: str = "tags", **changes: Any) -> str:
    """What the YAML file of the task says (JSON is YAML)."""
    files: dict[str, Any] = {"reader": {"texts": "jsonl"}.get(form, form)}
    files["splits"] = {split: f"{name}/{split}" for split in ("train", "dev")}
    if form == "conll":
        files["columns"] = {"text": "0", "label": "2"}
    content = {"kind": "tagging", "labels": TAGS, "metrics": ["span_f1", "accuracy"], "report_on": ["dev"]}
    return json.dumps({**content, "files": files, **changes})


def add_tags(root: Path, name: str, form: str, rows: dict[str, list[Sentence]], **changes: Any) -> None:
    """A tagging task beside those of `add_task`."""
    (root / "tasks").mkdir(parents=True, exist_ok=True)
    (root / "tasks" / f"{name}.yaml").write_text(definition(form, name, **changes))
    for split, found in rows.items():
        write(root / "data" / name / split, form, found)


DEV = sentences(14, "dev")
NEW = (["the", "film", "was", "awful"], ["B-x", "I-x", "B-new", "O"])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classification, a regression and two taggings; tests read it only."""
    root = tmp_path_factory.mktemp("mixed")
    for name in ("first", "score"):
        add_task(root, name, LABELS[name], 40)
    add_tags(root, "tags", "jsonl", {"train": sentences(40, "train"), "dev": DEV})
    rows = {"train": sentences(40, "others"), "dev": [*sentences(9, "dev 2"), NEW]}
    add_tags(root, "others", "conll", rows, labels="from-train", metrics=["accuracy", "macro_f1", "span_f1"])
    return root


def arguments(root: Path, encoder: Path, workspace: Path, *more: Any, tasks: str = MIXED) -> tuple:
    """A quick train-share of the mixed tasks."""
    places = ("--task-dir", root / "tasks", "--from", root / "data", "--model", encoder, "-w", workspace)
    return ("train-share", "--tasks", tasks, *places, *QUICK, *more)


# Measures of runs of other methods, and those.
OTHERS = {
    "fusion": ("--method", "adapterfusion"),
    "task-embedding": ("--method", "hyperformer"),
    "mask-overlap": method_arguments("sparse-sharing"),
}
SPLITTING = ("--check-every", "5", "--guard", "none", "--max-interference", "-0.5", "--lookahead-every", "8")


@pytest.fixture(scope="module")
def trained(mixed: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with an adaptershare run of the mixed tasks; tests read it only."""
    workspace = tmp_path_factory.mktemp("mixed-runs") / "w"
    good(*arguments(mixed, encoder, workspace, *SPLITTING))
    return workspace


# ---- formats ----


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("labels", ["listed", "from-train"])
def test_every_format_gives_the_same_rows(form: str, labels: str, tmp_path: Path) -> None:
    rows = {"train": sentences(30, "a"), "dev": sentences(8, "b")}
    changes = {} if labels == "listed" else {"labels": "from-train"}
    add_tags(tmp_path, "tags", form, rows, **changes)
    good("download", "-t", "tags", "--task-dir", tmp_path / "tasks", "--from", tmp_path / "data", "-w", tmp_path / "w")
    for split, expected in rows.items():
        table = pq.read_table(only(tmp_path / "w", f"download/tags-*/{split}.parquet"))
        assert table["row"].to_pylist() == list(range(len(expected)))
        assert table["text"].to_pylist() == [words for words, _ in expected]
        assert table["label"].to_pylist() == [given for _, given in expected]
    info = json.loads(only(tmp_path / "w", "download/tags-*/artefact.json").read_text())["info"]
    assert info["labels"] == (TAGS if labels == "listed" else sorted(TAGS)) and info["unseen"] == {}


def test_the_five_lines_of_the_documentation(tmp_path: Path) -> None:
    """The definition of a tagging task that is shown there, on its data."""
    shown = (Path(__file__).parents[2] / "docs" / "definitions.md").read_text(encoding="utf-8")
    text = next(block for block in shown.split("```yaml\n")[1:] if block.startswith("kind: tagging")).split("```")[0]
    assert len(text.splitlines()) == 5
    (tmp_path / "names.yaml").write_text(text)
    for split, rows in (("train", sentences(20, "a")), ("dev", sentences(5, "b"))):
        lines = [json.dumps({"tokens": words, "ner_tags": labels}) + "\n" for words, labels in rows]
        (tmp_path / f"names-{split}.jsonl").write_text("".join(lines))
    good("download", "-t", "names", "--task-dir", tmp_path, "-w", tmp_path / "w")
    table = pq.read_table(only(tmp_path / "w", "download/names-*/train.parquet"))
    assert table["text"].to_pylist() == [words for words, _ in sentences(20, "a")]


def test_numbers_stand_for_labels_with_a_label_map(tmp_path: Path) -> None:
    rows = {"train": sentences(20, "a"), "dev": sentences(5, "b")}
    numbered = {
        s: [(words, [str(TAGS.index(label)) for label in given]) for words, given in f] for s, f in rows.items()
    }
    add_tags(tmp_path, "tags", "jsonl", numbered)
    path = tmp_path / "tasks" / "tags.yaml"
    content = json.loads(path.read_text())
    content["files"]["label_map"] = {str(number): label for number, label in enumerate(TAGS)}
    path.write_text(json.dumps(content))
    for split in rows:  # as whole numbers, as data sets of the hub have them
        file = tmp_path / "data" / "tags" / split
        items = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps({**i, "label": list(map(int, i["label"]))}) + "\n" for i in items))
    good("download", "-t", "tags", "--task-dir", tmp_path / "tasks", "--from", tmp_path / "data", "-w", tmp_path / "w")
    table = pq.read_table(only(tmp_path / "w", "download/tags-*/train.parquet"))
    assert table["label"].to_pylist() == [labels for _, labels in rows["train"]]


# ---- labels ----


def test_a_label_that_train_never_has_is_told_and_counts_as_wrong(trained: Path) -> None:
    download = json.loads(only(trained, "download/others-*/artefact.json").read_text())["info"]
    assert download["unseen"] == {"dev": {"B-new": 1}}
    said = "words of dev with labels that train never has, which count as wrong: 1 (B-new)"
    assert said in download["summary"]
    assert "B-new" not in download["labels"]
    words = pd.read_parquet(only(trained, "train-share/*/word_predictions.parquet")).query("task == 'others'")
    (row,) = words[words["label"] == "B-new"].to_dict("records")
    assert row["prediction"] in TAGS and row["word"] == "was" and len(row["logits"]) == 5
    scores = pd.read_parquet(only(trained, "train-share/*/metrics.parquet")).query("final and task == 'others'")
    accuracy = scores.query("metric == 'accuracy' and split == 'dev'")["value"].item()
    assert accuracy == pytest.approx((words["label"] == words["prediction"]).mean())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": ["NN", "VB", *TAGS]}, "the metric `span_f1` needs labels of spans"),
        ({"metrics": ["f1"]}, "`metrics` cannot be `f1`"),
        ({"metrics": ["pearson"]}, "`metrics` cannot be `pearson`"),
        ({"labels": ["O"]}, "needs at least two labels"),
        ({"range": [0, 5]}, "`range` belongs to a regression"),
        ({"files": {"reader": "clinc", "splits": {"train": "a", "dev": "a"}}}, "cannot be `clinc`"),
        ({"files": {"reader": "conll", "splits": {"train": "a", "dev": "a"}}}, "`files.columns.text` is missing"),
        (
            {"files": {"reader": "jsonl", "splits": {"train": "a", "dev": "a"}, "columns": {"text_pair": "b"}}},
            "unknown key `files.columns.text_pair`",
        ),
        ({"kind": "classification", "metrics": ["accuracy"]}, "`files.reader` cannot be `conll`"),
    ],
)
def test_definitions_that_cannot_be(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    (tmp_path / "tags.yaml").write_text(definition("conll", **changes))
    refused("download", "-t", "tags", "--task-dir", tmp_path, "-w", tmp_path / "w", says=(says,))


def test_labels_from_train_must_fit_the_metric(tmp_path: Path) -> None:
    tagged = [(["a", "b"], ["O", "NN"])] * 10
    no_span = ("is no label of a span", "row 1", "word 2")
    for train, dev, says in (
        (tagged, DEV, ("train", *no_span)),
        (sentences(10, "a"), tagged, ("dev", *no_span)),
        ([(["a"], ["O"])] * 10, DEV, ("one label only, 'O'",)),
    ):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        add_tags(tmp_path, "tags", "jsonl", {"train": train, "dev": dev}, labels="from-train")
        command = ("download", "-t", "tags", "--task-dir", tmp_path / "tasks", "--from", tmp_path / "data")
        refused(*command, "-w", tmp_path / "w", says=says)
    shutil.rmtree(tmp_path / "data")
    add_tags(tmp_path, "tags", "jsonl", {"train": [*sentences(20, "a"), *tagged[:2]], "dev": DEV}, labels="from-train")
    good(*command, "-w", tmp_path / "w", "--max-rejected", 2)
    rejected = pq.read_table(only(tmp_path / "w", "download/tags-*/rejected.parquet"))
    assert rejected["value"].to_pylist() == ["NN", "NN"]
    alike = [*sentences(10, "a"), (["a"], ["b-x"])]
    shutil.rmtree(tmp_path / "data")
    add_tags(tmp_path, "tags", "jsonl", {"train": sentences(10, "a"), "dev": alike}, labels="from-train")
    refused(*command, "-w", tmp_path / "w", says=("dev", "row 11", "`B-x` in all but case"))


# ---- runs ----


def test_no_word_is_lost(trained: Path) -> None:
    """Of sentences that are longer than an input too, every word is predicted, in its order."""
    info = json.loads(only(trained, "prepro/tags-*/artefact.json").read_text())["info"]
    assert info["counts"]["dev_windowed"] == sum(len(words) > 14 for words, _ in DEV) > 2  # two tokens are special
    assert info["counts"]["dev_truncated"] == 0
    assert "sentences longer than an input" in info["summary"]
    words = pd.read_parquet(only(trained, "train-share/*/word_predictions.parquet")).query("task == 'tags'")
    for row, (expected, labels) in enumerate(DEV):
        found = words[words["row"] == row]
        assert found["word"].tolist() == expected and found["label"].tolist() == labels
        assert found["place"].tolist() == list(range(len(expected)))
    rows = pd.read_parquet(only(trained, "train-share/*/metrics.parquet")).query("task == 'tags' and split == 'dev'")
    assert set(rows["rows"]) == {14}  # sentences
    predictions = pd.read_parquet(only(trained, "train-share/*/predictions.parquet"))
    assert set(predictions["task"]) == {"first", "score"}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_mixed_tasks(
    method: str, mixed: Path, encoder: Path, trained: Path, tmp_path: Path
) -> None:
    workspace = Path(shutil.copytree(trained, tmp_path / "w"))
    output = good(*arguments(mixed, encoder, workspace, *method_arguments(method))).output
    run = workspace / next(label for label in made(output) if label.startswith("train-share"))
    metrics = pd.read_parquet(run / "metrics.parquet").query("final and split == 'dev'")
    assert set(metrics["task"]) == set(MIXED.split(","))
    assert metrics.query("metric == 'accuracy'")["value"].between(0, 1).all()
    for task in MIXED.split(","):
        head = json.loads((run / "tasks" / task / "head.json").read_text())
        assert head["pooling"] == ("first-subword" if task in ("tags", "others") else "mean")
    assert len(pd.read_parquet(run / "word_predictions.parquet").query("task == 'tags'")) == sum(
        len(words) for words, _ in DEV
    )
    assert_answers_as_scored(workspace, run, encoder)


def test_every_measure_takes_mixed_tasks(mixed: Path, encoder: Path, tmp_path: Path) -> None:
    tasks = ("first", "score", "tags")
    for options in (("--method", "shared", "--lookahead-every", "8", "--check-every", "5"), *OTHERS.values()):
        good(*arguments(mixed, encoder, tmp_path, *options, tasks=",".join(tasks)))
    of_shared = [name for name in MEASURES if name not in OTHERS]
    command = ("correlate", "-w", tmp_path)
    steps = ("--target-steps", "3", "--samples", "12")
    good(*command, "--run", "shared", "--measure", ",".join(of_shared), "--model", encoder, *steps)
    for name, (_, run, *_) in OTHERS.items():
        good(*command, "--run", run, "--measure", name)
    made_now = {artefact.name: artefact for artefact in Workspace(tmp_path).artefacts("correlate")}
    for name in MEASURES:
        table = made_now[name].table("correlation.parquet").to_pandas()
        answer = table[(table["layer"] == -1) & table["seed"].isna()].set_index(["source", "target"])["value"]
        pairs = [(source, target) for source in tasks for target in tasks if source != target]
        assert sorted(answer.index) == sorted(pairs), name
        known = answer.dropna()
        assert len(known) == 6, (name, answer)
        # Of `shared`, all is shared; and no task has pairs of texts.
        assert known.nunique() > 1 or name in ("plan", "text-pairs"), name
    good("report", "-w", tmp_path)
    results = pd.read_parquet(tmp_path / "report" / "results.parquet")
    assert set(results.query("task == 'tags'")["metric"]) == {"span_f1", "accuracy"}


def test_an_interrupted_run_ends_with_the_same_bytes(
    mixed: Path, encoder: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = arguments(mixed, encoder, tmp_path / "w", *SPLITTING, "--checkpoint-steps", "3")
    with monkeypatch.context() as patch:
        interrupt_at(9, patch)
        assert call(*command).exit_code == 130
    assert "goes on after update" in good(*command).output
    expected = {name: digest for name, digest in hashed(trained).items() if "artefact.json" not in name}
    assert {name: digest for name, digest in hashed(tmp_path / "w").items() if "artefact.json" not in name} == expected


def test_long_sentences_stay_whole_where_rows_are_left_out(mixed: Path, encoder: Path, tmp_path: Path) -> None:
    """A sentence that another task of the run is scored on is left out of train with all of its inputs."""
    root = Path(shutil.copytree(mixed, tmp_path / "project"))
    text, label = max(sentences(40, "train"), key=lambda row: len(row[0]))
    add_task(root, "second", ("a", "b"), 40)
    with (root / "data" / "set" / "second-dev.csv").open("a", encoding="utf-8") as file:
        file.write(f"{' '.join(text).upper()},a\n")
    assert len(label) > 20
    output = good(*arguments(root, encoder, tmp_path / "w", tasks="tags,second")).output
    found = [line for line in output.splitlines() if "rows dropped: they stand in a scored split of this run" in line]
    (line,) = [line for line in found if line.startswith("tags: ")]
    assert int(line.split()[1]) > 1


def test_a_head_of_words_starts_another_run(mixed: Path, encoder: Path, trained: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(trained, tmp_path / "w"))
    start = ("--from-run", "adaptershare", "--init", "tags", "--init-head")
    _, *again = arguments(mixed, encoder, workspace, *start, tasks="tags")
    good("train-single", *again)
    _, *other = arguments(mixed, encoder, workspace, *start, tasks="first")
    refused("train-single", *other, says=("does not fit task first",))


def test_what_is_beside_words_is_counted_and_odd_labels_are_told(tmp_path: Path) -> None:
    """Comments are left out, counted, shown and recorded; what looks like no label is told when it is read."""
    sentences = [f"# id {n} domain=en\nthe O\nriver{n} B-x\n" for n in range(8)]
    odd = [*sentences, "<doc> id=1\nsea B-x\n", "<doc> id=1\nlake O\n", "a X-once\n"]
    for split, blocks in (("train", odd), ("dev", sentences)):
        (tmp_path / split).write_text("-DOCSTART- O\n\n" + "\n".join(blocks))
    files = {"reader": "conll", "splits": {"train": "train", "dev": "dev"}, "columns": {"text": 0, "label": 1}}
    task = {"kind": "tagging", "labels": "from-train", "metrics": ["accuracy"], "report_on": ["dev"]}
    command = ("download", "-t", "odd", "--task-dir", tmp_path / "tasks", "--from", tmp_path, "-w", tmp_path / "w")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "odd.yaml").write_text(json.dumps({**task, "files": files}))
    refused(*command, says=("begin with a line such as `# id 0 domain=en`", '`comment: "# "`', "`comment: none`"))
    (tmp_path / "tasks" / "odd.yaml").write_text(json.dumps({**task, "files": {**files, "comment": "# "}}))
    text = good(*command).output
    assert "left out: 2 -DOCSTART- lines, 16 comment lines" in text
    assert "odd: labels of one word only: X-once" in text and "`id=1` (2 times) is only that of `<doc>`" in text
    info = json.loads((only(tmp_path / "w", "download/odd-*") / "artefact.json").read_text())["info"]
    assert info["left_out"] == dict.fromkeys(("train", "dev"), {"-DOCSTART- lines": 1, "comment lines": 8})
    assert len(info["suspicious"]) == 2 and info["labels"] == ["B-x", "O", "X-once", "id=1"]
    assert "id=1" not in good(*command).output  # it is there and was told


def test_a_graph_of_a_tagging_answers_for_every_token(trained: Path, encoder: Path, tmp_path: Path) -> None:
    from adaptershare_cli.model.onnx_graph import GRAPH, TOLERANCE, graph_usage, write_graph

    _, predictor = load(trained, "adaptershare", encoder)
    worst = write_graph(predictor.model, "tags", tmp_path / GRAPH)  # it runs the graph, and compares
    assert 0 <= worst <= TOLERANCE
    tokenizer = predictor.tokenizers[predictor.model.infos["tags"].kind]
    assert "word_ids" in graph_usage(predictor.model, "tags", tokenizer, 16, worst)
