"""What a check costs: the mixed pass against separate passes, against the original's way, and against training.

    python tests/benchmarks/check_cost.py --from FOLDER

The small protocol's tasks and lengths, 64 held-out rows a task. Prints medians and ratios of one process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.commands.prepro import prepare
from adaptershare_cli.data.batches import TaskParts, TaskStream, make_batch
from adaptershare_cli.methods import METHODS, method_settings
from adaptershare_cli.methods.base import MethodContext, TaskData, Updates
from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.model.encoder import load_encoder
from adaptershare_cli.model.precision import linear_precision
from adaptershare_cli.observe.gradients import gram_matrices, row_index
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.rows import read_parts, task_info
from adaptershare_cli.runs.runtime import resolve_runtime
from adaptershare_cli.settings import PreproSettings, TrainingSettings
from adaptershare_cli.sharing.interference import interference, task_products, unit_rows
from adaptershare_cli.store.workspace import Workspace
from adaptershare_cli.training.optimizer import Optimizer

TASKS = "mnli,cola,sst2,mrpc,stsb,qqp,qnli,rte"


def mixed(method: PlannedMethod) -> None:
    """Ours: all relations of a check, from rows' gradients in one pass."""
    index = row_index(method.heldout)
    for gram in gram_matrices(method.model, method.heldout, method.context.data.pad_token):
        interference(unit_rows(gram), index)
        task_products(gram, index)


def separate(method: PlannedMethod, size: int = 64) -> None:
    """(a) Task by task, each half by itself, rows sorted by length in batches of up to `size`: means alone."""
    method.model.eval()
    for task, rows in method.heldout.items():
        tensors = [tensor for _, tensor in method.model.bank.named_parameters(task)]
        half = row_index({task: rows}).half
        for number in range(2):
            order = rows.by_length()
            mine = order[half[order] == number]
            for start in range(0, len(mine), size):
                loss = method.model.loss(
                    make_batch(task, rows, mine[start : start + size], method.context.data.pad_token)
                )
                torch.autograd.grad(loss, tensors)


def original(method: PlannedMethod) -> None:
    """(b) Row by row, task by task; at each switch the adapter is saved, deleted and loaded again."""
    encoder = method.model.bank.encoder
    method.model.eval()
    for task, rows in method.heldout.items():
        with tempfile.TemporaryDirectory() as folder:
            encoder.save_adapter(folder, task)
            encoder.delete_adapter(task)
            encoder.load_adapter(folder, load_as=task)
        encoder.train_adapter(task)
        parameters = [tensor for name, tensor in encoder.named_parameters() if f"adapters.{task}." in name]
        for row in range(len(rows)):
            loss = method.model.loss(make_batch(task, rows, np.array([row]), method.context.data.pad_token))
            torch.autograd.grad(loss, parameters)


def updates(method: PlannedMethod, parts: dict[str, TaskParts], count: int) -> list[float]:
    """Seconds of single training updates, tasks in turn."""
    training, pad_token = method.context.training, method.context.data.pad_token
    streams = [TaskStream(task, part.train, 32, 0, pad_token) for task, part in parts.items()]
    optimizer = Optimizer(method.model.parameters(), training, count)
    found = []
    for number in range(count):
        started = time.perf_counter()
        method.train_mode()
        method.loss(next(streams[number % len(streams)])).backward()
        optimizer.step(optimizer.gradient_norm())
        found.append(time.perf_counter() - started)
    return found


def seconds(work: Callable[[PlannedMethod], None], method: PlannedMethod, times: int) -> float:
    """Median over `times` calls, after one to warm up."""
    found = []
    for number in range(times + 1):
        started = time.perf_counter()
        work(method)
        if number:
            found.append(time.perf_counter() - started)
    return median(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    training = TrainingSettings(max_steps=800, task_sampling="uniform")
    context = StageContext(
        Workspace(options.workspace), Terminal(), from_folder=options.source, training=training,
        prepro=PreproSettings(max_seq_length=64, max_train_examples=1000, max_eval_examples=1000),
    )  # fmt: skip
    prepared = [prepare(context, definition) for definition in context.tasks(TASKS)]
    parts, _ = read_parts(training.leak_scope, prepared)
    runtime = resolve_runtime(context.runtime)
    method: PlannedMethod = METHODS["shared"].build()(
        MethodContext(
            encoder=load_encoder(context.encoder, torch.device(runtime.device)),
            data=TaskData(
                infos={artefact.name: task_info(artefact) for artefact in prepared},
                heldout={task: part.heldout for task, part in parts.items()},
                pad_token=prepared[0].info["pad_token"],
            ),
            training=training,
            settings=method_settings("shared", {}),
            updates=Updates(800),
            seed=0,
        )
    )
    with linear_precision(method.context.encoder, runtime.precision):
        step = median(updates(method, parts, 80)[16:])
        ours, by_task = seconds(mixed, method, 7), seconds(separate, method, 7)
        _, every = method.check_steps()
        as_original = seconds(original, method, 2)
    print(f"threads {torch.get_num_threads()}, {runtime.precision}; one update of 32 rows: {step:.3f} s")
    print(f"a check over {len(prepared)} tasks x 64 rows: {ours:.2f} s ({ours / step:.1f} updates)")
    print(f"(a) separate length-sorted passes: {by_task:.2f} s; ratio ours / (a): {ours / by_task:.2f}")
    print(f"(b) the original's way: {as_original:.2f} s; ratio (b) / ours: {as_original / ours:.1f}")
    print(f"checks every {every} updates cost {100 * ours / (every * step):.1f} % of the training time")


if __name__ == "__main__":
    main()
