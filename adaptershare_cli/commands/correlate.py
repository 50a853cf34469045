"""Stage `correlate`: how tasks relate, by one or several measures, from runs and from what can be made as they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from adaptershare_cli import schemas
from adaptershare_cli.errors import UserError
from adaptershare_cli.measures import INSTANCES, MEASURES, NO_SELECTION, TABLES, Measure, measure_settings
from adaptershare_cli.measures.base import Cost, Found, Inputs
from adaptershare_cli.measures.trainings import Training
from adaptershare_cli.reporting.relations import cost_line, relation_table
from adaptershare_cli.runs.choose import select_runs
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.runtime import resolve_runtime
from adaptershare_cli.settings import (
    GradTSSettings,
    MeasureSettings,
    PopularitySettings,
    SeededMeasureSettings,
    SelectionSettings,
    TransferSettings,
    TunedSettings,
    check_settings,
    non_default,
)
from adaptershare_cli.statistics.summary import answer_of, summarise
from adaptershare_cli.store.workspace import Artefact, write_parquet
from adaptershare_cli.studies.pictures import ensure_drawn
from adaptershare_cli.studies.replicates import Frame, frames_of
from adaptershare_cli.studies.scores import check_rankable, judge, print_scores
from adaptershare_cli.studies.selection import check_targets, print_selection, select_tasks
from adaptershare_cli.studies.trainings import Runs, make_trainings, training_scores, trainings_cost


def correlate_runs(
    context: StageContext,
    run_spec: str | None,
    names: list[str],
    given: Mapping[str, Any],
    plot: bool = False,
    seeds: Sequence[int] | None = None,
    model: str | None = None,
    runtime: Mapping[str, Any] | None = None,
    against: str | None = None,
    selection: SelectionSettings = NO_SELECTION,
) -> list[Artefact]:
    """One correlation artefact a measure, from the chosen runs (the newest train-share run by default).

    `names` are the measures (`wanted_measures`); with the truth `against` they are judged (`stages.scores`), and by the
    first of them tasks are selected if `selection` says so (`stages.selection`). Runs that differ in the seed alone
    count together, others have artefacts of their own. `given` are the measures' options, `seeds` those of the
    trainings that are made (by default the runs' seeds), `model` and `runtime` what differs from the runs. Raises
    UserError for an option that nothing chosen has a use for.
    """
    settings = measure_settings(names, given, selection)
    steps = given.get("target_steps")
    for checked in (*settings.values(), selection, TunedSettings(target_steps=steps)):
        check_settings(checked)
    _check_use(names, seeds, model, runtime or {}, selection.trains)
    runs = select_runs(context.workspace, run_spec, newest_only=True)
    _check_tasks(runs)
    check_targets(selection, runs[0].info["tasks"])
    if against is not None:
        check_rankable(runs[0].info["tasks"])
    context.reporter.line(f"from {', '.join(run.label for run in runs)}")
    found: dict[str, Artefact] = {}
    frames = frames_of(context, runs, model, runtime or {})
    for frame in frames:
        if len(frames) > 1:
            context.reporter.line(f"of {', '.join(run.path.name for run in frame.runs.values())}:")
        own_seeds = tuple(seeds or frame.runs)
        if selection.select == "fg" and "samples" not in given:
            settings[INSTANCES] = _over_all_rows(frame, settings[INSTANCES])
        related = {}
        for name in names:
            artefact = related[name] = _correlate(frame, name, settings[name], own_seeds, plot)
            if artefact.label not in found:  # what does not depend on the runs is the same for all of them
                found[artefact.label] = artefact
                _print(context, artefact)
        if against is not None:
            scores = judge(frame, against, related, plot)
            found[scores.label] = scores
            print_scores(frame, scores)
        for target in selection.targets:
            instances = related[INSTANCES] if selection.select == "fg" else None
            by = related[names[0]]
            chosen = select_tasks(frame, selection, target, by, instances, own_seeds, steps or frame.steps_each)
            found[chosen.label] = chosen
            print_selection(frame, chosen)
    return list(found.values())


def _over_all_rows(frame: Frame, settings: MeasureSettings) -> MeasureSettings:
    """The settings of `gradts-instance` with samples enough for every train row: a row without a value is not kept."""
    assert isinstance(settings, GradTSSettings)
    return replace(settings, samples=max(settings.samples, *(len(part.train) for part in frame.parts.values())))


def _check_use(
    names: list[str], seeds: Sequence[int] | None, model: str | None, runtime: Mapping[str, Any], selecting: bool
) -> None:
    """Refuse options that have no effect on any of the chosen measures, nor on the trainings of a selection."""
    if selecting:
        return
    chosen = [MEASURES[name] for name in names]
    if seeds is not None and not any(spec.trains or name == "random" for name, spec in zip(names, chosen, strict=True)):
        raise UserError(
            f"--seeds has no effect on --measure {','.join(names)}",
            fix="It is for measures that make trainings; name runs of several seeds with --run.",
        )
    for option in (*(["model"] if model else []), *runtime):
        training_only = option in ("precision", "checkpoint_steps")
        if not any(spec.trains if training_only else spec.computes for spec in chosen):
            raise UserError(
                f"--{option.replace('_', '-')} has no effect on --measure {','.join(names)}",
                fix=f"It is for measures that {'make trainings' if training_only else 'run the encoder'}.",
            )


def _check_tasks(runs: list[Artefact]) -> None:
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


def _correlate(frame: Frame, name: str, settings: MeasureSettings, seeds: tuple[int, ...], plot: bool) -> Artefact:
    spec = MEASURES[name]
    if isinstance(settings, TunedSettings):
        settings = replace(settings, target_steps=settings.target_steps or frame.steps_each)
    sources, trained = _sources(frame, name, settings, seeds)
    request = {
        "measure": name,
        "measure_version": spec.code_version,
        "settings": non_default(settings),
        "tasks": list(frame.tasks),
        **({"seeds": list(seeds)} if isinstance(settings, SeededMeasureSettings) and not sources else {}),
        **_data_of(frame, spec),
        "sources": [source.content for source in sources],
    }

    def build(folder: Path) -> dict[str, Any]:
        found = spec.load()(_inputs(frame, spec, seeds, sources, trained), settings)
        table = summarise(name, found.values, frame.tasks, spec.directed, getattr(settings, "permutations", 0))
        write_parquet(table, folder / "correlation.parquet")
        for file, extra in found.tables.items():
            write_parquet(extra, folder / f"{file}.parquet")
        return {
            "measure": name,
            "directed": spec.directed,
            "tasks": list(frame.tasks),
            "seeds": sorted(int(seed) for seed in found.values["seed"].dropna().unique()),
            "runs": [run.label for run in frame.runs.values()],
            "cost": _costs(frame, spec, settings, found, sources, list(trained)),
            "notes": list(found.notes),
        }

    def draw(folder: Path) -> list[Path]:
        return _draw(frame, name, answer_of(pd.read_parquet(folder / "correlation.parquet")), folder)

    return ensure_drawn(frame.context, name, request, build, draw, sources, plot)


def _sources(frame: Frame, name: str, settings: MeasureSettings, seeds: tuple[int, ...]) -> tuple[list[Artefact], Runs]:
    """The artefacts that a measure is computed from, made where they are missing, and the trainings among them."""
    spec = MEASURES[name]
    if spec.needs in TABLES:
        return list(frame.runs.values()), {}
    if spec.needs == "truth":
        assert isinstance(settings, PopularitySettings)
        truth = MEASURES[settings.against]
        options = {item.name: getattr(settings, item.name) for item in fields(truth.settings)}
        return [_correlate(frame, settings.against, truth.settings(**options), seeds, plot=False)], {}
    if spec.needs == "models":
        assert isinstance(settings, TunedSettings) and settings.target_steps is not None
        wanted = [Training((task,), seed, settings.target_steps) for seed in seeds for task in frame.tasks]
    elif spec.needs == "trainings":
        wanted = list(dict.fromkeys(spec.load("trainings")(frame.tasks, seeds, settings)))
    else:
        return [], {}
    runs = make_trainings(frame, name, wanted)
    return [runs[training] for training in wanted], {training: runs[training] for training in wanted}


def _data_of(frame: Frame, spec: Measure) -> dict[str, Any]:
    """What of data and encoder a measure sees itself, for its key."""
    found: dict[str, Any] = {}
    if spec.needs in ("models", "encoder", "sizes"):
        found["prepro"] = {task: artefact.content for task, artefact in frame.prepared.items()}
        found["leak_scope"] = frame.context.training.leak_scope
    if spec.needs in ("models", "encoder"):
        device, _, threads = resolve_runtime(frame.context.runtime)
        found |= {"encoder": frame.checked_context.encoder.weights, "pooling": frame.context.training.pooling}
        found |= {"device": device.type, "threads": threads}
    return found


def _inputs(frame: Frame, spec: Measure, seeds: tuple[int, ...], sources: list[Artefact], trained: Runs) -> Inputs:
    def model(seed: int) -> Any:
        return frame.model(seed, {t.tasks[0]: run for t, run in trained.items() if t.seed == seed})

    looks = spec.needs in ("models", "encoder", "sizes")
    rows = {task: part.train for task, part in frame.parts.items()} if looks else {}
    truth = _truth(sources[0]) if spec.needs == "truth" else None
    return Inputs(
        tasks=frame.tasks,
        seeds=seeds,
        sizes={task: len(part) for task, part in rows.items()},
        heldout=frame.heldout if spec.needs in TABLES else {},
        tables={seed: _table(run, spec.needs) for seed, run in frame.runs.items()} if spec.needs in TABLES else {},
        rows=rows,
        pad_token=frame.pad_token if looks else 0,
        model=model,
        untrained=frame.model,
        encode=frame.encoder() if spec.needs == "encoder" else lambda inputs: None,
        scores=training_scores(trained) if spec.needs == "trainings" else {},
        truth=truth,
        progress=frame.context.reporter.line,
    )


def _table(run: Artefact, name: str) -> pd.DataFrame:
    """A run's table by name. Raises UserError where a run has none, or an empty one."""
    there = f"{name}.parquet" in run.meta["files"]
    frame = run.table(f"{name}.parquet").to_pandas() if there else pd.DataFrame()
    if frame.empty:
        table = schemas.RUN_TABLES[name]
        raise UserError(f"{run.label} has no {table.lacks}", where="--run", fix=table.advice)
    return frame


def _truth(artefact: Artefact) -> pd.DataFrame:
    """The values of each seed, over all layers."""
    frame = artefact.table("correlation.parquet").to_pandas()
    return frame[frame["seed"].notna() & (frame["layer"] == schemas.ALL_LAYERS)]


def _costs(
    frame: Frame,
    spec: Measure,
    settings: MeasureSettings,
    found: Found,
    sources: list[Artefact],
    trained: list[Training],
) -> dict[str, Any]:
    """Examples processed by the measure itself and by the trainings that it reads, over all its `seeds` (1 if none).

    `brute_force`: what measuring the truth takes for one seed, with the same updates on each task (--target-steps).
    """
    training = Cost()
    if spec.needs in TABLES:
        for run in frame.runs.values():
            rows = sum(run.info["examples"].values())
            training += Cost(rows, rows)
            if spec.needs == "sharing":  # the plan came of the checks
                passed = _checks(run) * sum(frame.heldout.values())
                training += Cost(passed, passed)
    elif trained:
        training = trainings_cost(frame, trained, scoring=spec.needs == "trainings")
    elif spec.needs == "truth":
        recorded = sources[0].info["cost"]["training"]
        training = Cost(recorded["forward"], recorded["backward"])
    steps = settings.target_steps if isinstance(settings, TunedSettings) else None
    truth = TransferSettings(target_steps=steps or frame.steps_each)
    brute = {
        name: trainings_cost(frame, MEASURES[name].load("trainings")(frame.tasks, (0,), truth), scoring=True)
        for name in ("transfer", "pair")
    }
    return {
        "own": found.cost.to_json(),
        "training": training.to_json(),
        "seeds": max(1, found.values["seed"].nunique()),
        "brute_force": {name: cost.to_json() for name, cost in brute.items()},
    }


def _checks(run: Artefact) -> int:
    """How many checks a run made."""
    if not (run.path / "interference.parquet").exists():
        return 0
    return len(run.table("interference.parquet", ["phase", "step"]).to_pandas().drop_duplicates())


def _draw(frame: Frame, name: str, answer: pd.DataFrame, folder: Path) -> list[Path]:
    from adaptershare_cli.reporting.plots import heat_map, sharing_picture

    spec = MEASURES[name]
    words = f"{name}: {frame.first.info['method']}" if spec.needs in TABLES else name
    title = f"{words}, seed " + ", ".join(map(str, frame.runs)) if spec.needs in TABLES else words
    pictures = heat_map(answer, folder / "heatmap", title, spec.directed)
    for run in frame.runs.values() if name == "plan" else []:
        table = run.table("sharing.parquet").to_pandas()
        about = f"{run.path.name}: who shares what"
        pictures += sharing_picture(table, folder / f"sharing-{run.key}", about, run.info["steps"])
    return pictures


def _print(context: StageContext, artefact: Artefact) -> None:
    """Each task's nearest neighbour, what it cost to find out, and where the pictures are."""
    answer = answer_of(artefact.table("correlation.parquet").to_pandas())
    info = artefact.info
    context.reporter.table(relation_table(artefact.name, answer, info["tasks"], info["seeds"], info["directed"]))
    for note in info.get("notes", []):  # correlations of earlier versions have none
        context.reporter.line(note)
    context.reporter.line(cost_line(info["cost"]))
    for name in info["plots"]:
        if name.endswith(".png"):
            context.reporter.path(str(artefact.path / name))
