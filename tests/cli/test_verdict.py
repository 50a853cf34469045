"""`correlate --verdict`: what is trained for it, what the table holds, what is said, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from adaptershare_cli.errors import UserError
from adaptershare_cli.store.records import RunRecord, VerdictRecord
from adaptershare_cli.store.workspace import Artefact, Workspace
from adaptershare_cli.studies import verdict as study
from tests.cli.conftest import Share, good, made, refused

VERDICT = ("correlate", "--verdict", "--seeds", "5,6")


@pytest.fixture(scope="module")
def judged(share: Share, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace with a verdict on a shared run of three tasks, and what was printed."""
    workspace = tmp_path_factory.mktemp("judged") / "workspace"
    good(*share(workspace, "--method", "shared", "--no-observe"))
    return workspace, good(*VERDICT, "-w", str(workspace)).stdout


def artefacts(workspace: Path, stage: str) -> list[Artefact]:
    return list(Workspace(workspace).artefacts(stage))


def verdict_of(workspace: Path) -> tuple[Artefact, VerdictRecord]:
    (found,) = artefacts(workspace, "correlate")
    return found, VerdictRecord.of(found)


def test_every_plan_is_made_of_groups_that_are_trained_once(judged: tuple[Path, str]) -> None:
    workspace, _ = judged
    found, record = verdict_of(workspace)
    table = found.table("plans.parquet").to_pandas()
    assert set(table["seed"]) == {5, 6} and record.plan == [["first", "second", "score"]]
    roles = table["role"].value_counts() // 6
    assert roles.to_dict() == {"chosen": 1, "shared": 1, "private": 1, "any sizes": 3}  # one pair and one task alone
    runs = [*artefacts(workspace, "train-single"), *artefacts(workspace, "groups")]
    assert len(runs) == 2 * 7  # each set of tasks once a seed
    scores = {}
    for run in runs:
        one = RunRecord.of(run)
        for row in run.table("metrics.parquet").to_pylist():
            if row["final"] and row["main"] and row["split"] != "select":
                scores[one.seed, tuple(one.tasks), row["task"]] = row["value"] or 0.0
    for row in table.itertuples():
        group = next(tuple(group) for group in row.plan if row.task in group)
        assert row.value == scores[row.seed, group, row.task]


def test_what_is_recorded_follows_from_the_table(judged: tuple[Path, str]) -> None:
    found, record = verdict_of(judged[0])
    table = found.table("plans.parquet").to_pandas()
    value = {role: rows["value"].mean() for role, rows in table.groupby("role")}
    assert record.value == pytest.approx(value["chosen"])
    assert record.differences.keys() == {"private", "both"}  # it is the plan that shares all
    for name in record.differences:
        item = record.differences[name]
        assert item["gain"] == pytest.approx(value["shared"] - value["private"])
        assert item["low"] < item["gain"] < item["high"] and item["row_error"] > 0
    of_plans = table[table["role"] == "any sizes"].assign(plan=lambda t: t["plan"].map(str))
    means = of_plans.groupby("plan")["value"].mean()
    assert record.best["value"] >= max(value["chosen"], value["private"], means.max()) - 1e-12
    assert record.random == {"same sizes": 0, "any sizes": 3, "mean": None, "percentile": None, "p_value": None}


def test_what_is_said(judged: tuple[Path, str]) -> None:
    workspace, printed = judged
    _, record = verdict_of(workspace)
    printed = " ".join(printed.split())
    assert "12 task trainings for each of the seeds 5, 6" in printed
    assert record.words and all(words in printed for words in record.words)
    assert "best with hindsight" in printed


def test_again_makes_nothing_and_the_report_tells_it(judged: tuple[Path, str]) -> None:
    workspace, _ = judged
    assert made(good(*VERDICT, "-w", str(workspace)).stdout) == []
    printed = good("report", "-w", str(workspace)).stdout
    _, record = verdict_of(workspace)
    assert record.words[0] in " ".join(printed.split())
    for file in ("report.md", "report.html"):
        assert record.words[0][:40] in (workspace / "report" / file).read_text(encoding="utf-8")


def test_what_is_refused(judged: tuple[Path, str]) -> None:
    workspace = str(judged[0])
    refused("correlate", "--verdict", "--seeds", "0,5", "-w", workspace, says=("Seed 0 chose", "--seeds 1,2"))
    refused(*VERDICT, "--measure", "text", "-w", workspace, says=("--measure", "--verdict"))
    refused(*VERDICT, "--select", "trial", "-w", workspace, says=("--select", "--verdict"))
    refused("correlate", "--random-plans", "3", "-w", workspace, says=("--random-plans", "belongs to --verdict"))
    refused(*VERDICT, "--random-plans", "0", "-w", workspace, says=("--random-plans",))


def test_a_plan_that_differs_from_layer_to_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    def record(layers: list[list[list[str]]] | None) -> SimpleNamespace:
        plan = None if layers is None else {"layers": layers}
        of = SimpleNamespace(of=lambda run: SimpleNamespace(plan=plan, seed=0))
        monkeypatch.setattr(study, "RunRecord", of)
        return SimpleNamespace(label="train-share/some-run")

    whole, apart = [["a", "b", "c"]], [["a", "c"], ["b"]]
    assert study.plan_of(record([apart, apart]), ["a", "b", "c"]) == (0b101, 0b010)
    for layers in ([whole, apart], None):
        with pytest.raises(UserError, match="train-share/some-run") as caught:
            study.plan_of(record(layers), ["a", "b", "c"])
        assert "plan-search" in caught.value.fix
