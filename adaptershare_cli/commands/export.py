"""`export`: tasks of a run as folders that load without this program, with tokenizer and model card."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.source import TOKENIZER_FILES
from adaptershare_cli.reporting.card import model_card
from adaptershare_cli.runs.carded import card_facts
from adaptershare_cli.runs.choose import one_run
from adaptershare_cli.runs.served import ServedRun, served_run, task_folder
from adaptershare_cli.screen import Screen
from adaptershare_cli.settings import PreproSettings
from adaptershare_cli.store.disk import begin_folder, discard, follow_umask, publish_failure, swap_in, sync_tree
from adaptershare_cli.store.workspace import Workspace

if TYPE_CHECKING:
    from adaptershare_cli.serving.predictor import Predictor

PARTIAL = ".partial-"
CARD = "README.md"
OPTION = "--to"
ADAPTERHUB, ONNX = "adapterhub", "onnx"
WriteTask = Callable[[ServedRun, str, Path], str]  # a task's weights into a folder; gives how to load them, as Markdown


def export_run(
    workspace: Workspace,
    word: str | None,
    tasks: str | None,
    model: str | None,
    target: Path,
    screen: Screen,
    form: str = ADAPTERHUB,
) -> dict[str, Path]:
    """Write each task's folder: `target` itself of one task, else `target/TASK`. Returns them by task.

    They appear at once, and only where nothing was. Raises UserError for a target that holds something, and for a
    `form` (`adapterhub`, `onnx`) whose packages are not there.
    """
    check_target(target)
    write_task = _FORMS[form]()
    served = served_run(workspace, one_run(workspace, word, screen), tasks, model, screen)
    partial = target.absolute().with_name(PARTIAL + target.absolute().name)
    try:
        begin_folder(partial)
    except OSError as error:
        what = f"The folder cannot be made: {error.strerror}"
        raise UserError(what, f"{OPTION} {target}", "Name a place where you may write.") from error
    try:
        for task in served.tasks:
            folder = partial / task if len(served.tasks) > 1 else partial
            folder.mkdir(exist_ok=True)
            usage = write_task(served, task, folder)
            _write_what_is_common(workspace, served, task, folder, usage)
        follow_umask(partial)
        sync_tree(partial)
        if target.is_dir():
            target.rmdir()
        swap_in(partial, target.absolute())
    except OSError as error:
        discard(partial)
        raise publish_failure(error, target.absolute(), partial) from error
    except BaseException:
        discard(partial)
        raise
    return {task: target / task if len(served.tasks) > 1 else target for task in served.tasks}


def check_target(target: Path) -> None:
    """Raise UserError unless a folder can be made there, or an empty one stands there."""
    if target.is_dir() and any(target.iterdir()):
        raise UserError("The folder holds something already", f"{OPTION} {target}", "Name a new or an empty folder.")
    if target.exists() and not target.is_dir():
        raise UserError("A file stands where the folder is to be", f"{OPTION} {target}", "Name another place.")


def _write_what_is_common(workspace: Workspace, served: ServedRun, task: str, folder: Path, usage: str) -> None:
    """The tokenizer, the encoder's configuration, and the card; `usage` is how the folder is loaded."""
    for name in ("config.json", *TOKENIZER_FILES):
        if (served.encoder.folder / name).is_file():
            shutil.copyfile(served.encoder.folder / name, folder / name)
    (folder / CARD).write_text(model_card(card_facts(workspace, served, task), usage), encoding="utf-8")


def _adapterhub() -> WriteTask:
    """Weights as the run exported them, with its own lines that load them."""

    def write(served: ServedRun, task: str, folder: Path) -> str:
        own = task_folder(served.run, task)
        shutil.copytree(own, folder, ignore=shutil.ignore_patterns(CARD), dirs_exist_ok=True)
        usage = (own / CARD).read_text(encoding="utf-8").partition("\n")[2].strip()
        usual, longest = f"max_length={PreproSettings.max_seq_length}", served.inputs[task].max_seq_length
        return usage.replace(usual, f"max_length={longest}")

    return write


def _onnx() -> WriteTask:
    """One graph of encoder, adapter and head, tried in onnxruntime before it is handed out."""
    from adaptershare_cli.model.onnx_graph import needs_onnx

    needs_onnx()
    loaded: list[Predictor] = []  # once for all tasks

    def write(served: ServedRun, task: str, folder: Path) -> str:
        import torch

        from adaptershare_cli.model.folders import HEAD_CONFIG
        from adaptershare_cli.model.onnx_graph import GRAPH, graph_usage, write_graph

        if not loaded:
            loaded.append(served.load(torch.device("cpu")))
        (predictor,) = loaded
        info, model = served.infos[task], predictor.model
        worst = write_graph(model, task, folder / GRAPH)
        shutil.copyfile(task_folder(served.run, task) / HEAD_CONFIG, folder / HEAD_CONFIG)
        return graph_usage(model, task, predictor.tokenizers[info.kind], served.inputs[task].max_seq_length, worst)

    return write


_FORMS: dict[str, Callable[[], WriteTask]] = {ADAPTERHUB: _adapterhub, ONNX: _onnx}
