"""Reports of made-up results: any number of tasks, methods and seeds, without a training."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from adaptershare_cli import schemas
from adaptershare_cli.reporting.page import PageFacts, RunFacts
from adaptershare_cli.reporting.page.facts import AnswersFacts, MeasureFacts, PlanHistory, RowFacts, Split, TaskFacts
from adaptershare_cli.reporting.tables import comparison_table
from adaptershare_cli.sharing.plan import SharingPlan

METHODS = ("adaptershare", "private", "random-plan", "shared")
COMMAND = "adaptershare train-share --tasks suite --max-interference -0.3 --max-steps 50 --seeds 0,1"


def result(method: str, task: str, value: float | None, seed: int = 0, **other: Any) -> dict[str, Any]:
    """A row of `schemas.RESULTS`."""
    row = {"comparison": "made up", "method": method, "key": f"key-{method}", "seed": seed, "task": task,
           "run": f"{method}-{seed}", "split": "dev", "metric": "accuracy", "value": value, "main": True,
           "degenerate": None, "constant": None, "trained_parameters": 1000 + 200 * len(method),
           "stored_parameters": 3000, "trained_share": 0.0123,
           "task_parameters": 700, "inference_cost": 1.02, "seconds": 60.0}  # fmt: skip
    return row | other


def made_up(
    tasks: int = 4,
    methods: Sequence[str] = METHODS,
    seeds: int = 3,
    gains: dict[str, float] | None = None,
    noise: float = 0.01,
) -> list[dict[str, Any]]:
    """Results of methods that differ by `gains` (0 by default), with noise of a method, seed and task."""
    draw = random.Random(f"{tasks} {methods} {seeds}")
    bases = [draw.uniform(0.4, 0.9) for _ in range(tasks)]
    return [
        result(method, f"task-{number}", base + (gains or {}).get(method, 0.0) + draw.gauss(0, noise), seed)
        for method in methods for seed in range(seeds) for number, base in enumerate(bases)
    ]  # fmt: skip


def run_of(rows: Sequence[dict[str, Any]], **other: Any) -> RunFacts:
    """The facts of the run that these results are of; its select scores are its scored ones."""
    first = rows[0]
    tasks = tuple(dict.fromkeys(row["task"] for row in rows))
    plan = SharingPlan.private(tasks, 2) if first["method"] == "private" else SharingPlan.shared(tasks, 2)
    steps = (10, 30, 50)
    values = {
        "name": first["run"], "method": first["method"], "seed": first["seed"], "tasks": tasks, "steps": 50,
        "select": {row["task"]: row["value"] for row in rows}, "command": COMMAND, "plan": plan,
        "encoder": "embedded", "encoder_hash": "1234abcd", "precision": "fp32",
        "scores": {row["task"]: [(step, 100.0 * (row["value"] or 0) - 5 / step) for step in steps] for row in rows},
        "losses": {row["task"]: [(step, 1 / step) for step in steps] for row in rows},
        "history": history_of(plan, first["method"] == "adaptershare"),
    }  # fmt: skip
    return RunFacts(**(values | other))


def history_of(plan: SharingPlan, splits: bool) -> PlanHistory:
    """The history of a plan that stays as it is, or of one whose last task leaves at update 20."""
    tasks, layers = plan.tasks, range(len(plan.layers))
    if not splits:
        numbers = [[number for number, group in enumerate(plan.layers[layer]) if task in group][0]
                   for layer in layers for task in tasks]  # fmt: skip
        groups = np.array(numbers, dtype=float).reshape(len(layers), len(tasks), 1)
        return PlanHistory(tasks, (0,), dict(enumerate(groups)))
    of_layer = np.array([[0.0, float(task == tasks[-1] and len(tasks) > 1)] for task in tasks])
    parts = (tasks[:-1], tasks[-1:])
    found = [Split(20, layer, parts, (tasks[0], tasks[-1]), -0.25, 0.03) for layer in layers] if len(tasks) > 1 else []
    return PlanHistory(tasks, (0, 20), dict.fromkeys(layers, of_layer), found)


def measure_of(tasks: Sequence[str], name: str = "gradient", known: bool = True) -> MeasureFacts:
    """A measure of made-up values; without `known` ones all are NaN."""
    count = len(tasks)
    values = (
        np.sin(np.arange(count * count, dtype=float)).reshape(count, count) if known else np.full((count,) * 2, np.nan)
    )
    return MeasureFacts(name, f"{name} (1234abcd)", "made up", "train-share/x", tuple(tasks), values, values > 0.5,
                        np.full((count, count), 0.1), (-1.0, 1.0), "cosine", directed=name != "gradient")  # fmt: skip


def row_of(number: int, text: str = "a text", label: str = "yes") -> RowFacts:
    """A row that two methods answered."""
    return RowFacts("dev", number, (text,), label, {"adaptershare": "no", "private": label}, 1.0)


def task_of(name: str, **other: Any) -> TaskFacts:
    """A task with labels that are names."""
    counts = {("yes", "yes"): 7, ("yes", "no"): 2, ("no", "no"): 5}
    values: dict[str, Any] = {
        "name": name, "what": "a label for each row", "metrics": ("accuracy",), "sizes": {"train": 90, "dev": 14},
        "lengths": {"train": (3, 8.5, 40), "dev": (4, 9.0, 30)}, "truncated": {"train": 2, "dev": 0},
        "labels": {"yes": 50, "no": 40}, "left_out": ["3 rejected rows"], "notes": ["a note"],
        "partners": ["adaptershare, seed 0: all layers: no other task."], "sharing": "adaptershare",
        "private": "private", "answers": [AnswersFacts("adaptershare", counts)], "fixed": [row_of(1)],
        "broke": [row_of(2)], "counted": (3.5, 1.0, 14), "hardest": [row_of(3)],
    }  # fmt: skip
    return TaskFacts(**(values | other))


def facts_of(rows: Sequence[dict[str, Any]], **other: Any) -> PageFacts:
    """The page's facts for these results."""
    table = pd.DataFrame(rows, columns=schemas.RESULTS.names)
    by_run: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_run.setdefault(row["run"], []).append(row)
    runs = {name: run_of(found) for name, found in by_run.items()}
    tasks = tuple(dict.fromkeys(row["task"] for row in rows))
    measures = [measure_of(tasks), measure_of(tasks, "transfer"), measure_of(tasks, "unknown", known=False)]
    groups = comparison_table(table)
    values = {
        "title": "Report",
        "groups": groups,
        "runs": runs,
        "measures": measures,
        "tasks": list(map(task_of, tasks)),
    }
    return PageFacts(**(values | other))
