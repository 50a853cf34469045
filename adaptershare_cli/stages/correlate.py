"""Stage `correlate`: how tasks relate, by one or several measures, from what runs recorded."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from rich.table import Table

from adaptershare_cli import schemas
from adaptershare_cli.correlation import MEASURES
from adaptershare_cli.errors import UserError
from adaptershare_cli.settings import CorrelateSettings, check_bounds
from adaptershare_cli.stages.common import StageContext, ensure, select_runs
from adaptershare_cli.workspace import Artefact, write_parquet


def correlate_runs(
    context: StageContext, run_spec: str | None, measures: str, settings: CorrelateSettings, plot: bool
) -> list[Artefact]:
    """One correlation artefact a measure, over the chosen runs (the newest train-share run by default).

    Several runs must hold the same tasks; their checks count together.
    """
    check_bounds(settings)
    names = _measures(measures)
    runs = select_runs(context.workspace, run_spec, newest_only=True)
    tasks = _common_tasks(runs)
    context.reporter.line(f"from {', '.join(run.label for run in runs)}")
    return [_correlate(context, name, runs, tasks, settings, plot) for name in names]


def _measures(text: str) -> list[str]:
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in MEASURES:
            near = difflib.get_close_matches(name, MEASURES, n=2)
            raise UserError(
                f"There is no measure {name!r}",
                where="--measure",
                fix=f"Measures: {', '.join(MEASURES)}." + (f" Did you mean {near[0]}?" if near else ""),
            )
    if not names:
        raise UserError("No measure is named", where="--measure", fix=f"Measures: {', '.join(MEASURES)}.")
    return names


def _common_tasks(runs: list[Artefact]) -> list[str]:
    tasks = runs[0].info["tasks"]
    for run in runs[1:]:
        if sorted(run.info["tasks"]) != sorted(tasks):
            raise UserError(
                "The chosen runs hold different tasks",
                where=f"{runs[0].label}: {', '.join(tasks)}; {run.label}: {', '.join(run.info['tasks'])}",
                fix="Name runs of the same tasks with --run.",
            )
    if len(tasks) < 2:
        raise UserError(
            f"{runs[0].label} has one task only, so there is nothing to relate", where="--run", fix="Name a joint run."
        )
    return tasks


def _correlate(
    context: StageContext, measure: str, runs: list[Artefact], tasks: list[str], settings: CorrelateSettings, plot: bool
) -> Artefact:
    spec = MEASURES[measure]
    chosen = {name: getattr(settings, name) for name in spec.settings}
    request = {
        "measure": measure,
        "measure_version": spec.code_version,
        "settings": chosen,
        "runs": sorted(run.content for run in runs),
    }

    def build(folder: Path) -> dict[str, Any]:
        table = measure_runs(measure, runs, tasks, chosen)
        write_parquet(table, folder / "correlation.parquet")
        pictures: list[Path] = []
        if plot:
            from adaptershare_cli.reporting.plots import heat_map, sharing_picture

            title = f"{measure}: {', '.join(sorted({run.info['method'] for run in runs}))}, seed " + ", ".join(
                str(run.info["seed"]) for run in runs
            )
            pictures += heat_map(table.to_pandas(), folder / "heatmap", title, spec.directed)
            for run in runs if measure == "plan" else []:
                name = f"sharing-{run.key}"
                pictures += sharing_picture(_read(run, "sharing"), folder / name, f"{run.path.name}: who shares what")
        return {
            "info": {
                "measure": measure,
                "tasks": tasks,
                "runs": [run.label for run in runs],
                "plots": [path.name for path in pictures],
            }
        }

    artefact = ensure(
        context, "correlate", measure, request, build, runs, lacks=lambda found: plot and not found.info["plots"]
    )
    _print(context, artefact)
    return artefact


def measure_runs(measure: str, runs: list[Artefact], tasks: list[str], settings: dict[str, Any]) -> pa.Table:
    """The measure over the given runs together (`schemas.CORRELATION`).

    A measure over checks sees all checks of all runs; a measure over plans is averaged over the runs.
    """
    spec = MEASURES[measure]
    function = spec.load()
    frames = [_read(run, spec.table) for run in runs]
    if spec.table == "interference":
        for run, frame in zip(runs, frames, strict=True):
            if frame.empty:
                raise UserError(
                    f"{run.label} has no checks to measure {measure} from",
                    where="--run",
                    fix="Train longer, with a smaller --check-every, and without --no-observe.",
                )
            frame["phase"] = run.key + "/" + frame["phase"]
        return function(pd.concat(frames, ignore_index=True), tasks, **settings)
    tables = [function(frame, tasks, **settings) for frame in frames]
    if len(tables) == 1:
        return tables[0]
    joined = pd.concat([table.to_pandas() for table in tables], ignore_index=True)
    keys = ["measure", "layer", "source", "target"]
    mean = joined.groupby(keys, sort=False, as_index=False)["value"].mean()
    mean = mean.reindex(columns=schemas.CORRELATION.names)
    return pa.Table.from_pandas(mean, schemas.CORRELATION, preserve_index=False)


def _read(run: Artefact, table: str) -> pd.DataFrame:
    if f"{table}.parquet" not in run.meta["files"]:
        raise UserError(
            f"{run.label} recorded no {table}: --method {run.info['method']} has none",
            where="--run",
            fix="Name a run of another method, or choose another --measure.",
        )
    return run.table(f"{table}.parquet").to_pandas()


def _names(nearest: list[str], others: int, related: bool) -> str:
    """The nearest neighbours in words: ties are not settled by the alphabet."""
    if not related:
        return "none"
    if len(nearest) == others > 1:
        return f"all {others} others"
    return ", ".join(nearest[:2]) + (f" and {len(nearest) - 2} more" if len(nearest) > 2 else "")


def _print(context: StageContext, artefact: Artefact) -> None:
    """Each task's nearest neighbour over all layers."""
    frame = artefact.table("correlation.parquet").to_pandas()
    frame = frame[(frame["layer"] == schemas.ALL_LAYERS) & (frame["source"] != frame["target"])]
    counted = artefact.name != "plan"  # a plan is no mean over checks: it has no error and no null
    table = Table(title=f"{artefact.name}: each task's nearest neighbour")
    for column in ("task", "nearest", "value", *(("± s.e.", "null 95 %", "p", "checks") if counted else ())):
        table.add_column(column, justify="left" if column in ("task", "nearest") else "right")

    def number(value: float, digits: int = 3) -> str:
        return "–" if pd.isna(value) else f"{value:.{digits}f}"

    for task in artefact.info["tasks"]:
        rows = frame[frame["target"] == task].dropna(subset=["value"]).sort_values("source")
        if rows.empty:
            table.add_row(task, *["–"] * (len(table.columns) - 1))
            continue
        nearest = rows[rows["value"] == rows["value"].max()]
        best = nearest.iloc[0]
        cells = [number(best["value"])]
        if counted:
            cells += [number(best[name]) for name in ("standard_error", "null_upper", "p_value")]
            cells.append(number(best["checks"], 0))
        table.add_row(task, _names(nearest["source"].tolist(), len(rows), bool(best["value"])), *cells)
    context.reporter.table(table)
    for name in artefact.info["plots"]:
        if name.endswith(".png"):
            context.reporter.path(str(artefact.path / name))
