"""`export --format onnx`: one graph a task that onnxruntime runs alone, and what it says where it cannot be made."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptershare_cli.errors import RunError
from adaptershare_cli.model import onnx_graph
from tests.cli.conftest import good, refused, snapshot
from tests.served import load, scored_rows

# Nothing but the folder, and no adapters: the card's own lines.
SCRIPT = """
import json, re, sys
folder, rows = sys.argv[1:]
(code,) = re.findall(r"```python\\n(.*?)```", open(folder + "/README.md", encoding="utf-8").read(), re.DOTALL)
names = {"FOLDER": folder, "TEXTS": json.loads(rows)}
exec(code, names)
assert not [name for name in sys.modules if name.partition(".")[0] in ("adapters", "adaptershare_cli")]
print(json.dumps(names["logits"].tolist()))
"""


def test_a_graph_answers_alone_as_the_run_did(trained: Path, encoder: Path, tmp_path: Path) -> None:
    target, before = tmp_path / "graph", snapshot(trained)
    command = ("export", "adaptershare", "-w", trained, "--model", encoder, "--to", target, "--task", "second")
    good(*command, "--format", "onnx")
    assert snapshot(trained) == before
    names = {path.name for path in target.iterdir()}
    assert {"model.onnx", "head.json", "tokenizer.json", "README.md"} <= names
    assert not names & {"adapter.safetensors", "head.safetensors"}
    assert "`ENCODER`" not in (target / "README.md").read_text(encoding="utf-8")
    _, predictor = load(trained, "adaptershare", encoder)
    rows = sorted(scored_rows(trained, "second"), key=lambda row: len(row["text"]))[::10]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(target), json.dumps([row["text"] for row in rows])],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.array(json.loads(done.stdout), np.float32)
    np.testing.assert_allclose(found, predictor.predict(["second"], rows)["second"].values, atol=1e-4)


def test_a_graph_that_answers_otherwise_is_never_handed_out(
    trained: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, predictor = load(trained, "adaptershare", encoder)
    whole = onnx_graph._Whole(predictor.model, "first").eval()

    class Wrong:
        def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.full((len(inputs["input_ids"]), 2), 7, np.float32)]

    monkeypatch.setattr(onnx_graph, "_session", lambda file: Wrong())
    with pytest.raises(RunError, match="differ from the model's"):
        onnx_graph._checked(predictor.model, whole, "first", tmp_path / "model.onnx")


def test_without_its_packages_it_says_which_to_install(
    trained: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == "onnxscript":
            raise ImportError("no such module", name=name)
        return whole(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    command = ("export", "adaptershare", "-w", trained, "--model", encoder, "--to", tmp_path / "graph")
    refused(*command, "--format", "onnx", says=("need the package onnxscript", "adaptershare-cli[onnx]"))
    assert not list(tmp_path.iterdir())
