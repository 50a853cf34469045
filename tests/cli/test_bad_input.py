"""Wrong input: one message that says what, where and what to do; exit code 2, no traceback, nothing half made."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Share, add_task, call, definition, good, made_by, refused, snapshot


@pytest.fixture
def places(own_project: Path, encoder: Path, tmp_path: Path) -> tuple[Any, ...]:
    """Options of a project that the test may spoil."""
    return ("--task-dir", own_project / "tasks", "--from", own_project / "data", "-w", tmp_path / "w")


# ---- which tasks ----


def test_unknown_task(places: tuple, tmp_path: Path) -> None:
    for command in ("download", "prepro", "train-single", "train-share"):
        refused(command, "-t", "frist,second", *places, says=("unknown task `frist`", "--tasks", "`first`"))
    assert not (tmp_path / "w").exists()


def test_unknown_suite_and_glob(places: tuple, tmp_path: Path) -> None:
    refused("download", "-t", "gleu", *places, says=("unknown task `gleu`", "Did you mean `glue`", "Suites:"))
    refused("download", "-t", "zzz*", *places, says=("no task's name matches `zzz*`", "Suites:"))
    assert not (tmp_path / "w").exists()


def test_no_tasks(places: tuple, tmp_path: Path) -> None:
    for command in ("download", "prepro", "train-single", "train-share"):
        for more in ((), ("--tasks", ""), ("--tasks", "  ")):
            refused(command, *places, *more, says=("No tasks", "--tasks"))
    refused("download", *places, "--tasks", ",", says=("no task", "--tasks"))
    assert not (tmp_path / "w").exists()


def test_one_task_for_train_share(share: Share, tmp_path: Path) -> None:
    for tasks in ("first", "first,first", "firs?"):
        refused(*share(tmp_path / "w", tasks=tasks), says=("at least two tasks", "first", "train-single"))
    assert not (tmp_path / "w").exists()


def test_task_folder(places: tuple, tmp_path: Path) -> None:
    refused("download", "-t", "first", "--task-dir", tmp_path / "nowhere", "-w", tmp_path / "w",
            says=("not a folder", "--task-dir"))  # fmt: skip
    (tmp_path / "empty").mkdir()
    refused("download", "-t", "first", "--task-dir", tmp_path / "empty", "-w", tmp_path / "w", says=("no task defin",))
    refused("download", "-t", "first", *places, "--from", tmp_path / "nowhere", says=("not a folder", "--from"))


def test_task_file_with_a_space(places: tuple, own_project: Path) -> None:
    (own_project / "tasks" / "first.yaml").rename(own_project / "tasks" / "my first.yaml")
    refused("download", "-t", "my*", *places, says=("`my first` cannot be a task's name", "my first.yaml", "Rename"))
    assert "made" in good("download", "-t", "second", *places).stdout


# ---- definitions and data ----


def test_wrong_column(places: tuple, own_project: Path, tmp_path: Path) -> None:
    files = definition("first", ("bad", "good"))["files"]
    add_task(own_project, "first", ("bad", "good"), files={**files, "columns": {"text": "sentence"}})
    refused("download", "-t", "first", *places, says=("sentence", "first-train.csv", "text", "label"))
    assert not made_by(tmp_path / "w", "download")


def test_unknown_key(places: tuple, own_project: Path) -> None:
    add_task(own_project, "first", ("bad", "good"), metric=["accuracy"])
    refused("download", "-t", "first", *places, says=("unknown key `metric`", "first.yaml", "`metrics`"))
    refused(
        "download", "-t", "tasks", *places, says=("unknown key `metric`", "name the other tasks instead of `tasks`")
    )
    assert "made" in good("download", "-t", "second", *places).stdout


def test_label_outside_the_list(places: tuple, own_project: Path, tmp_path: Path) -> None:
    file = own_project / "data" / "set" / "first-train.csv"
    lines = file.read_text().splitlines()
    lines[3] = "a fine film,godo"
    file.write_text("\n".join(lines) + "\n")
    refused("download", "-t", "first", *places,
            says=("first-train.csv", "row 4", "column label", "'godo'", "bad, good", "--max-rejected 1"))  # fmt: skip
    assert not made_by(tmp_path / "w", "download")
    assert "1 rows rejected" in good("download", "-t", "first", *places, "--max-rejected", "1").stdout


def test_number_outside_the_range(places: tuple, own_project: Path) -> None:
    file = own_project / "data" / "set" / "score-dev.csv"
    file.write_text(file.read_text() + "a film,7.5\n")
    refused("download", "-t", "score", *places, says=("score-dev.csv", "row 14", "'7.5'", "outside the range 0 to 5"))


@pytest.mark.parametrize("content", ["", "text,label\n"])
def test_empty_file(content: str, places: tuple, own_project: Path, tmp_path: Path) -> None:
    for split in ("train", "dev"):
        file = own_project / "data" / "set" / f"first-{split}.csv"
        before = file.read_text()
        file.write_text(content)
        refused("download", "-t", "first", *places, says=(f"first-{split}.csv",))
        file.write_text(before)
    assert not made_by(tmp_path / "w", "download")


def test_too_few_rows(places: tuple, own_project: Path, encoder: Path, tmp_path: Path) -> None:
    add_task(own_project, "first", ("bad", "good"), rows=4)
    refused("prepro", "-t", "first", *places, "--model", encoder, "--max-seq-length", "64", says=("first", "4 rows"))
    assert not made_by(tmp_path / "w", "prepro")


def test_rows_without_tokens(encoder: Path, own_project: Path, tmp_path: Path) -> None:
    data = own_project / "data" / "set" / "first-train.csv"
    data.write_text(data.read_text() + "\ufffd,good\n")
    folder = tmp_path / "encoder"
    folder.mkdir()
    for file in encoder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    places = ("--task-dir", own_project / "tasks", "--from", own_project / "data", "-w", tmp_path / "w")
    command = ("prepro", "-t", "first", "--max-seq-length", "64", "--model", folder, *places)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Lowercase"}, {"type": "Replace", "pattern": {"String": "\ufffd"}, "content": ""}]}  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "1 without a token of their own" in good(*command).stdout
    tokenizer["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused(*command, says=("Task first: the tokenizer makes no token", "row 60", "the split train", "special tokens"))


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["a", "b"] * 20, ("40 rows, 0 of them leaks", "2 different texts", "give more different texts")),
        (["a", "b"], ("2 rows, 0 of them leaks", "2 different texts", "at least five rows")),
        (["dev"] * 40, ("40 rows, 40 of them leaks", "0 different texts", "do not stand in a scored split")),
    ],
)
def test_too_few_train_rows(
    texts: list[str], says: tuple[str, ...], own_project: Path, encoder: Path, tmp_path: Path
) -> None:
    add_task(own_project, "first", ("bad", "good"))
    train, dev = (own_project / "data" / "set" / f"first-{split}.csv" for split in ("train", "dev"))
    train.write_text("text,label\n" + "".join(f"{text},good\n" for text in texts))
    dev.write_text("text,label\ndev,bad\n")
    places = ("--task-dir", own_project / "tasks", "--from", own_project / "data", "-w", tmp_path / "w")
    refused("prepro", "-t", "first", *places, "--model", encoder, "--max-seq-length", "64",
            says=("Task first has too few train rows", *says))  # fmt: skip
    assert not list((tmp_path / "w").glob("prepro/*"))


def test_missing_file(places: tuple, own_project: Path, tmp_path: Path) -> None:
    file = own_project / "data" / "set" / "first-dev.csv"
    file.unlink()
    refused("train-share", "-t", "first,second", *places, says=("set/first-dev.csv", str(file), "--from"))
    assert not made_by(tmp_path / "w", "download")


def test_not_utf8(places: tuple, own_project: Path, tmp_path: Path) -> None:
    file = own_project / "data" / "set" / "first-dev.csv"
    file.write_bytes(file.read_bytes() + "ein schöner film,good\n".encode("latin-1"))
    refused("download", "-t", "first", *places, says=("first-dev.csv", "14"))
    assert not made_by(tmp_path / "w", "download")


def test_one_bad_task_leaves_the_good_ones(places: tuple, own_project: Path, tmp_path: Path) -> None:
    (own_project / "data" / "set" / "score-train.csv").write_text("text,label\nx,y\n")
    refused("download", "-t", "first,second,score", *places, says=("score-train.csv", "'y' is not a number"))
    assert sorted(path.name.split("-")[0] for path in made_by(tmp_path / "w", "download")) == ["first", "second"]


# ---- the workspace ----


def test_workspace_is_a_file(share: Share, tmp_path: Path) -> None:
    file = tmp_path / "w"
    file.write_text("mine")
    for path in (file, file / "below"):
        refused(*share(path), says=("file", str(path), "--workspace"))
        refused("correlate", "-w", path, says=("file", str(path)))
    assert file.read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a /proc, which nobody can write")
def test_workspace_cannot_be_made(share: Share) -> None:
    refused(
        *share(Path("/proc/self/adaptershare/w")), says=("workspace cannot be written", "/proc/self", "--workspace")
    )


def test_workspace_without_permission(share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "w"
    root.mkdir(mode=0o555)
    if os.geteuid() == 0:  # root may write anywhere: only the answer of the system is played
        access = os.access
        monkeypatch.setattr(
            os, "access", lambda path, mode: not (path == root and mode & os.W_OK) and access(path, mode)
        )
    for path in (root, root / "below" / "deeper"):
        refused(*share(path), says=("workspace cannot be written", "Permission denied", str(path)))
    refused("report", "-w", root / "below", says=("Permission denied",))
    assert not list(root.iterdir())


# ---- options ----


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--method", "nonsense"), ("--method", "nonsense", "adaptershare", "shared", "private")),
        (("--precision", "fp7"), ("--precision", "fp7", "bf16", "fp32")),
        (("--guard", "maybe"), ("--guard", "agreement", "none")),
        (("--pooling", "max"), ("--pooling", "mean", "cls")),
        (("--method", "shared", "--max-growth", "2"), ("--method shared", "--max-growth", "adaptershare")),
        (("--method", "private", "--guard", "none"), ("--method private", "--guard", "adaptershare")),
        (("--learning-rate", "-1"), ("--learning-rate", "between 0 and", "-1")),
        (("--learning-rate", "nan"), ("--learning-rate", "nan")),
        (("--learning-rate", "fast"), ("--learning-rate", "number")),
        (("--warmup-ratio", "1.5"), ("--warmup-ratio", "between 0 and 1")),
        (("--max-steps", "0"), ("--max-steps", "at least 1")),
        (("--max-steps", "1.5"), ("--max-steps", "integer")),
        (("--max-seq-length", "4"), ("--max-seq-length", "between 8 and 8192")),
        (("--max-interference", "3"), ("--max-interference", "between -1 and 1")),
        (("--max-growth", "0.5"), ("--max-growth", "at least 1")),
        (("--checkpoint-steps", "0"), ("--checkpoint-steps", "at least 1")),
        (("--threads", "0"), ("--threads", "at least 1")),
        (("--max-rejected", "-1"), ("--max-rejected", "at least 0")),
        (("--seed", "-1"), ("--seed",)),
        (("--seeds", "1,x"), ("--seeds", "1,x")),
        (("--seeds", "1,,2"), ("--seeds", "1,,2")),
        (("--seeds", "-1"), ("--seeds", "-1")),
        (("--seeds", ""), ("--seeds",)),
    ],
)
def test_wrong_values(arguments: tuple[str, ...], says: tuple[str, ...], share: Share, tmp_path: Path) -> None:
    refused(*share(tmp_path / "w", *arguments), says=says)
    assert not (tmp_path / "w").exists()


def test_no_cuda_device(share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused(*share(tmp_path / "w", "--device", "cuda"), says=("CUDA", "--device"))
    assert not made_by(tmp_path / "w", "train-share")


# ---- correlate and report ----


def test_nothing_to_correlate_or_report(tmp_path: Path) -> None:
    for command in ("correlate", "report"):
        refused(command, "-w", tmp_path / "w", says=("no run", str(tmp_path / "w"), "adaptershare train-share"))
    assert not (tmp_path / "w").exists()


def test_run_without_match(workspace: Path) -> None:
    before = snapshot(workspace)
    for command in ("correlate", "report"):
        for word in ("nonsense", "train-share/x*", "/nowhere"):
            refused(command, "--run", word, "-w", workspace, says=("--run", repr(word), "adaptershare-"))
        refused(command, "--run", " , ", "-w", workspace, says=("--run",))
    assert snapshot(workspace) == before


def test_unknown_measure(workspace: Path) -> None:
    before = snapshot(workspace)
    refused("correlate", "--measure", "gradiant", "-w", workspace, says=("'gradiant'", "--measure", "mean gradient"))
    refused(
        "correlate",
        "--measure",
        "plan,nonsense",
        "-w",
        workspace,
        says=("'nonsense'", "gradient, gradient-directed, gradts"),
    )
    refused("correlate", "--measure", ",", "-w", workspace, says=("--measure",))
    refused("correlate", "--permutations", "0", "-w", workspace, says=("--permutations", "at least 1"))
    assert snapshot(workspace) == before


def test_runs_that_cannot_be_related(share: Share, workspace: Path) -> None:
    good(*share(workspace, "--max-steps", "2", tasks="first,second"))
    refused("correlate", "--run", "adaptershare-*", "-w", workspace, says=("different tasks", "first, second, score"))
    good(*share(workspace, "--max-steps", "2", "--method", "private", "--no-observe"))
    refused("correlate", "-w", workspace, says=("no checks", "train-share/private-", "--check-every"))
    shared = ("train-share/private-", "no adapter in every layer that all tasks share", "--method shared")
    refused("correlate", "--measure", "grad-tag", "-w", workspace, says=shared)
    arguments = [part for part in share(workspace, "--max-steps", "2", tasks="first") if part != "train-share"]
    good("train-single", *arguments)
    refused("correlate", "--run", "first", "-w", workspace, says=("one task", "--run"))


# ---- what the workspace itself says ----


def test_spoilt_memory_and_artefact_files(share: Share, workspace: Path) -> None:
    memory = workspace / "sources.json"
    before = memory.read_text()
    memory.write_text("{")
    refused(*share(workspace), says=("sources.json", str(workspace)))
    memory.write_text(before)
    file = next(workspace.glob("train-share/*/artefact.json"))
    file.write_text(file.read_text()[:100])
    refused("correlate", "-w", workspace, says=("artefact.json", str(file.parent), "Delete the folder, then run: "))
    file.write_text("{}")
    refused("report", "-w", workspace, says=("artefact.json", "another format"))


def test_a_missing_file_of_an_artefact(share: Share, workspace: Path) -> None:
    file = next(workspace.glob("prepro/first-*/select.parquet"))
    file.unlink()
    refused(*share(workspace), says=("select.parquet is missing", str(file.parent)))
    result = call("prepro", "-t", "first", *share(workspace)[3:9], "--max-seq-length", "64", "-w", workspace, "--force")
    assert result.exit_code == 0, result.output
    assert file.is_file()


def test_weights_that_do_not_fit_the_config(share: Share, encoder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(encoder, tmp_path / "renamed"))
    tensors = load_file(folder / "model.safetensors")
    save_file({f"x.{name}": tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    refused(*share(tmp_path / "w", "--model", folder), says=("do not fit its config", "are missing", "--model"))
    deeper = Path(shutil.copytree(encoder, tmp_path / "deeper"))
    config = json.loads((deeper / "config.json").read_text())
    (deeper / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    refused(*share(tmp_path / "w", "--model", deeper), says=("do not fit its config", "layer.2"))
    (deeper / "config.json").write_text("[]")
    refused(*share(tmp_path / "w", "--model", deeper), says=("config.json is not an encoder's",))
    damaged = Path(shutil.copytree(encoder, tmp_path / "damaged"))
    weights = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(weights[:-10])
    refused(*share(tmp_path / "w", "--model", damaged), says=("cannot be loaded", "--model"))
    (damaged / "model.safetensors").write_bytes(b"nonsense")
    refused(*share(tmp_path / "w", "--model", damaged), says=("no safetensors file", str(damaged)))


def test_the_config_counts_in_the_key(share: Share, encoder: Path, tmp_path: Path) -> None:
    good(*share(tmp_path / "w", "--method", "shared"))
    shallow = Path(shutil.copytree(encoder, tmp_path / "shallow"))
    config = json.loads((shallow / "config.json").read_text())
    (shallow / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    assert "Nothing to do" not in good(*share(tmp_path / "w", "--method", "shared", "--model", shallow)).stdout
    (shallow / "config.json").write_text(json.dumps({**config, "transformers_version": "0"}))
    assert "Nothing to do" in good(*share(tmp_path / "w", "--method", "shared", "--model", shallow)).stdout


def test_a_positive_label_that_is_none(own_project: Path, places: tuple) -> None:
    for labels in (["a", "b", "c"], "from-train"):
        content = {**definition("second", ("a", "b", "c"), metrics=["f1"], positive="A"), "labels": labels}
        (own_project / "tasks" / "second.yaml").write_text(json.dumps(content))
        says = ("`positive` cannot be `A`", "second.yaml", "Did you mean `a`?", "a, b, c")
        refused("download", "-t", "second", *places, says=says)


def test_outputs_that_are_not_finite(share: Share, tmp_path: Path) -> None:
    much = ("--method", "shared", "--max-steps", "1", "--warmup-ratio", "0", "--learning-rate", "1e20")
    result = call(*share(tmp_path / "w", *much))
    assert result.exit_code == 1
    assert "outputs are not finite" in result.stderr and "Traceback" not in result.stderr
    assert not list((tmp_path / "w" / "train-share").glob("[!.]*"))
    refused(*share(tmp_path / "w", "--learning-rate", "1e38"), says=("--learning-rate must be between",))


def test_huge_seeds(share: Share, tmp_path: Path) -> None:
    refused(*share(tmp_path / "w", "--seed", str(2**70)), says=("--seed",))
    refused(*share(tmp_path / "w", "--seeds", f"0,{2**70}"), says=("--seeds must lie between",))


def test_a_file_in_the_place_of_a_stage(share: Share, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "download").write_text("")
    result = call(*share(tmp_path / "w"))
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.stderr and "download" in result.stderr
