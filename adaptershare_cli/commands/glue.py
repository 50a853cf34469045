"""`predict --glue-submission`: the answers to GLUE's unlabelled test files, in the layout that its server takes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptershare_cli.commands.output import opened_output
from adaptershare_cli.data.files import DataFile, is_folder
from adaptershare_cli.data.readers.rows import RowFault
from adaptershare_cli.data.sources import locate
from adaptershare_cli.data.tasks import TaskRegistry, load_tasks
from adaptershare_cli.data.whole_rows import WholeRow, WholeRows, read_whole
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.runs.choose import one_run
from adaptershare_cli.runs.runtime import resolve_runtime
from adaptershare_cli.runs.served import ServedRun, served_run
from adaptershare_cli.screen import Screen
from adaptershare_cli.serving.columns import PAIR, Named, Questions, readings
from adaptershare_cli.serving.glue import ARCHIVE, HEADER, TEST_SETS, Unlabelled, prediction, written_labels
from adaptershare_cli.serving.windows import WINDOW_BATCHES, Rejected, windows
from adaptershare_cli.settings import PredictSettings, RuntimeSettings, check_settings
from adaptershare_cli.store.workspace import Workspace

if TYPE_CHECKING:
    from adaptershare_cli.serving.predictor import Predictor

OPTION = "--glue-submission"


def submit_to_glue(
    workspace: Workspace,
    word: str | None,
    tasks: str | None,
    model: str | None,
    source: Path,
    target: Path,
    settings: PredictSettings,
    task_dirs: Sequence[Path],
    screen: Screen,
) -> dict[str, Any]:
    """Answer the test files in the folder `source` by a run, a file each in `target` and all of them in a zip.

    A row that cannot be read or answered (--max-rejected) gets the first label, as each must have a prediction. Raises
    UserError where nothing can be answered, before the encoder is loaded.
    """
    check_settings(settings)
    if not is_folder(source):
        raise UserError(f"{source} is not a folder", "--input", "Give the folder that holds GLUE's test files.")
    if target.exists() and not target.is_dir():
        raise UserError("A file stands where the submission's folder is to be", str(target))
    served = served_run(workspace, one_run(workspace, word, screen), tasks, model, screen)
    files = _files(served, source, screen)
    runtime = resolve_runtime(RuntimeSettings(device=settings.device, threads=settings.threads, precision="fp32"))
    asked = {found: _questions(served, found, file, settings.max_rejected, screen) for found, file in files.items()}
    predictor = served.load_on(runtime, settings.per_device_eval_batch_size)
    registry = load_tasks(task_dirs)
    target.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    for found, file in files.items():
        info = served.infos[found.task]
        labels = written_labels(info, _label_map(registry, found.task))
        name = f"{found.name}.tsv"
        with opened_output(target / name) as stream, screen.counting(name, None) as done:
            stream.write(HEADER.encode())
            rows = read_whole(file, "tsv")
            for index, line in enumerate(_answers(predictor, info, asked[found], rows, labels)):
                stream.write(f"{index}\t{line}\n".encode())
                done(1)
            written[name] = index + 1
        if written[name] != found.rows:
            screen.line(f"{name}: {written[name]} rows; GLUE's own file has {found.rows}")
    with opened_output(target / ARCHIVE) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in written:  # without times, so that equal answers make equal bytes
            archive.writestr(zipfile.ZipInfo(name), (target / name).read_bytes(), zipfile.ZIP_DEFLATED)
    screen.path(str(target / ARCHIVE))
    return {"run": served.run.label, "rows": written, "output": str(target / ARCHIVE)}


def _files(served: ServedRun, source: Path, screen: Screen) -> dict[Unlabelled, DataFile]:
    """The test files that are there and that a task of the run can answer; what a whole submission lacks is told."""
    found: dict[Unlabelled, DataFile] = {}
    lacking = []
    for wanted in TEST_SETS:
        places = [locate(source, path) for path in wanted.paths]
        file = next((place for place in places if place.is_file()), None)
        if wanted.task not in served.infos:
            lacking.append(f"{wanted.name} (the run has no task {wanted.task})")
        elif file is None:
            lacking.append(f"{wanted.name} (there is no {places[0]})")
        else:
            found[wanted] = DataFile(str(file), file)
    if not found:
        raise UserError("There is nothing to answer", "; ".join(lacking), "Name a run of GLUE tasks, and their folder.")
    if lacking:
        screen.line(f"not in the submission, which GLUE's server takes whole only: {', '.join(lacking)}")
    return found


def _questions(served: ServedRun, wanted: Unlabelled, file: DataFile, most: int, screen: Screen) -> Questions:
    """How a test file is read. Raises UserError where more than `most` of its rows cannot be answered."""
    rows, infos = read_whole(file, "tsv"), {wanted.task: served.infos[wanted.task]}
    pairs = {wanted.task: PAIR in wanted.columns}
    named = Named({("", role): name for role, name in wanted.columns.items()})
    questions = Questions(infos, readings(infos, rows.columns, pairs, named, {}, file.name), file.name)
    rejected = Rejected(most, at_the_end=True)
    for row in rows.rows:
        if fault := row if isinstance(row, RowFault) else questions.fault(row):
            rejected.add(fault)
    rejected.check()
    for fault in rejected.first:
        screen.line(f"gets the first label: {fault.sentence()}")
    return questions


def _answers(
    predictor: Predictor, info: TaskInfo, questions: Questions, rows: WholeRows, labels: Mapping[str, str]
) -> Iterator[str]:
    """What a submission has for each row, in order."""
    (reading,) = questions.readings
    first = {"label": info.labels[0]} if info.labels else {"score": info.range[0] if info.range else 0.0}
    faulty: set[int] = set()

    def numbered() -> Iterator[WholeRow]:
        for number, row in enumerate(rows.rows):
            if isinstance(row, RowFault) or questions.fault(row) is not None:
                faulty.add(number)
            yield WholeRow(number, {} if isinstance(row, RowFault) else row.values)

    for window in windows(numbered(), WINDOW_BATCHES * predictor.batch_size):
        asked = [reading.row(row.values) for row in window if row.line not in faulty]
        found = iter(predictor.predict([info.name], asked)[info.name].answers(1) if asked else [])
        for row in window:
            yield prediction(info, first if row.line in faulty else next(found), labels)


def _label_map(registry: TaskRegistry, task: str) -> tuple[tuple[str, str], ...]:
    definition = registry.tasks.get(task)
    return definition.files.label_map if definition is not None and definition.files is not None else ()
