"""Task definitions: what parses, what is refused and how, selection, and what a fingerprint depends on."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.data import tasks
from adaptershare_cli.data.definition import parse_definition
from adaptershare_cli.data.tasks import load_tasks
from adaptershare_cli.errors import UserError

BASE: dict[str, Any] = {
    "kind": "classification",
    "labels": ["no", "yes"],
    "metrics": ["accuracy"],
    "report_on": ["dev"],
    "files": {"reader": "csv", "splits": {"train": "train.csv", "dev": "dev.csv"}},
}


def write(folder: Path, name: str = "mine", **changes: Any) -> Path:
    """A definition as JSON, which is YAML too; a change to None takes the key out."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


@pytest.fixture
def builtin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Built-in suites `alpha` (rte, rte-2, cola, alias linguistics) and `beta` (sst2, alias sst)."""
    folder = tmp_path / "builtin"
    for name in ("rte", "rte-2"):
        write(folder / "alpha", name)
    write(folder / "alpha", "cola", aliases=["linguistics"])
    write(folder / "beta", "sst2", aliases=["sst"])
    monkeypatch.setattr(tasks, "builtin_folder", lambda: folder)
    return folder


def names(spec: str, *folders: Path) -> list[str]:
    return [task.name for task in load_tasks(folders).select(spec)]


def refused(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        parse_definition(file)
    assert caught.value.where.startswith(str(file))
    assert caught.value.fix
    return str(caught.value)


# --- parsing


def test_five_lines_are_a_definition_and_keep_their_words(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "kind: classification\nlabels: [no, yes]  # YAML 1.1 would read false and true\nmetrics: [f1, accuracy]\n"
        "report_on: [dev]\nfiles: {reader: tsv, splits: {train: a.tsv, dev: b.tsv}, label_map: {0: no, 1: yes}}\n"
    )
    task = parse_definition(file, "suite")
    assert (task.name, task.suite, task.description, task.aliases) == ("mine", "suite", "", ())
    assert (task.labels, task.labels_from_train, task.range) == (("no", "yes"), False, None)
    assert task.metrics == ("f1", "accuracy") and task.positive == ""
    assert task.files is not None and task.hub is None and task.embedded is None
    assert dict(task.files.columns) == {"text": "text", "text_pair": "text_pair", "label": "label"}
    assert task.files.pair_if_present
    assert task.files.label_map == (("0", "no"), ("1", "yes"))
    assert (task.files.quoting, task.files.header) == ("none", True)
    assert hash(task) == hash(parse_definition(file, "suite"))


def test_quoting_depends_on_the_reader(tmp_path: Path) -> None:
    assert parse_definition(write(tmp_path)).files.quoting == "standard"  # type: ignore[union-attr]


def test_regression_and_hub(tmp_path: Path) -> None:
    hub = {"path": "some/where", "name": "stsb", "splits": {"train": "train", "dev": "validation"}}
    task = parse_definition(
        write(tmp_path, kind="regression", labels=None, range=[0, "5.0"], metrics=["pearson"], files=None, hub=hub)
    )
    assert task.range == (0.0, 5.0) and task.labels == ()
    assert task.hub is not None and (task.hub.path, task.hub.name, task.hub.revision) == ("some/where", "stsb", None)
    assert task.hub.split("dev").files == (("", "validation"),)  # type: ignore[union-attr]
    assert task.hub.split("test") is None


def test_lines_and_clinc_take_both_forms(tmp_path: Path) -> None:
    by_role = {"text": "t/seq.in", "label": "t/label"}
    task = parse_definition(
        write(tmp_path, files={"reader": "lines", "splits": {"train": by_role, "dev": {**by_role, "optional": True}}})
    )
    assert task.files.split("train").files == (("text", "t/seq.in"), ("label", "t/label"))  # type: ignore[union-attr]
    assert task.files.split("dev").optional  # type: ignore[union-attr]
    folders = {"reader": "lines", "splits": {"train": "t", "dev": "d"}, "columns": {"text": "seq.in"}}
    task = parse_definition(write(tmp_path, files=folders))
    assert task.files.split("train").files == (("text", "t/seq.in"), ("label", "t/label"))  # type: ignore[union-attr]
    clinc = {"reader": "clinc", "splits": {"train": "a.json", "dev": {"path": "a.json", "key": "val"}}}
    task = parse_definition(write(tmp_path, files=clinc))
    assert [split.key for split in task.files.splits] == ["val", "train"]  # type: ignore[union-attr]


def test_numbered_columns(tmp_path: Path) -> None:
    block = {**BASE["files"], "header": False, "columns": {"text": 3, "label": 1}}
    files = parse_definition(write(tmp_path, files=block)).files
    assert files is not None
    assert (files.columns, files.pair_if_present) == ((("text", 3), ("label", 1)), False)


def files_with(**changes: Any) -> dict[str, Any]:
    return {"files": {**BASE["files"], **changes}}


NO_HUB_IDS = [
    "pandas",
    "csv",
    "../a",
    "/a/b",
    "a/b/c",
    "./a",
    "C:\\a",
    "https://a/b",
    "a/..",
    "csv\n",
    "a b",
    "a//b",
    "-a/b",
    "ü/b",
]
OUTSIDE = [
    ("/etc/passwd", "not relative"),
    ("../a", "`..`"),
    ("a/../../b", "`..`"),
    ("..", "`..`"),
    ("C:/a", "not relative"),
    ("c:a", "not relative"),
    ("\\\\server\\a", "not relative"),
    ("a\\..\\b", "backslash"),
    ("a\0b", "U+0000"),
    ("a\nb", "U+000A"),
    ("a\x1b[2J", "U+001B"),
    ("a\u2028b", "U+2028"),
    ("a\u202etxt.csv", "U+202E"),
    ("a\u2215b", "U+2215"),
    ("\uff0fetc", "U+FF0F"),
    ("\uff0e\uff0e/a", "U+FF0E"),
    ("\u2025/a", "U+2025"),
    ("a\uff3cb", "U+FF3C"),
    ("NUL", "device on Windows"),
    ("data/con.csv", "device on Windows"),
    ("a./b", "Windows drops"),
    (".. /a", "Windows drops"),
    ("a" * 256, "255 bytes"),
]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lables": ["a"]}, ["unknown key `lables`", "`labels`"]),
        (files_with(colums={}), ["unknown key `files.colums`", "`columns`"]),
        (files_with(columns={"text": "label"}), ["`files.columns` names one column for two things"]),
        (files_with(columns={"text": "a", "text_pair": "a"}), ["`files.columns` names one column for two things"]),
        (files_with(header=False, columns={"text": 1, "label": "01"}), ["names one column for two things"]),
        (files_with(columns={"txt": "a"}), ["unknown key `files.columns.txt`", "`text`"]),
        ({"kind": "parsing"}, ["`kind` cannot be `parsing`", "classification, ordinal, regression, tagging"]),
        ({"kind": "clasification"}, ["Did you mean `classification`"]),
        ({"kind": None}, ["`kind` is missing"]),
        ({"metrics": ["acuracy"]}, ["`metrics` cannot be `acuracy`", "`accuracy`"]),
        ({"metrics": ["pearson"]}, ["`metrics` cannot be `pearson`"]),
        ({"metrics": ["f1"], "positive": "yess"}, ["`positive` cannot be `yess`", "`yes`", "no, yes"]),
        ({"metrics": ["f1"], "positive": ["yes"]}, ["`positive` must be one piece of text"]),
        (
            {"positive": "yes"},
            ["`positive` means nothing to accuracy", "add f1 or auroc or average_precision to metrics"],
        ),
        (
            {"kind": "regression", "labels": None, "range": [0, 5], "metrics": ["pearson"], "positive": "yes"},
            ["`positive` means nothing to pearson", "Take it out."],
        ),
        ({"metrics": []}, ["`metrics` must be a list"]),
        ({"metrics": "accuracy"}, ["`metrics` must be a list"]),
        ({"description": ["a"]}, ["`description` must be one piece of text"]),
        ({"labels": None}, ["`labels` is missing"]),
        ({"labels": "a"}, ["`labels` must be a list"]),
        ({"labels": ["a"]}, ["at least two"]),
        ({"labels": ["a", "b", "a"]}, ["twice"]),
        ({"labels": ["a", {"b": 1}]}, ["`labels` must be a list of texts"]),
        ({"range": [0, 5]}, ["`range` belongs to a regression"]),
        ({"report_on": ["train"]}, ["train"]),
        ({"report_on": ["dev", "test"]}, ["`test`, which no source has"]),
        ({"report_on": ["test"]}, ["none of the splits in report_on"]),
        ({"files": None}, ["no source"]),
        ({"files": "a.csv"}, ["`files` must be a mapping"]),
        (files_with(reader="cvs"), ["`files.reader` cannot be `cvs`", "`csv`"]),
        (files_with(reader="jsonl", header=False), ["`files.header` means nothing to the reader `jsonl`"]),
        (files_with(header="maybe"), ["`files.header` must be true or false"]),
        (files_with(quoting="some"), ["`files.quoting` cannot be `some`"]),
        (files_with(header=False), ["`files.columns.text` is missing", "number"]),
        (files_with(header=False, columns={"text": "a", "label": 1}), ["must be a column number"]),
        (files_with(splits={"dev": "d.csv"}), ["`files.splits.train` is missing"]),
        (files_with(splits={"train": "a", "dev": "b", "test": "c"}), ["`files.splits.test` would never be used"]),
        (files_with(splits={"train": "a", "dev": "b", "select": "c"}), ["`files.splits.select` cannot be"]),
        (files_with(splits={"train": "a", "dev": ["b", "b"]}), ["`files.splits.dev.path` names a file twice"]),
        (files_with(splits={"train": "a", "dev": {"path": "b", "optinal": True}}), ["`optional`"]),
        (files_with(splits={"train": {"path": "a", "optional": True}, "dev": "b"}), ["cannot be optional"]),
        *((files_with(splits={"train": path, "dev": "b"}), ["cannot be inside", told]) for path, told in OUTSIDE),
        (files_with(label_map={"0": "nay"}), ["`nay`", "Labels: no, yes"]),
        (files_with(label_map={" ": "no"}), ["`files.label_map` has an empty value"]),
        (files_with(label_map={"0": "no", "0 ": "yes"}), ["`files.label_map` has an empty value, or one twice"]),
        (files_with(splits={"train": "a", "dev": "b", "Rejected": "c"}), ["`files.splits.Rejected` cannot be"]),
        (files_with(splits={"train": "a", "aux": "b"}), ["device on Windows"]),
        (files_with(splits={"train": "a", "dev": "b", "Dev": "c"}), ["differ only in case"]),
        ({"labels": ["no", "a\tb"]}, ["a label that holds the control character U+0009"]),
        ({"labels": ["no", "\u200b"]}, ["a label that holds no visible character"]),
        ({"labels": ["no", "a" * 201]}, ["a label that is longer than 200 characters"]),
        ({"labels": ["no", " no"]}, ["`labels` names something twice"]),
        *(({"hub": {"path": path, "splits": BASE["files"]["splits"]}}, ["hub id"]) for path in NO_HUB_IDS),
        ({"hub": {"splits": {"train": "train", "dev": "dev"}}}, ["`hub.path` is missing"]),
        ({"kind": "regression", "labels": None, "metrics": ["pearson"]}, ["`range` is missing"]),
        ({"kind": "regression", "metrics": ["pearson"], "range": [0, 1]}, ["`labels` belongs to a classification"]),
        ({"kind": "regression", "labels": None, "metrics": ["pearson"], "range": [5, 0]}, ["lower one first"]),
        ({"kind": "regression", "labels": None, "metrics": ["pearson"], "range": [0, "nan"]}, ["two numbers"]),
        ({"kind": "regression", "labels": None, "metrics": ["pearson"], "range": [1, 2, 3]}, ["two numbers"]),
        ({"kind": "regression", "labels": None, "metrics": ["pearson"], "range": ["-1e308", "1e308"]}, ["two numbers"]),
    ],
)
def test_mistakes_name_file_and_key(tmp_path: Path, changes: dict[str, Any], told: list[str]) -> None:
    message = refused(write(tmp_path, **changes))
    for words in told:
        assert words in message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"kind: [", "not valid YAML"),
        (b"kind: classification\nkind: regression\n", "the key `kind` twice"),
        (b"- kind", "mapping of keys"),
        (b"", "mapping of keys"),
        (b"kind: \xff", "not UTF-8"),
        (b"kind: !!python/object/apply:os.system ['true']", "`kind` must be one piece of text"),
        (b"kind: !!python/name:os.system", "`kind` must be one piece of text"),
        (b"labels: &a [x, y]\nmetrics: *a", "an alias (*name) is not taken"),
        (
            b"a: &a [l, l]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (i + 1, i + 1, i, i) for i in range(97, 121)),
            "an alias",
        ),
        (b"kind: {<<: *x}", "an alias"),
        (b"labels: " + b"[" * 100_000, "too deeply nested"),
        (b"labels: " + b"{a: " * 100_000, "too deeply nested"),
        (b"- " * 400_000, "too deeply nested"),
        (b"# " + b"x" * 2**20, "larger than 1 MiB"),
        (b"---\nkind: a\n---\nkind: b\n", "not valid YAML"),
        (b"kind: \0", "not valid YAML"),
        (b"? [a]\n: b", "a key must be plain text"),
    ],
)
def test_what_is_no_yaml_mapping(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    assert told in refused(file)


def test_a_yaml_fault_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("kind: classification\nlabels: [a, b\nmetrics: [accuracy]\n")
    assert "line 3" in refused(file)


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "a,b",
        "-dash",
        ".hidden",
        "ü",
        "a*",
        "..",
        "a\nb",
        "a\x1b",
        "a\u202eb",
        "a\u2215b",
        "a\\b",
        "C:a",
        "con",
        "NUL.x",
        "com1",
        "a.",
        "a" * 101,
        "ａ",
        "a\u200b",
    ],
)
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    assert "cannot be a task's name" in refused(write(tmp_path, name))


# --- the registry


def test_select_keeps_the_written_order_and_drops_repeats(builtin: Path) -> None:
    assert names("sst2, rte,cola,rte") == ["sst2", "rte", "cola"]
    assert names("sst,alpha") == ["sst2", "cola", "rte", "rte-2"]
    assert names("rte-2,alpha,,") == ["rte-2", "cola", "rte"]


def test_select_is_exact_for_names_inside_other_names(builtin: Path) -> None:
    assert names("rte") == ["rte"]
    assert names("rte-2") == ["rte-2"]
    assert names("rte*") == ["rte", "rte-2"]
    assert names("?st2") == ["sst2"]
    assert names("linguistics,[rs]*") == ["cola", "rte", "rte-2", "sst2"]


@pytest.mark.parametrize("spec", ["", " ", ",", " , ,"])
def test_an_empty_selection(builtin: Path, spec: str) -> None:
    with pytest.raises(UserError, match="no task is selected"):
        names(spec)


def test_unknown_names_bring_near_ones_and_the_suites(builtin: Path) -> None:
    for written in ("cola,rtee", "RTE"):
        with pytest.raises(UserError) as caught:
            names(written)
        assert "`rte`" in caught.value.fix and "alpha (cola, rte, rte-2); beta (sst2)" in caught.value.fix
    with pytest.raises(UserError, match="no task's name matches `alpha/[*]`"):
        names("alpha/*")


def test_a_users_folder_adds_suites(builtin: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    write(folder, "mine")
    write(folder / "sub", "other")
    write(folder / "sub" / "deeper", "unseen")
    (folder / ".hidden.yaml").write_text("not: [yaml")
    registry = load_tasks([folder, folder])
    assert registry.suites == {"alpha": ["cola", "rte", "rte-2"], "beta": ["sst2"], "own": ["mine"], "sub": ["other"]}
    assert registry.tasks["mine"].folder == folder
    assert names("own,sub", folder) == ["mine", "other"]


def fault(spec: str, *folders: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        load_tasks(folders).select(spec)
    return caught.value


def test_two_definitions_of_one_name(builtin: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    first = write(own, "rte")
    write(own, "mine")
    error = fault("rte", own)
    assert str(first) in error.where and str(builtin / "alpha" / "rte.yaml") in error.where
    assert names("mine,cola", own) == ["mine", "cola"]
    write(tmp_path / "a", "new")
    write(tmp_path / "b", "New")  # one and the same folder of artefacts for some file systems
    assert "two definitions of the task `New`" in fault("New", tmp_path / "a", tmp_path / "b").what
    assert names("new", tmp_path / "a", tmp_path / "b") == ["new"]


@pytest.mark.parametrize("alias", ["rte", "sst"])
def test_an_alias_means_one_task(builtin: Path, tmp_path: Path, alias: str) -> None:
    write(tmp_path / "own", "mine", aliases=[alias])
    assert f"`{alias}` means two tasks" in fault("mine", tmp_path / "own").what
    if alias == "rte":
        assert names("rte", tmp_path / "own") == ["rte"]  # a task's name goes before another's alias
    else:
        assert "`sst` means two tasks, sst2 and mine" in fault("sst", tmp_path / "own").what
    assert names("sst2,cola", tmp_path / "own") == ["sst2", "cola"]


def test_an_alias_cannot_be_anything(builtin: Path, tmp_path: Path) -> None:
    write(tmp_path / "own", "mine", aliases=["../x"])
    assert "`../x` cannot be an alias" in fault("mine", tmp_path / "own").what
    assert names("alpha", tmp_path / "own") == ["cola", "rte", "rte-2"]


def test_a_faulty_definition_is_an_error_when_it_is_asked_for(builtin: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    write(own, "mine")
    bad = [write(own, "bad", kind="parsing"), own / "worse.yaml", write(own, "my first")]
    bad[1].write_bytes(b"kind: [\xff")
    assert names("mine,alpha", own) == ["mine", "cola", "rte", "rte-2"]
    assert names("m*e", own) == ["mine"]
    for name, file, told in zip(("bad", "worse", "my first"), bad, ("`parsing`", "UTF-8", "task's name"), strict=True):
        error = fault(f"mine,{name}", own)
        assert told in str(error) and str(file) in error.where
    for spec in ("own", "b*", "mine,*d"):
        error = fault(spec, own)
        assert "`parsing`" in error.what
        assert f"name the other tasks instead of `{spec.split(',')[-1]}`" in error.fix
    assert "own (bad (faulty), mine, my first (faulty), worse (faulty))" in fault("unknown", own).fix
    assert "Did you mean `worse`" in fault("wors", own).fix


@pytest.mark.parametrize(
    "spec", ["../*", "/etc/*", "a/b", "..", "C:\\x", "a\0b", "\u2215*", "[", "*" * 5000 + "x", "x" * 10**5]
)
def test_patterns_match_names_alone(builtin: Path, spec: str) -> None:
    assert fault(spec).where == "--tasks"


def test_links_in_a_task_folder(builtin: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    target = write(tmp_path / "elsewhere", "mine")
    (own / "linked.yaml").symlink_to(target)
    (own / "loop.yaml").symlink_to(own / "loop.yaml")
    (own / "gone.yaml").symlink_to(own / "nothing.yaml")
    registry = load_tasks([own, tmp_path / "elsewhere"])
    assert registry.select("elsewhere")[0].folder == tmp_path / "elsewhere"  # its data lie beside the file itself
    assert not registry.faults


def test_task_dirs_that_hold_nothing(builtin: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", Path("a\0b"), Path("x" * 5000)):
        with pytest.raises(UserError, match="is not a folder"):
            load_tasks([path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no task definition"):
        load_tasks([tmp_path / "empty"])


def test_every_task_that_comes_with_the_program_parses() -> None:
    registry = load_tasks()
    assert "mrpc" in registry.tasks
    prints = [task.fingerprint for task in registry.tasks.values()]
    assert len(set(prints)) == len(prints)


def test_importing_the_registry_is_light() -> None:
    heavy = "{'torch', 'datasets', 'pandas', 'pyarrow', 'numpy'}"
    code = f"import sys, adaptershare_cli.data.tasks; print(sorted({heavy} & set(sys.modules)))"
    root = Path(tasks.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


# --- fingerprints


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return value


@given(st.randoms(use_true_random=False), st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=9))
def test_fingerprint_knows_no_key_order_comment_or_place(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random, comment: str
) -> None:
    folder = tmp_path_factory.mktemp("one")
    block = {**BASE["files"], "columns": {"text": "a", "label": "b"}, "label_map": {"0": "no", "1": "yes"}}
    content = {**BASE, "files": block, "aliases": ["b", "a"]}
    first, second = folder / "mine.yaml", folder / comment / "mine.yml"
    second.parent.mkdir(exist_ok=True)
    first.write_text(json.dumps(content))
    second.write_text(f"# {comment}\n" + json.dumps(shuffled(content, chance), indent=1) + f"\n# {comment}\n")
    assert parse_definition(first, "x").fingerprint == parse_definition(second, "y").fingerprint


def test_fingerprint_sees_defaults_as_written_and_changes_as_changes(tmp_path: Path) -> None:
    base = parse_definition(write(tmp_path)).fingerprint
    assert len(base) == 64 and int(base, 16)
    assert parse_definition(write(tmp_path, **files_with(quoting="standard", header=True))).fingerprint == base
    others = [
        parse_definition(write(tmp_path, "other")),
        parse_definition(write(tmp_path, labels=["yes", "no"])),
        parse_definition(write(tmp_path, labels="from-train")),
        parse_definition(write(tmp_path, metrics=["accuracy", "f1"])),
        parse_definition(write(tmp_path, **files_with(quoting="none"))),
        parse_definition(write(tmp_path, files=None, embedded=BASE["files"])),
    ]
    prints = {base, *(task.fingerprint for task in others)}
    assert len(prints) == len(others) + 1


def test_fingerprint_sees_what_f1_is_of(tmp_path: Path) -> None:
    """Where it is the second of two labels, as it was before definitions could say it, keys stay what they were."""
    f1, labels = {"metrics": ["accuracy", "f1"]}, ["no", "yes"]
    former = "6adbfb7d9617b10044f0653e73478c82c75f32cea8f4e3ce45ed01eee6b9b89e"
    assert parse_definition(write(tmp_path, **f1, positive="yes")).fingerprint == former
    others = [
        parse_definition(write(tmp_path, **f1)),
        parse_definition(write(tmp_path, **f1, positive="no")),
        *(parse_definition(write(tmp_path, **f1, labels="from-train", positive=one)) for one in (None, *labels)),
    ]
    assert len({former, *(task.fingerprint for task in others)}) == len(others) + 1


def test_fingerprints_stay_what_they_were(tmp_path: Path) -> None:
    """A new kind of task, or a new field of a definition, leaves the artefacts of other tasks their keys."""
    known = {
        "classification": "892cf48c19310219410b02e07466c1d88ee06903ef6033c65c1b0242e0870111",
        "regression": "9e651f09275088ec7a2564625429a3b815304a5c47e04b3bf9210df4ba0bce23",
    }
    for kind, expected in known.items():
        file = tmp_path / "mine.yaml"
        values = (
            "labels: [a, b]\nmetrics: [accuracy]" if kind == "classification" else "range: [0, 5]\nmetrics: [pearson]"
        )
        file.write_text(
            f"kind: {kind}\n{values}\nreport_on: [dev]\nfiles: {{reader: csv, splits: {{train: t, dev: d}}}}\n"
        )
        assert parse_definition(file).fingerprint == expected
