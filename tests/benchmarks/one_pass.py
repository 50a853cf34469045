"""What one pass for all tasks of a run saves: seconds for a file of texts, against a pass a task and a bare loop.

    python tests/benchmarks/one_pass.py --workspace FOLDER --input FILE [--rows N]

Of the runs of six tasks that `nox -s one-pass` trains, by method. The bare loop runs the encoder under one task's
adapter over the very same padded batches, without tokenizing, heads or answers: the least that one task takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import torch

from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.data.batches import Rows, ordered_batches
from adaptershare_cli.data.files import DataFile
from adaptershare_cli.data.whole_rows import WholeRow, format_of, read_whole
from adaptershare_cli.runs.choose import one_run
from adaptershare_cli.runs.served import served_run
from adaptershare_cli.serving.predictor import Predictor
from adaptershare_cli.serving.rows import Row
from adaptershare_cli.store.workspace import Workspace

METHODS = ("shared", "adaptershare", "private")


def seconds(work: Callable[[], object]) -> float:
    """How long the processor works on a call, whatever else the machine does: with one thread the time it takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


@torch.inference_mode()
def bare_loop(predictor: Predictor, task: str, rows: Rows) -> None:
    """The encoder alone, over the batches of the rows."""
    model, pad_token = predictor.model, next(iter(predictor.tokenizers.values())).pad_token_id
    for batch in ordered_batches(task, rows, predictor.batch_size, pad_token):
        with model.active(task):
            model.encode(batch.inputs, model.weights(task))


def measure(predictor: Predictor, tasks: Sequence[str], rows: list[Row], times: int) -> list[float]:
    """Median seconds of one pass for all tasks, of a pass a task, of one for the first task, and of its bare loop."""
    together = predictor.predict(tasks, rows)
    for task in tasks:  # equal, bit for bit
        assert np.array_equal(together[task].values, predictor.predict([task], rows)[task].values), task
    calls: list[Callable[[], object]] = [
        lambda: predictor.predict(tasks, rows),
        lambda: [predictor.predict([task], rows) for task in tasks],
        lambda: predictor.predict(tasks[:1], rows),
        lambda: bare_loop(predictor, tasks[0], together[tasks[0]].rows),
    ]
    # In turn, so that what else the machine does falls on all of them.
    taken = [[seconds(call) for call in calls] for _ in range(times)]
    return [median(found) for found in zip(*taken, strict=True)]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True, help="rows with a column `text`")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = read_whole(DataFile(str(given.input), given.input), format_of(given.input.name, "--input"))
    rows = [{"text": row.values["text"]} for row in islice(found.rows, given.rows) if isinstance(row, WholeRow)]
    workspace, screen = Workspace(given.workspace, writing=False), Terminal()
    print(f"{len(rows)} texts, 1 thread, medians of {given.times}")
    print("run | layers a text | one pass | a pass a task | saved | bare loop, one task | one task / bare loop")
    for method in METHODS:
        served = served_run(workspace, one_run(workspace, method, screen), "all", None, screen)
        predictor = served.load(torch.device("cpu"))
        tasks = served.tasks
        one, each, single, bare = measure(predictor, tasks, rows, given.times)
        layers = sum(tree.layers for tree in predictor.branches(tasks))
        print(
            f"{method} | {layers} of {len(tasks) * len(predictor.layers.layers)} | {one:.2f} s | {each:.2f} s | "
            f"{one / each:.2f} of the time | {bare:.2f} s | {bare / single:.2f} of its rate"
        )


if __name__ == "__main__":
    main()
