"""Stage `report`: methods x tasks, grouped by what may be compared, as a table, Markdown, HTML and Parquet."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from adaptershare_cli import schemas
from adaptershare_cli.reporting.page import html_page
from adaptershare_cli.reporting.tables import comparison_table, to_markdown, to_rich
from adaptershare_cli.runs.choose import select_runs, settings_key
from adaptershare_cli.runs.context import StageContext, ensure
from adaptershare_cli.runs.results import run_results
from adaptershare_cli.store.artefact import digest, verify
from adaptershare_cli.store.workspace import Artefact, canonical, request_key, write_parquet

TITLE = "AdapterShare report"


def make_report(context: StageContext, run_spec: str | None) -> Artefact:
    """The report over the chosen runs (all of the workspace by default)."""
    runs = select_runs(context.workspace, run_spec, newest_only=False)
    pictures = _pictures(context, runs)
    request = {"runs": sorted(run.content for run in runs), "pictures": [digest(a.meta["files"]) for a in pictures]}

    def build(folder: Path) -> dict[str, Any]:
        rows = result_rows(runs)
        table = pa.Table.from_pylist(rows, schemas.RESULTS)
        write_parquet(table, folder / "results.parquet")
        groups = comparison_table(table.to_pandas())
        (folder / "report.md").write_text(f"# {TITLE}\n\n{to_markdown(groups)}\n", encoding="utf-8")
        page = html_page(groups, _copy_pictures(pictures, folder), TITLE, [f"{len(runs)} runs"])
        (folder / "report.html").write_text(page, encoding="utf-8")
        return {"info": {"runs": [run.label for run in runs], "pictures": [a.label for a in pictures]}}

    artefact = ensure(context, "report", "report", request, build, [*runs, *pictures])
    for group in comparison_table(artefact.table("results.parquet").to_pandas()):
        context.reporter.table(to_rich(group))
        for note in group.notes:
            context.reporter.line(note)
    return artefact


def _copy_pictures(pictures: list[Artefact], folder: Path) -> list[Path]:
    """Copy the SVG pictures beside the page, so that the report's folder can be moved; returns relative paths."""
    copies = []
    for artefact in pictures:
        for name in artefact.info["plots"]:
            if name.endswith(".svg"):
                picture = artefact.file(name)
                copy = Path("pictures") / f"{artefact.path.name}-{name}"
                (folder / copy.parent).mkdir(exist_ok=True)
                shutil.copyfile(picture, folder / copy)
                copies.append(copy)
    return copies


def _pictures(context: StageContext, runs: list[Artefact]) -> list[Artefact]:
    """The correlations with pictures that were made from these runs alone."""
    labels = {run.label for run in runs}
    found = context.workspace.artefacts("correlate")
    pictures = [a for a in found if a.info["plots"] and set(a.info["runs"]) <= labels]
    for artefact in pictures:
        verify(artefact)
    return pictures


def result_rows(runs: list[Artefact]) -> list[dict[str, Any]]:
    """Rows of `schemas.RESULTS`, a single-task run once for each comparison that it belongs to."""
    joint = [run for run in runs if run.info["method"] != "single"]
    labels = _settings_labels(runs)
    comparisons = {comparison_of(run): run for run in joint}
    rows = []
    for run in runs:
        if run in joint:
            names = [comparison_of(run)]
        else:
            names = [name for name, other in comparisons.items() if _fits(run, other)] or [comparison_of(run)]
        seconds = run.timing().get("training_seconds")
        for name in names:
            rows += [
                {
                    "comparison": name, "method": run.info["method"], "key": labels[run.label],
                    "seed": run.info["seed"], "task": row["task"], "split": row["split"], "metric": row["metric"],
                    "value": row["value"], "main": row["main"],
                    "trained_parameters": run.info["trained_parameters"], **_costs(run, row["task"]),
                    "seconds": seconds,
                }
                for row in run_results(run)
            ]  # fmt: skip
    return rows


def _costs(run: Artefact, task: str) -> dict[str, Any]:
    """The columns of `schemas.RESULTS` that come from `methods.counting`; none for a run made before it counted."""
    costs = run.info.get("costs")
    if costs is None:
        return {}
    own = costs["tasks"][task]
    return {
        "stored_parameters": costs["stored"],
        "trained_share": (costs["trained"] - costs["trained_heads"]) / len(costs["tasks"]) / costs["encoder"],
        "task_parameters": own["stored"],
        "inference_cost": own["multiply_adds"] / own["encoder_multiply_adds"],
    }


def _settings_labels(runs: list[Artefact]) -> dict[str, str]:
    """One label for all seeds of the same settings: a key, and the settings in which runs of the method differ."""
    settings = {run.label: {**run.info["training"], **run.info["settings"]} for run in runs}
    labels = {}
    for run in runs:
        others = [settings[other.label] for other in runs if other.info["method"] == run.info["method"]]
        own = settings[run.label]
        differing = [name for name in own if any(other.get(name) != own[name] for other in others)]
        words = [f"{name}={own[name]}" for name in sorted(differing)]
        labels[run.label] = " ".join([settings_key(run), *words])
    return labels


def _conditions(run: Artefact) -> dict[str, Any]:
    """What must be equal for two runs to be compared, besides tasks and budget."""
    training = run.info["training"]
    return {
        "encoder": run.info["encoder"]["weights"],
        "precision": run.info["precision"],
        "choice": "best step on select rows" if training["load_best_model_at_end"] else "last step",
        # What adapters from a folder were trained on is not known, so such runs are compared with their like alone.
        **({"adapters": "given"} if run.info["settings"].get("fusion_over") == "adapters" else {}),
    }


def _budget(run: Artefact) -> dict[str, list[Any]]:
    """Per task: its prepared data and the rows of it that were trained on."""
    return {task: [run.info["prepro"][task], run.info["examples"][task]] for task in run.info["tasks"]}


def _fits(single: Artefact, joint: Artefact) -> bool:
    budget = _budget(joint)
    return _conditions(single) == _conditions(joint) and all(
        budget.get(task) == value for task, value in _budget(single).items()
    )


def comparison_of(run: Artefact) -> str:
    """The name of the comparison that a run belongs to: readable, and unique by a hash of (data, encoder, budget)."""
    conditions = _conditions(run)
    examples = run.info["examples"].values()
    same = len(set(examples)) == 1
    budget = f"{min(examples)} examples each" if same else f"{sum(examples)} examples"
    identity: Any = [conditions, sorted(_budget(run).items())]
    count = len(run.info["tasks"])
    tasks = f"{count} task{'s' * (count != 1)}"
    if run.info["method"] == "single":
        identity = [conditions, run.info["examples"][run.info["tasks"][0]]]
        tasks = "tasks alone"
    digest = request_key({"comparison": canonical(identity)})
    words = [tasks, budget, run.info["encoder"]["name"], run.info["precision"], conditions["choice"]]
    return " · ".join([*words, digest])
