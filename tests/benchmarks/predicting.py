"""What `predict` costs: rows a second and peak memory of the whole command for files of several lengths, beside others.

    python tests/benchmarks/predicting.py --workspace FOLDER [--rows 10000,100000]

Of a run of `tiny` (`nox -s predicting` trains one). Texts are one to six sentences of its tasks. One thread. Beside it,
on as many texts as the first file has: a bare loop (a tokenizer and the same model over batches of equal lengths; no
file is read or written, nothing is checked) and a pipeline of transformers (the encoder alone, batches as they come).
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.runs.choose import one_run
from adaptershare_cli.runs.served import ServedRun, served_run
from adaptershare_cli.serving.predictor import Predictor
from adaptershare_cli.store.workspace import Workspace

TASK = "topic-news"
SENTENCES = Path(__file__).parents[2] / "tasks" / "tiny"
BATCH = 64


def texts(count: int) -> list[str]:
    """So many texts of one to six sentences."""
    found = []
    for file in sorted(SENTENCES.rglob("*.csv")):
        with file.open(encoding="utf-8", newline="") as opened:
            found += [row["text"] for row in csv.DictReader(opened)]
    draw = random.Random(0)
    return [" ".join(draw.choices(found, k=draw.randint(1, 6))) for _ in range(count)]


def command(workspace: str, rows: list[str], folder: Path) -> tuple[float, float]:
    """Processor seconds and peak memory in MiB of `adaptershare predict` in a process of its own."""
    source, target = folder / "in.csv", folder / "out.csv"
    with source.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerows([["id", "text"], *([number, text] for number, text in enumerate(rows))])
    script = (
        "import resource, sys\n"
        "from adaptershare_cli.cli.app import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "    print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, file=sys.stderr)\n"
    )
    words = ["predict", "shared", "-w", workspace, "--task", TASK, "--input", source, "-o", target, "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words), "--per-device-eval-batch-size", str(BATCH)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    with target.open(encoding="utf-8", newline="") as opened:
        assert [int(row["id"]) for row in csv.DictReader(opened)] == [*range(len(rows))]
    seconds, memory = map(float, done.stderr.splitlines()[-1].split())
    return seconds, memory


def loaded(workspace: str) -> tuple[ServedRun, Predictor]:
    """The run's task, on one thread."""
    room, screen = Workspace(Path(workspace), writing=False), Terminal(as_json=True)
    screen.console.file = io.StringIO()
    served = served_run(room, one_run(room, "shared", screen), TASK, None, screen)
    torch.set_num_threads(1)
    return served, served.load(torch.device("cpu"), BATCH)


@torch.inference_mode()
def bare_loop(predictor: Predictor, rows: list[str]) -> None:
    """A tokenizer and the model, longest texts first."""
    model, (tokenizer,) = predictor.model, predictor.tokenizers.values()
    head = model.heads[TASK]
    ordered = sorted(rows, key=len, reverse=True)
    for start in range(0, len(rows), BATCH):
        inputs = tokenizer(
            ordered[start : start + BATCH], padding=True, truncation=True, max_length=predictor.max_length[TASK],
            return_tensors="pt",
        )  # fmt: skip
        with model.active(TASK):
            hidden = model.encode(dict(inputs))
        mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        head((hidden * mask).sum(1) / mask.sum(1)).tolist()


def pipeline_of(served: ServedRun, max_length: int) -> Callable[[list[str]], object]:
    """A pipeline of transformers over the bare encoder."""
    from transformers import AutoModel, AutoTokenizer, pipeline

    folder = served.encoder.folder
    found = pipeline(
        "feature-extraction", model=AutoModel.from_pretrained(folder), tokenizer=AutoTokenizer.from_pretrained(folder),
        device="cpu", batch_size=BATCH, tokenize_kwargs={"truncation": True, "max_length": max_length},
    )  # fmt: skip
    return lambda rows: found(rows)


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of a call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--rows", default="10000,100000")
    asked = parser.parse_args()
    counts = [int(part) for part in asked.rows.split(",")]
    print("| what | rows | processor s | rows a second | peak MiB |\n|---|--:|--:|--:|--:|")
    start = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, *counts):
            took, memory = command(asked.workspace, texts(count), Path(folder))
            start = start or took  # of one row: what starting takes
            rate = f"{count / (took - start):.0f}" if count > 1 else ""
            print(f"| `predict` | {count:,} | {took:.1f} | {rate} | {memory:.0f} |", flush=True)
    rows = texts(counts[0])
    served, predictor = loaded(asked.workspace)
    run = pipeline_of(served, predictor.max_length[TASK])
    others = (("a bare loop", lambda: bare_loop(predictor, rows)), ("a pipeline", lambda: run(rows)))
    for name, work in others:
        took = seconds(work)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {name} | {len(rows):,} | {took:.1f} | {len(rows) / took:.0f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
