"""`serve`: a run's tasks answer requests over HTTP until a signal comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptershare_cli.commands.predict import reads_pairs
from adaptershare_cli.data.tasks import load_tasks
from adaptershare_cli.errors import UserError
from adaptershare_cli.runs.carded import partners_of
from adaptershare_cli.runs.choose import one_run
from adaptershare_cli.runs.results import run_results
from adaptershare_cli.runs.runtime import Runtime, resolve_runtime
from adaptershare_cli.runs.served import ServedRun, served_run
from adaptershare_cli.screen import Screen
from adaptershare_cli.settings import RuntimeSettings, ServeSettings, check_settings, flag
from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.store.workspace import Workspace

if TYPE_CHECKING:
    from adaptershare_cli.serving.answering import Answered, Answerer
    from adaptershare_cli.serving.rows import Question
    from adaptershare_cli.serving.web.app import Service
    from adaptershare_cli.serving.web.asking import Asking

NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "prometheus_client": "prometheus-client"}
LAST_PASS = 5  # seconds that a pass may still take once nobody waits for it


def check_installed() -> None:
    """Raise UserError where a package of the extra `serve` is not there."""
    if missing := [package for module, package in NEEDED.items() if find_spec(module) is None]:
        names = ", ".join(missing)
        fix = "Install it: pip install 'adaptershare-cli[serve]'"
        raise UserError(f"serve needs packages that are not installed: {names}", fix=fix)


def serve_run(
    workspace: Workspace,
    word: str | None,
    tasks: str | None,
    model: str | None,
    settings: ServeSettings,
    task_dirs: Sequence[Path],
    screen: Screen,
    ready: Callable[[dict[str, Any]], None],
) -> None:
    """Serve the run that `word` names; `ready` is told of the address once requests are answered.

    `tasks` and `model` are the values of --task and --model. Whatever is wrong is found before the encoder is loaded.
    """
    check_settings(settings)
    if settings.max_request_rows > settings.max_queue_rows:
        what = f"A request may have {settings.max_request_rows} rows, of which {settings.max_queue_rows} may wait"
        raise UserError(what, flag("max_queue_rows"), "Let as many rows wait, or take fewer with --max-request-rows.")
    served = served_run(workspace, one_run(workspace, word, screen), tasks, model, screen)
    definitions = load_tasks(task_dirs).tasks
    pairs = {task: reads_pairs(served, task, definitions.get(task)) for task in served.tasks}
    runtime = resolve_runtime(RuntimeSettings(device=settings.device, threads=settings.threads, precision="fp32"))

    from adaptershare_cli.serving.web.app import build_app
    from adaptershare_cli.serving.web.server import address_of, bound, is_private, serve

    with bound(settings.host, settings.port) as listening:
        address, label = address_of(listening), served.run.label
        if not is_private(listening):
            screen.line(f"warning: whoever reaches {address} may ask: without a password, and unencrypted")

        def started() -> None:
            screen.line(f"Serving {len(pairs)} tasks of {label}, {runtime}; Ctrl-C stops")
            ready({"url": address, "port": listening.getsockname()[1], "run": label, "tasks": list(pairs)})

        service = make_service(served, pairs, runtime, settings)
        service.batcher.start()
        try:
            serve(build_app(service), listening, settings.request_timeout, started, service.batcher.hurry)
        finally:
            service.batcher.stop(LAST_PASS)
    screen.line("Stopped; all that was accepted is answered")


def make_service(
    served: ServedRun, pairs: Mapping[str, bool | None], runtime: Runtime, settings: ServeSettings
) -> Service:
    """What the application needs; nothing is loaded before its batcher starts."""
    from adaptershare_cli.serving.batching import Batcher, Limits
    from adaptershare_cli.serving.web.app import PATHS, Service
    from adaptershare_cli.serving.web.asking import Asking
    from adaptershare_cli.serving.web.metrics import Metrics

    def load() -> Answerer:
        from adaptershare_cli.serving.answering import Answerer

        return Answerer(served.load_on(runtime, settings.per_device_eval_batch_size))

    metrics = Metrics(PATHS)
    limits = Limits(settings.max_batch_rows, settings.max_wait_ms / 1000, settings.max_queue_rows)
    batcher: Batcher[Question, Answered] = Batcher(load, limits, metrics.of_pass)
    metrics.watch(lambda: batcher.waiting)
    asking = Asking(served.infos, pairs, settings.max_request_rows)
    most_bytes, told = settings.max_body_kib * 1024, _described(served, asking)
    return Service(served.run.label, told, asking, batcher, metrics, most_bytes, settings.request_timeout)


def _described(served: ServedRun, asking: Asking) -> list[dict[str, Any]]:
    """What is told of the tasks: how rows look, whom each shares with, and its final scores by its main metric."""
    from adaptershare_cli.serving.web.bodies import Shared, TaskBody, TaskScore

    record = RunRecord.of(served.run)
    rows = [row for row in run_results(served.run) if row["main"] and row["split"] != "select"]
    return [
        TaskBody(
            task=task,
            kind=info.kind,
            labels=list(info.labels),
            range=info.range,
            columns=asking.columns(task),
            pairs=asking.pairs[task],
            max_seq_length=served.inputs[task].max_seq_length,
            partners=[
                Shared(first_layer=found.first, last_layer=found.last, tasks=list(found.tasks))
                for found in partners_of(record, task)
            ],
            scores=[
                TaskScore(metric=row["metric"], split=row["split"], value=row["value"], rows=row["rows"])
                for row in rows
                if row["task"] == task
            ],
        ).model_dump()
        for task, info in served.infos.items()
    ]
