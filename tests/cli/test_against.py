"""`correlate --against`: the truth is made first, measures are judged by it, and what cannot be judged is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from adaptershare_cli import schemas
from adaptershare_cli.measures.base import cost_share
from adaptershare_cli.statistics.scores import SCORES
from adaptershare_cli.store.workspace import Artefact, Workspace
from adaptershare_cli.studies import correlation
from adaptershare_cli.studies import scores as scores_study
from tests.cli.conftest import TASKS, Share, found, good, hashed, refused, snapshot

CELLS = [(s, t) for s in TASKS for t in TASKS if s != t]


def against(workspace: Path, encoder: Path, *more: Any, measures: str = "gradient,text,random") -> tuple[Any, ...]:
    """The arguments of `correlate --against transfer`, three updates on each task."""
    places = ("-w", workspace, "--run", "shared", "--model", encoder)
    return ("correlate", *places, "--measure", measures, "--against", "transfer", "--target-steps", "3", *more)


@pytest.fixture(scope="module")
def judged(share: Share, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two seeds of `shared`, the measured transfer and scores against it; tests read it only."""
    workspace = tmp_path_factory.mktemp("judged") / "workspace"
    good(*share(workspace, "--method", "shared", "--check-every", "3", "--seeds", "0,1"))
    text = good(*against(workspace, encoder)).stdout
    assert "transfer: 18 of 18 trainings to make: 54 updates" in text
    return workspace


@pytest.fixture
def own_judged(judged: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(judged, tmp_path / "workspace"))


def cells(artefact: Artefact) -> np.ndarray:
    """A measure's answer, pair by pair."""
    frame = artefact.table("correlation.parquet").to_pandas()
    frame = frame[frame["seed"].isna() & (frame["layer"] == schemas.ALL_LAYERS)].set_index(["source", "target"])
    return frame.loc[CELLS, "value"].to_numpy(float)


def test_scores_are_of_the_correlations_that_stand(judged: Path) -> None:
    artefact, truth = found(judged, "scores-transfer"), found(judged, "transfer")
    assert pq.read_schema(artefact.path / "scores.parquet").equals(schemas.SCORES)
    frame = artefact.table("scores.parquet").to_pandas()
    assert set(frame["measure"]) == {"gradient", "text", "random"} and set(frame["against"]) == {"transfer"}
    assert set(frame["target"].dropna()) == set(TASKS)
    whole = frame[frame["target"].isna()].set_index(["measure", "score"])
    best = cells(truth)
    for name in ("gradient", "text", "random"):
        expected = np.corrcoef(cells(found(judged, name)), best)[0, 1]
        assert whole.loc[(name, "pearson"), "value"] == pytest.approx(expected)
        regrets = []
        for target in TASKS:  # of two sources the one that the measure ranks first
            of_target = [place for place, cell in enumerate(CELLS) if cell[1] == target]
            values, gains = cells(found(judged, name))[of_target], best[of_target]
            regrets.append(gains.max() - gains[values == values.max()].mean())
        assert whole.loc[(name, "regret@1"), "value"] == pytest.approx(np.mean(regrets))
        share = cost_share(found(judged, name).info["cost"], "transfer")
        assert whole.loc[(name, "ndcg"), "cost_share"] == pytest.approx(share)
    assert whole.loc["random", "cost_share"].eq(0).all() and 0 < whole.loc[("text", "ndcg"), "cost_share"] < 1
    labels = [found(judged, name).label for name in ("gradient", "text", "random", "transfer")]
    assert [item["artefact"] for item in artefact.meta["inputs"]] == labels


def test_the_benchmarks_tables(judged: Path) -> None:
    csv = judged.parent
    script = Path(__file__).parents[1] / "benchmarks" / "truth.py"
    done = subprocess.run(
        [sys.executable, script, "--workspace", judged, "--csv", csv], check=True, capture_output=True, text=True
    )
    whole = found(judged, "scores-transfer").table("scores.parquet").to_pandas()
    whole = whole[whole["target"].isna()].set_index(["measure", "score"])
    table = pd.read_csv(csv / "truth-scores.csv").set_index(["measure", "score"])
    assert table["value"].to_numpy() == pytest.approx(whole["value"].to_numpy(), abs=1e-4, nan_ok=True)
    gains = pd.read_csv(csv / "truth.csv").set_index(["source", "target"]).loc[CELLS]
    assert gains["value"].to_numpy() == pytest.approx(100 * cells(found(judged, "transfer")), abs=1e-3)
    assert (gains["seeds"] == 2).all() and gains["standard_error"].notna().all()
    lines = done.stdout.splitlines()
    assert [line.split("`")[1] for line in lines if line.startswith("| `")] == sorted(
        ("gradient", "text", "random"), key=lambda name: -whole.loc[(name, "spearman"), "value"]
    )
    grid = [[cell.strip() for cell in line.split("|")] for line in lines]
    (header,) = (line for line in grid if line[1:2] == ["source \\ target"])
    (source, target), *_ = CELLS
    (row,) = (line for line in grid if line[1:2] == [source])
    assert row[header.index(target)].startswith(f"{gains.loc[(source, target), 'value']:+.1f} ± ")


def test_the_table_and_the_summary(own_judged: Path, encoder: Path) -> None:
    before = snapshot(own_judged, times=True)
    text = good(*against(own_judged, encoder)).stdout
    assert "measures against transfer" in text and "Nothing to do" in text
    for row in ("gradient", "text", "random", "random, mean", "ceiling"):
        assert f"│ {row} " in text
    # Two sources a target: whatever is ranked first, three or five of them are all.
    assert "\nregret@3, regret@5" in text and "undefined here, with 2 sources a target; left out" in text
    scores = json.loads(good(*against(own_judged, encoder, "--json")).stdout)["artefacts"][-1]["info"]["scores"]
    assert set(scores) == {"gradient", "text", "random"} and set(scores["text"]) == set(SCORES)
    assert scores["text"]["regret@3"] is None and isinstance(scores["text"]["pearson"], float)
    assert snapshot(own_judged, times=True) == before


def test_pictures_change_nothing_else(own_judged: Path, encoder: Path) -> None:
    before = hashed(own_judged)
    text = good(*against(own_judged, encoder, "--plot")).stdout
    artefact = found(own_judged, "scores-transfer")
    stems = {f"scatter-{name}" for name in ("gradient", "text", "random")}
    assert set(artefact.info["plots"]) == {f"{stem}.{end}" for stem in stems for end in ("png", "svg")}
    assert all((artefact.path / name).stat().st_size > 1000 for name in artefact.info["plots"])
    assert text.count("scatter-") == 3  # the PNG files are named
    after = hashed(own_judged)
    assert {name: after[name] for name in before if not name.endswith("artefact.json")} == {
        name: digest for name, digest in before.items() if not name.endswith("artefact.json")
    }
    assert "Nothing to do" in good(*against(own_judged, encoder)).stdout
    states = json.loads(good("status", "-w", own_judged, "--json").stdout)["artefacts"]
    assert {row["state"] for row in states} == {"whole"}
    assert sum(row["label"].startswith("truth/") for row in states) == 12
    assert "truth/ (12 trainings)" in good("status", "-w", own_judged).stdout
    good("report", "-w", own_judged)
    assert {path.name.partition("-scatter")[2] for path in (own_judged / "report" / "pictures").glob("scores-*")} == {
        "-gradient.svg", "-text.svg", "-random.svg",
    }  # fmt: skip


def test_pictures_that_come_later_are_drawn_from_what_is_there(
    own_judged: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("computed again")

    before = {a.label: a for a in Workspace(own_judged).artefacts("correlate")}
    with monkeypatch.context() as patched:
        patched.setattr(correlation, "summarise", fail)
        patched.setattr(scores_study, "score_measures", fail)
        text = good(*against(own_judged, encoder, "--plot")).stdout
    after = {a.label: a for a in Workspace(own_judged).artefacts("correlate")}
    assert after.keys() == before.keys() and len(after) == 5
    for label, artefact in after.items():
        assert f"{label} is there; its pictures are drawn" in text
        assert artefact.info["plots"] and not before[label].info["plots"]
        for part in ("content", "request", "inputs", "versions"):
            assert artefact.meta[part] == before[label].meta[part]
        assert {**artefact.info, "plots": []} == before[label].info
        tables = before[label].meta["files"]
        assert {name: artefact.meta["files"][name] for name in tables} == tables
    whole = hashed(own_judged)
    good(*against(own_judged, encoder, "--force"))  # pictures that were asked for once are kept
    assert hashed(own_judged) == whole


def test_no_pictures_are_drawn_beside_a_damaged_table(own_judged: Path, encoder: Path) -> None:
    table = found(own_judged, "text").file("correlation.parquet")
    table.write_bytes(table.read_bytes()[:-1] + b"?")
    before = snapshot(own_judged)
    refused(*against(own_judged, encoder, "--plot", measures="text"), says=("damaged", "correlation.parquet"))
    after = snapshot(own_judged)
    assert {name: after[name] for name in before} == before
    good(*against(own_judged, encoder, "--plot", "--force", measures="text"))
    assert found(own_judged, "text").info["plots"]


def test_popularity_takes_the_same_truth(own_judged: Path, encoder: Path) -> None:
    good(*against(own_judged, encoder, "--against", "pair", measures="popularity"))
    pair, popularity = found(own_judged, "pair"), found(own_judged, "popularity")
    assert [item["artefact"] for item in popularity.meta["inputs"]] == [pair.label]
    frame = found(own_judged, "scores-pair").table("scores.parquet").to_pandas()
    assert set(frame["against"]) == {"pair"} and (frame["cost_share"] == 1).all()


def test_free_measures_that_tie_or_tell_nothing(own_judged: Path, encoder: Path) -> None:
    done = good(*against(own_judged, encoder, "--json", measures="few-labels,text-pairs"))
    assert "text-pairs: 0.000 for every pair: it tells no task from another" in done.stderr
    scores = json.loads(done.stdout)["artefacts"][-1]["info"]["scores"]
    labels, pairs = scores["few-labels"], scores["text-pairs"]
    assert None not in (labels["spearman"], labels["pearson"], labels["ndcg"])  # two, three labels, and a regression
    assert pairs["spearman"] is pairs["pearson"] is pairs["weighted-kendall"] is None
    assert 0 < pairs["ndcg"] < 1 and pairs["regret@1"] > 0  # means over all orders of equals
    assert all(cost_share(found(own_judged, name).info["cost"], "transfer") == 0 for name in scores)


def test_seeds_of_the_truth(own_judged: Path, encoder: Path) -> None:
    text = good(*against(own_judged, encoder, "--seeds", "0", measures="gradient")).stdout
    assert "transfer: all 9 trainings are there" in text
    (one,) = [a for a in Workspace(own_judged).artefacts("correlate") if a.info.get("seeds") == [0]
              and a.name == "scores-transfer"]  # fmt: skip
    frame = one.table("scores.parquet").to_pandas()
    assert frame["ceiling"].isna().all() and frame["value"].notna().any()  # one seed has no halves


def test_what_cannot_be_judged_is_refused(share: Share, own_judged: Path, encoder: Path) -> None:
    before = snapshot(own_judged, times=True)
    refused(*against(own_judged, encoder, measures="transfer"), says=("truth itself", "--measure"))
    refused(*against(own_judged, encoder, measures="txt"), says=("no measure 'txt'", "Did you mean text?"))
    refused(*against(own_judged, encoder, "--against", "truth"), says=("--against", "transfer", "pair"))
    refused(*against(own_judged, encoder, "--head-axis", "input"), says=("--head-axis", "gradts"))
    refused(*against(own_judged, encoder, "--against", "pair", "--source-steps", "2"), says=("--source-steps",))
    refused(*against(own_judged, encoder, measures="lookahead"), says=("no look-aheads", "--lookahead-every"))
    assert snapshot(own_judged, times=True) == before
    good(*share(own_judged, "--method", "shared", "--check-every", "3", tasks="first,second"))
    run = Workspace(own_judged).artefacts("train-share")[-1].path.name
    words = against(own_judged, encoder, "--run", run, measures="gradient")
    refused(*words, says=("With two tasks (first, second)", "nothing to rank", "three tasks"))
