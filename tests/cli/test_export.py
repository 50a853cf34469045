"""`export`: folders that load without this program and answer as the run did, and what their cards tell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

from tests.cli.conftest import TASKS, Share, good, only, refused, snapshot
from tests.served import load, scored_rows

# Nothing but the exported folder and the encoder: the card's own lines, with the folder's tokenizer.
SCRIPT = """
import json, re, sys
encoder, folder, rows = sys.argv[1:]
(code,) = re.findall(r"```python\\n(.*?)```", open(folder + "/README.md", encoding="utf-8").read(), re.DOTALL)
code = code.replace("AutoTokenizer.from_pretrained(ENCODER)", "AutoTokenizer.from_pretrained(FOLDER)")
names = {"ENCODER": encoder, "FOLDER": folder, "TEXTS": json.loads(rows)}
exec(code, names)
assert not [name for name in sys.modules if name.startswith("adaptershare")]
print(json.dumps(names["logits"].tolist()))
"""


def export(workspace: Path, encoder: Path, target: Path, *more: Any) -> tuple[Any, ...]:
    return ("export", "adaptershare", "-w", workspace, "--model", encoder, "--to", target, *more)


@pytest.fixture(scope="module")
def exported(trained: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tasks of the run; tests read it only."""
    target = tmp_path_factory.mktemp("exported") / "adapters"
    before = snapshot(trained)
    good(*export(trained, encoder, target))
    assert snapshot(trained) == before
    return target


def test_each_task_has_a_folder_that_is_whole(exported: Path, trained: Path, encoder: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == sorted(TASKS)
    assert [path.name for path in exported.parent.iterdir()] == ["adapters"]  # nothing is left beside it
    run = only(trained, "train-share/*")
    for task in TASKS:
        names = {path.name for path in (exported / task).iterdir()}
        assert {"adapter_config.json", "adapter.safetensors", "head.json", "head.safetensors", "README.md"} <= names
        assert {"tokenizer.json", "tokenizer_config.json", "config.json"} <= names
        for name in ("adapter.safetensors", "head.safetensors", "head.json"):
            assert (exported / task / name).read_bytes() == (run / "tasks" / task / name).read_bytes()


def test_the_card_tells_what_the_task_is_and_how_good(exported: Path, trained: Path, encoder: Path) -> None:
    run = only(trained, "train-share/*")
    info = json.loads((run / "artefact.json").read_text())["info"]
    for task in TASKS:
        card = ModelCard.load(exported / task / "README.md")
        data = card.data.to_dict()
        assert data["library_name"] == "adapters" and {"adapters", "adaptershare"} <= {*data["tags"]}
        assert "license" not in data and "Choose one" in card.text
        (result,) = {result.metric_type for result in card.data.eval_results}
        assert result == ("accuracy" if task != "score" else "pearson")
        for words in (run.name, info["encoder"]["weights"], "EMNLP 2022", "max_length=64", "Mean cosine"):
            assert words in card.text, words
        assert all(other in card.text for other in TASKS)
        assert str(encoder.parent) not in card.text and str(Path.home()) not in card.text
    (first,) = ModelCard.load(exported / "first" / "README.md").data.eval_results
    metrics = [row for row in _metrics(run) if (row["task"], row["split"], row["final"]) == ("first", "dev", True)]
    assert first.metric_value == pytest.approx(metrics[0]["value"], abs=1e-6)


def _metrics(run: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(run / "metrics.parquet").to_pylist()


def test_a_folder_answers_without_this_program_as_the_run_did(exported: Path, trained: Path, encoder: Path) -> None:
    _, predictor = load(trained, "adaptershare", encoder)
    rows = sorted(scored_rows(trained, "first"), key=lambda row: -len(row["text"].split()))[:4]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(encoder), str(exported / "first"), json.dumps([r["text"] for r in rows])],
        capture_output=True, text=True, cwd=exported,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.array(json.loads(done.stdout), np.float32)
    np.testing.assert_allclose(found, predictor.predict(["first"], rows)["first"].values, rtol=1e-5, atol=1e-6)


def test_one_task_is_the_folder_itself_and_seeds_stand_together(
    workspace: Path, share: Share, encoder: Path, tmp_path: Path
) -> None:
    good(*share(workspace, "--method", "shared", "--seeds", "0,1", "--max-steps", "3", tasks="first,score"))
    run = sorted(path.name for path in (workspace / "train-share").glob("shared-*"))[0]
    target = tmp_path / "out"
    target.mkdir()
    command = ("export", run, "-w", workspace, "--model", encoder, "--to", target, "--task", "score", "--json")
    said = json.loads(good(*command).stdout)
    assert said["folders"] == {"score": str(target)}
    card = ModelCard.load(target / "README.md")
    assert " ± " in card.text and "| 0, 1 |" in card.text and run in card.text
    assert "lie between 0.0 and 5.0" in card.text and "## Citation" not in card.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--task", "thrid"), "no task 'thrid'"),
        (("--to", "full"), "holds something already"),
        (("--to", "file"), "A file stands where"),
        (("--to", "file/below"), "The folder cannot be made"),
    ],
)
def test_what_is_refused(
    arguments: tuple[str, ...], says: str, trained: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    refused(*export(trained, encoder, tmp_path / "new", *arguments), says=(says,))
    assert snapshot(tmp_path) == before and not (tmp_path / "new").exists()
    refused("export", "-w", trained, says=("No folder is named",))
