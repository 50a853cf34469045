"""Which runs may be compared: by tasks, data, encoder, budget and precision; their scores as rows of one table."""

from __future__ import annotations

from typing import Any

from adaptershare_cli.runs.baselines import Baselines
from adaptershare_cli.runs.choose import kinds_of
from adaptershare_cli.runs.results import degenerate_scores, run_results
from adaptershare_cli.store.artefact import Artefact, canonical, request_key
from adaptershare_cli.store.records import RunRecord


def result_rows(runs: list[Artefact], baselines: Baselines) -> list[dict[str, Any]]:
    """Rows of `schemas.RESULTS`, a single-task run once for each comparison that it belongs to."""
    joint = [run for run in runs if RunRecord.of(run).method != "single"]
    labels = _settings_labels(runs)
    comparisons = {comparison_of(record): record for record in map(RunRecord.of, joint)}
    rows = []
    for run in runs:
        record = RunRecord.of(run)
        if run in joint:
            names = [comparison_of(record)]
        else:
            names = [name for name, other in comparisons.items() if _fits(record, other)] or [comparison_of(record)]
        constants = baselines.of(run)
        seconds, degenerate = run.timing().get("training_seconds"), degenerate_scores(run, constants)
        for name in names:
            rows += [
                {
                    "comparison": name, "run": run.path.name, "method": record.method, "key": labels[run.label],
                    "seed": record.seed, "task": row["task"], "split": row["split"], "metric": row["metric"],
                    "value": row["value"], "main": row["main"],
                    "degenerate": degenerate.get((row["task"], row["split"])),
                    "constant": row["constant"],
                    "trained_parameters": record.trained_parameters, **_costs(record, row["task"]),
                    "seconds": seconds,
                }
                for row in run_results(run, constants)
            ]  # fmt: skip
    return rows


def _costs(record: RunRecord, task: str) -> dict[str, Any]:
    """The columns of `schemas.RESULTS` that come from `training.costs`; none for a run that is older than they are."""
    costs = record.costs
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
    """One label for all runs of a kind: a key, and the settings in which runs of the method differ."""
    records = {run.label: RunRecord.of(run) for run in runs}
    settings = {label: {**record.training, **record.settings} for label, record in records.items()}
    labels, kinds = {}, kinds_of(runs)
    for run in runs:
        method = records[run.label].method
        others = [settings[label] for label, record in records.items() if record.method == method]
        own = settings[run.label]
        differing = [name for name in own if any(other.get(name) != own[name] for other in others)]
        kind = kinds[run.label]
        shown = {name: own[name] for name in sorted(differing)} | kind.apart
        labels[run.label] = " ".join([kind.key, *(f"{name}={value}" for name, value in shown.items())])
    return labels


def _conditions(run: RunRecord) -> dict[str, Any]:
    """What must be equal for two runs to be compared, besides tasks and budget."""
    return {
        "encoder": run.encoder_weights,
        "precision": run.precision,
        "choice": "best step on select rows" if run.training["load_best_model_at_end"] else "last step",
        # What adapters from a folder were trained on is not known, so such runs are compared with their like alone.
        **({"adapters": "given"} if run.settings.get("fusion_over") == "adapters" else {}),
    }


def _budget(run: RunRecord) -> dict[str, list[Any]]:
    """Per task: its prepared data and the rows of it that were trained on."""
    return {task: [run.prepro[task], run.examples[task]] for task in run.tasks}


def _fits(single: RunRecord, joint: RunRecord) -> bool:
    """Whether a single-task run was trained on what its task had in a joint run."""
    budget = _budget(joint)
    return _conditions(single) == _conditions(joint) and all(
        budget.get(task) == value for task, value in _budget(single).items()
    )


def comparison_of(run: RunRecord) -> str:
    """The name of the comparison that a run belongs to: readable, and unique by a hash of (data, encoder, budget)."""
    conditions = _conditions(run)
    examples = run.examples.values()
    same = len(set(examples)) == 1
    budget = f"{min(examples)} examples each" if same else f"{sum(examples)} examples"
    identity: Any = [conditions, sorted(_budget(run).items())]
    count = len(run.tasks)
    tasks = f"{count} task{'s' * (count != 1)}"
    if run.method == "single":
        identity = [conditions, run.examples[run.tasks[0]]]
        tasks = "tasks alone"
    digest = request_key({"comparison": canonical(identity)})
    words = [tasks, budget, run.encoder_name, run.precision, conditions["choice"]]
    return " · ".join([*words, digest])
