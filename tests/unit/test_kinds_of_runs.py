"""Which runs are of one kind: whatever their seeds, and wherever they were computed, as long as no seed is twice."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.runs.choose import kinds_of, settings_key
from adaptershare_cli.runs.training import recorded_training
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord

PLACES = st.tuples(
    st.integers(0, 2), st.sampled_from(["cpu", "cuda"]), st.integers(1, 2), st.sampled_from(["fp32", "bf16"])
)
NAMES = ("seed", "device", "threads", "precision")


def run_of(number: int, values: tuple[Any, ...], **request: Any) -> Artefact:
    """A run with this request, as far as its kind goes."""
    info: dict[str, Any] = {item.name: None for item in fields(RunRecord) if not item.metadata.get("optional")}
    request |= dict(zip(NAMES, values, strict=True))
    meta = {"stage": "train-share", "request": request, "info": info | {"seed": values[0]}}
    return Artefact(Path("train-share") / f"shared-{number:08d}", meta)


@given(st.lists(PLACES, unique=True, max_size=8))
def test_no_seed_stands_twice_in_a_kind_and_no_precision_beside_another(places: list[tuple[Any, ...]]) -> None:
    runs = [run_of(number, values) for number, values in enumerate(places)]
    kinds = kinds_of(runs)
    by_kind: dict[str, list[tuple[Any, ...]]] = {}
    for run, values in zip(runs, places, strict=True):
        by_kind.setdefault(kinds[run.label].key, []).append(values)
    for found in by_kind.values():
        assert len({seed for seed, *_ in found}) == len(found)
        assert len({precision for *_, precision in found}) == 1
    for precision in ("fp32", "bf16"):
        own = [values for values in places if values[3] == precision]
        if len({seed for seed, *_ in own}) == len(own):
            assert sum(found[0][3] == precision for found in by_kind.values()) <= 1


def test_what_keeps_runs_apart_is_told() -> None:
    runs = [run_of(1, (0, "cpu", 1, "fp32")), run_of(2, (0, "cpu", 2, "fp32")), run_of(3, (1, "cpu", 2, "fp32"))]
    kinds = kinds_of(runs)
    assert [kinds[run.label].apart for run in runs] == [{"threads": 1}, {"threads": 2}, {"threads": 2}]
    assert [kinds[run.label].key for run in runs] == [settings_key(run) for run in runs]
    assert kinds[runs[1].label].key == kinds[runs[2].label].key != kinds[runs[0].label].key
    assert {kind.key for kind in kinds_of(runs[::2]).values()} == {settings_key(runs[0], ("device", "threads"))}


def test_a_seed_that_started_from_two_plans_stands_twice() -> None:
    """They differ in nothing that is known here; whoever takes them refuses them."""
    runs = [run_of(1, (0, "cpu", 1, "fp32"), init_plan="a"), run_of(2, (0, "cpu", 1, "fp32"), init_plan="b")]
    assert len({kind.key for kind in kinds_of(runs).values()}) == 1


def test_settings_and_origins_make_kinds() -> None:
    runs = [run_of(1, (0, "cpu", 1, "fp32"), method="a"), run_of(2, (0, "cpu", 1, "fp32"), method="b")]
    runs.append(run_of(3, (0, "cpu", 1, "fp32"), method="b"))
    runs[2].meta["info"]["origin_key"] = "other"
    assert len({kind.key for kind in kinds_of(runs).values()}) == 3


def test_put_together_runs_are_of_one_kind_whatever_groups_were_found() -> None:
    runs = [
        run_of(seed, (seed, "cpu", 1, "fp32"), groups=groups) for seed, groups in enumerate(([["a", "b"]], [["a"]]))
    ]
    for run, key in zip(runs, ("one", "other"), strict=True):
        run.meta["info"]["origin_key"] = key  # other groups were trained on the way
    assert len({kind.key for kind in kinds_of(runs).values()}) == 1


def test_settings_that_came_later_leave_records_as_they_were() -> None:
    training = TrainingSettings()
    recorded = recorded_training(training)
    assert "class_weights" not in recorded and recorded["max_steps"] is None
    assert {**recorded, "class_weights": "none"} == asdict(training)
    assert recorded_training(replace(training, class_weights="balanced"))["class_weights"] == "balanced"
