"""How tasks relate by one measure, as an artefact of its own: from runs, and from what can be trained as they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from adaptershare_cli.data.batches import Rows
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.measures import MEASURES, TRUTHS
from adaptershare_cli.measures.base import Cost, Measurement, Scope
from adaptershare_cli.measures.needs import RunTable, Supply, Trained, Trainings
from adaptershare_cli.measures.settings import MeasureSettings, TunedSettings
from adaptershare_cli.measures.spec import Measure
from adaptershare_cli.measures.trainings import Training
from adaptershare_cli.parquet_files import read_parquet, write_parquet
from adaptershare_cli.runs.rows import task_info
from adaptershare_cli.runs.runtime import resolve_runtime
from adaptershare_cli.settings import non_default
from adaptershare_cli.statistics.matrices import answer_of
from adaptershare_cli.statistics.summary import summarise
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import CorrelationRecord, RunRecord
from adaptershare_cli.studies.pictures import ensure_drawn
from adaptershare_cli.studies.replicates import Replicates
from adaptershare_cli.studies.trainings import make_trainings, training_scores, trainings_cost

if TYPE_CHECKING:
    import torch

    from adaptershare_cli.model.heads import MultiTaskModel


def correlate(
    replicates: Replicates,
    name: str,
    settings: MeasureSettings,
    seeds: tuple[int, ...],
    plot: bool,
    fitted: bool = False,
) -> Artefact:
    """The correlation (`schemas.CORRELATION`) of the runs' tasks by the measure of that name, made if it is missing.

    `seeds` are those of trainings that are made for it. So is what else the measure needs. The heat map's colours and
    order of tasks are `fitted` to the data, or the same in all pictures. Raises UserError where the
    runs lack what it needs.
    """
    measure = MEASURES[name]
    if isinstance(settings, TunedSettings):
        settings = replace(settings, target_steps=settings.target_steps or replicates.steps_each)
    supply = measure.needs.find(_Runs(replicates, seeds, name), settings)
    request = {
        "measure": name,
        "measure_version": measure.code_version,
        "settings": non_default(settings),
        "tasks": list(replicates.tasks),
        **supply.key,
        "sources": [source.content for source in supply.sources],
    }

    def build(folder: Path) -> dict[str, Any]:
        scope = Scope(replicates.tasks, seeds, replicates.context.reporter.line)
        measured = measure(supply.read(), scope, settings)
        permutations = getattr(settings, "permutations", 0)
        table = summarise(name, measured.values, replicates.tasks, measure.directed, permutations)
        write_parquet(table, folder / "correlation.parquet")
        for file, further in measured.tables.items():
            write_parquet(further, folder / f"{file}.parquet")
        return CorrelationRecord(
            measure=name,
            directed=measure.directed,
            tasks=list(replicates.tasks),
            seeds=sorted(int(seed) for seed in measured.values["seed"].dropna().unique()),
            runs=replicates.labels,
            cost=_costs(replicates, settings, measured, supply),
            notes=list(measured.notes),
        ).to_json()

    def draw(folder: Path) -> list[Path]:
        answer = answer_of(read_parquet(folder / "correlation.parquet").to_pandas())
        return _draw(replicates, measure, answer, folder / picture, fitted)

    picture = "heatmap-fitted" if fitted else "heatmap"
    return ensure_drawn(replicates.context, name, request, build, draw, list(supply.sources), plot, picture)


@dataclass(frozen=True)
class _Runs:
    """Replicates as a `Subject`: what a measure's need may ask of them. `seeds` are those of trainings to make."""

    replicates: Replicates
    seeds: tuple[int, ...]
    measure: str

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.replicates.tasks

    @property
    def runs(self) -> Mapping[int, Artefact]:
        return self.replicates.runs

    @property
    def heldout(self) -> Mapping[str, int]:
        return self.replicates.heldout

    @property
    def infos(self) -> Mapping[str, TaskInfo]:
        return {task: task_info(artefact) for task, artefact in self.replicates.prepared.items()}

    @property
    def train_rows(self) -> Mapping[str, Rows]:
        return {task: part.train for task, part in self.replicates.parts.items()}

    @property
    def heldout_rows(self) -> Mapping[str, Rows]:
        return {task: part.heldout for task, part in self.replicates.parts.items()}

    @property
    def pad_token(self) -> int:
        return self.replicates.pad_token

    def table(self, artefact: Artefact, name: str) -> pd.DataFrame:
        file = f"{name}.parquet"
        return artefact.table(file).to_pandas() if file in artefact.meta["files"] else pd.DataFrame()

    def label(self, artefact: Artefact) -> str:
        return artefact.label

    def examples(self, run: Artefact) -> int:
        return sum(RunRecord.of(run).examples.values())

    def rows_key(self) -> dict[str, Any]:
        training = self.replicates.context.training
        return {"prepro": self.replicates.prepared_contents, "leak_scope": training.leak_scope}

    def encoder_key(self) -> dict[str, Any]:
        runtime = resolve_runtime(self.replicates.context.runtime)
        return {
            "encoder": self.replicates.checked_context.encoder.weights,
            "pooling": self.replicates.context.training.pooling,
            "device": runtime.device,
            "threads": runtime.threads,
        }

    def encoder(self) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
        return self.replicates.encoder()

    def model(self, seed: int, trained: Mapping[str, Artefact]) -> MultiTaskModel:
        return self.replicates.model(seed, trained)

    def train(self, trainings: Sequence[Training]) -> Trained:
        made = make_trainings(self.replicates, self.measure, trainings)
        return {training: made[training] for training in trainings}

    def scores(self, trained: Trained) -> Mapping[Training, Mapping[str, float]]:
        return training_scores(dict(trained))

    def trainings_cost(self, trainings: Sequence[Training], scoring: bool) -> Cost:
        return trainings_cost(self.replicates, trainings, scoring)

    def truth(self, name: str, settings: Any) -> Artefact:
        of_truth = MEASURES[name].settings
        options = {item.name: getattr(settings, item.name) for item in fields(of_truth) if hasattr(settings, item.name)}
        return correlate(self.replicates, name, of_truth(**options), self.seeds, plot=False)

    def recorded_cost(self, correlation: Artefact) -> Cost:
        training = CorrelationRecord.of(correlation).cost["training"]
        return Cost(training["forward"], training["backward"])


def _costs(replicates: Replicates, settings: MeasureSettings, measured: Measurement, supply: Supply) -> dict[str, Any]:
    """Examples processed by the measure itself and by the trainings that it reads, over all its `seeds` (1 if none).

    `brute_force`: what measuring each truth takes for one seed, with the same updates on each task (--target-steps).
    """
    steps = (settings.target_steps if isinstance(settings, TunedSettings) else None) or replicates.steps_each
    return {
        "own": measured.cost.to_json(),
        "training": supply.training_cost().to_json(),
        "seeds": max(1, measured.values["seed"].nunique()),
        "brute_force": {name: _truth_cost(replicates, MEASURES[name], steps).to_json() for name in TRUTHS},
    }


def _truth_cost(replicates: Replicates, truth: Measure, steps: int) -> Cost:
    assert isinstance(truth.needs, Trainings) and issubclass(truth.settings, TunedSettings)
    trainings = truth.needs.plan(replicates.tasks, (0,), truth.settings(target_steps=steps))
    return trainings_cost(replicates, trainings, scoring=True)


def _draw(replicates: Replicates, measure: Measure, answer: pd.DataFrame, stem: Path, fitted: bool) -> list[Path]:
    """The heat map `stem`, and of a measure of plans a picture of each run's plan."""
    from adaptershare_cli.reporting.plots import heat_map, sharing_picture

    title = measure.name
    if measure.needs.reads_runs:
        title += f": {replicates.record.method}, seed " + ", ".join(map(str, replicates.runs))
    pictures = heat_map(answer, stem, title, measure, fitted)
    if isinstance(measure.needs, RunTable) and measure.needs.name == "sharing":
        for run in replicates.runs.values():
            table, steps = run.table("sharing.parquet").to_pandas(), RunRecord.of(run).steps
            about = f"{run.path.name}: who shares what"
            pictures += sharing_picture(table, stem.with_name(f"sharing-{run.key}"), about, steps)
    return pictures
