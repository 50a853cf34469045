"""The checkpoints of a run: in the order of its updates, the last two, and only those of this very run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adaptershare_cli.runs.checkpoints import CheckpointStore
from adaptershare_cli.runs.runtime import Runtime
from adaptershare_cli.store.workspace import Workspace
from adaptershare_cli.training.checkpoint import Checkpoint

REQUEST = {"stage": "train-share", "seed": 0, "device": "cpu", "precision": "fp32", "threads": 1}
HERE = Runtime("cpu", "fp32", 1)


def store(root: Path, forced: bool = False, **request: Any) -> CheckpointStore:
    return CheckpointStore(Workspace(root), "m-0123abcd", {**REQUEST, **request}, [], lambda: HERE, forced=forced)


def checkpoint(phase: str, step: int, updates: int) -> Checkpoint:
    row = {"phase": phase, "step": step, "task": "a", "rows": 1, "loss": float("nan"), "learning_rate": 0.1,
           "grad_norm": 1.0, "skipped": True}  # fmt: skip
    return Checkpoint(phase, step, {"weight": torch.arange(step)}, {"step": step}, {"steps": [row] * updates})


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "checkpoints" / "m-0123abcd").iterdir())


def test_steps_of_a_later_phase_come_later(tmp_path: Path) -> None:
    """Each phase counts its updates from 1."""
    for phase, step, updates in (("one", 40, 40), ("one", 50, 50), ("two", 3, 53), ("two", 6, 56)):
        store(tmp_path).save(checkpoint(phase, step, updates))
        loaded = store(tmp_path).load(False, pytest.fail)
        assert loaded is not None and (loaded.phase, loaded.step, loaded.updates) == (phase, step, updates)
    assert names(tmp_path) == ["two-00000053", "two-00000056"]


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    saved = checkpoint("main", 4, 4)
    store(tmp_path).save(saved)
    loaded = store(tmp_path).load(False, pytest.fail)
    assert loaded is not None and loaded.meta == saved.meta
    assert torch.equal(loaded.tensors["weight"], saved.tensors["weight"])
    assert str(loaded.records) == str(saved.records)  # nan too


def test_another_runs_checkpoints_are_not_gone_on_from(tmp_path: Path) -> None:
    store(tmp_path).save(checkpoint("main", 4, 4))
    assert store(tmp_path, seed=1).load(False, pytest.fail) is None
    assert store(tmp_path / "empty").load(False, pytest.fail) is None


def test_clear(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "m-0123abcd").mkdir(parents=True)  # killed while it cleared up
    store(tmp_path).clear(keep_forced=True)
    assert not (tmp_path / "checkpoints" / "m-0123abcd").exists()
    for forced, kept in ((False, []), (True, ["main-00000004"])):
        store(tmp_path, forced).save(checkpoint("main", 4, 4))
        store(tmp_path).clear(keep_forced=True)
        assert (names(tmp_path) if (tmp_path / "checkpoints" / "m-0123abcd").exists() else []) == kept
    store(tmp_path).save(checkpoint("main", 8, 8))
    store(tmp_path).clear(keep_forced=True)  # not all of them are those of an interrupted --force
    assert not (tmp_path / "checkpoints" / "m-0123abcd").exists()
