"""`export`: tasks of a run as folders that load without this program, with tokenizer and model card."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.adapters import adapter_kind
from adaptershare_cli.model.adapters.base import AdapterKind
from adaptershare_cli.model.folders import ADAPTER_CONFIG, HEAD_CONFIG, HEAD_WEIGHTS
from adaptershare_cli.model.source import TOKENIZER_FILES, is_hub_id
from adaptershare_cli.reporting.card import model_card
from adaptershare_cli.runs.carded import card_facts
from adaptershare_cli.runs.choose import one_run
from adaptershare_cli.runs.served import ServedRun, served_run, task_folder
from adaptershare_cli.screen import Screen
from adaptershare_cli.settings import PreproSettings, flag
from adaptershare_cli.store.disk import begin_folder, discard, follow_umask, publish_failure, swap_in, sync_tree
from adaptershare_cli.store.workspace import Workspace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from adaptershare_cli.serving.predictor import Predictor

PARTIAL = ".partial-"
CARD = "README.md"
OPTION = "--to"
ADAPTERHUB, ONNX, MERGED, PEFT = "adapterhub", "onnx", "merged", "peft"
LIBRARIES = {MERGED: "transformers", PEFT: "peft"}  # with which a folder loads, where that is not `adapters`
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
    `form` (a key of `_FORMS`) whose packages are not there, or that the run's adapters do not have.
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
            _write_what_is_common(workspace, served, task, folder, usage, LIBRARIES.get(form, "adapters"))
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


def _write_what_is_common(
    workspace: Workspace, served: ServedRun, task: str, folder: Path, usage: str, library: str
) -> None:
    """The tokenizer, the encoder's configuration, and the card; `usage` is how the folder is loaded, by `library`."""
    for name in ("config.json", *TOKENIZER_FILES):
        if (served.encoder.folder / name).is_file():
            shutil.copyfile(served.encoder.folder / name, folder / name)
    (folder / CARD).write_text(model_card(card_facts(workspace, served, task), usage, library), encoding="utf-8")


def _adapterhub() -> WriteTask:
    """Weights as the run exported them, with its own lines that load them."""

    def write(served: ServedRun, task: str, folder: Path) -> str:
        own = task_folder(served.run, task)
        shutil.copytree(own, folder, ignore=shutil.ignore_patterns(CARD), dirs_exist_ok=True)
        return _with_longest((own / CARD).read_text(encoding="utf-8").partition("\n")[2].strip(), served, task)

    return write


def _with_longest(usage: str, served: ServedRun, task: str) -> str:
    """The lines with the longest input of the run in the place of the usual one."""
    usual, longest = f"max_length={PreproSettings.max_seq_length}", served.inputs[task].max_seq_length
    return usage.replace(usual, f"max_length={longest}")


def _onnx() -> WriteTask:
    """One graph of encoder, adapter and head, tried in onnxruntime before it is handed out."""
    from adaptershare_cli.model.onnx_graph import needs_onnx

    needs_onnx()
    loaded: list[Predictor] = []  # once for all tasks

    def write(served: ServedRun, task: str, folder: Path) -> str:
        import torch

        from adaptershare_cli.model.onnx_graph import GRAPH, graph_usage, write_graph

        if not loaded:
            loaded.append(served.load(torch.device("cpu")))
        (predictor,) = loaded
        info, model = served.infos[task], predictor.model
        worst = write_graph(model, task, folder / GRAPH)
        shutil.copyfile(task_folder(served.run, task) / HEAD_CONFIG, folder / HEAD_CONFIG)
        return graph_usage(model, task, predictor.tokenizers[info.kind], served.inputs[task].max_seq_length, worst)

    return write


def _merged() -> WriteTask:
    """An encoder that has the adapter in its own weights, tried before it is handed out, and the head."""
    from adaptershare_cli.model.portable import MODEL_WEIGHTS, write_merged

    def write(encoder: PreTrainedModel, kind: AdapterKind, served: ServedRun, task: str, folder: Path) -> float:
        return write_merged(encoder, kind, task_folder(served.run, task), folder / MODEL_WEIGHTS)

    return _without_adapters(write)


def _peft() -> WriteTask:
    """The adapter in peft's layout, and the head."""
    from adaptershare_cli.model.portable import write_peft

    def write(encoder: PreTrainedModel, kind: AdapterKind, served: ServedRun, task: str, folder: Path) -> None:
        name = served.encoder.name
        write_peft(encoder, kind, task_folder(served.run, task), folder, name if is_hub_id(name) else None)

    return _without_adapters(write)


def _without_adapters(
    write_weights: Callable[[PreTrainedModel, AdapterKind, ServedRun, str, Path], float | None],
) -> WriteTask:
    """What `write_weights` makes of the adapter on its encoder, with the head; what it gives is how far off that is."""
    loaded: list[PreTrainedModel] = []  # once for all tasks

    def write(served: ServedRun, task: str, folder: Path) -> str:
        import torch

        from adaptershare_cli.data.encoding import load_tokenizer
        from adaptershare_cli.model.encoder import load_encoder
        from adaptershare_cli.model.portable import portable_usage

        own, info, training = task_folder(served.run, task), served.infos[task], served.training
        if not (own / ADAPTER_CONFIG).is_file():
            what = f"{task} has no adapter of its own: it attends over several, or has matrices of the encoder"
            raise UserError(what, where=str(served.run.path), fix=f"Use {flag('format', ADAPTERHUB)}.")
        kind = adapter_kind(training.adapter_config)
        if not loaded:
            loaded.append(load_encoder(served.encoder, torch.device("cpu")))
        worst = write_weights(loaded[0], kind, served, task, folder)
        for name in (HEAD_CONFIG, HEAD_WEIGHTS):
            shutil.copyfile(own / name, folder / name)
        tokenizer = load_tokenizer(served.encoder.folder, info.kind)
        return _with_longest(portable_usage(loaded[0], info, training.pooling, tokenizer, worst), served, task)

    return write


_FORMS: dict[str, Callable[[], WriteTask]] = {ADAPTERHUB: _adapterhub, ONNX: _onnx, MERGED: _merged, PEFT: _peft}
