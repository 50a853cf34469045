"""Stage `report`: methods x tasks, grouped by what may be compared, as a table, Markdown, HTML and Parquet."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from adaptershare_cli import schemas
from adaptershare_cli.errors import UserError
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.reporting.formats import FORMATS
from adaptershare_cli.reporting.page import html_page
from adaptershare_cli.reporting.tables import comparison_table, plain, to_markdown, to_rich
from adaptershare_cli.runs.baselines import Baselines
from adaptershare_cli.runs.choose import select_runs
from adaptershare_cli.runs.context import StageContext, ensure
from adaptershare_cli.runs.results import check_results
from adaptershare_cli.store.artefact import digest, verify
from adaptershare_cli.store.records import ReportRecord, StudyRecord, VerdictRecord
from adaptershare_cli.store.workspace import Artefact
from adaptershare_cli.studies.comparison import result_rows
from adaptershare_cli.studies.pairing import Prepared
from adaptershare_cli.studies.reported import data_of, page_facts

TITLE = "AdapterShare report"
FILES = {"results.tex": "latex", "results.csv": "csv"}  # beside the page; report.md has the tables as Markdown


def make_report(context: StageContext, run_spec: str | None, form: str | None = None) -> Artefact:
    """The report over the chosen runs (all of the workspace by default); damaged ones are told and left out.

    The tables are shown, and printed as a result in the form that is named, if any.
    """
    faults: list[UserError] = []
    runs = select_runs(context.workspace, run_spec, check=check_results, passed_over=faults.append)
    studies = _studies(context, runs, faults)
    pictures = [study for study in studies if StudyRecord.of(study).plots]
    verdicts = [study for study in studies if StudyRecord.of(study).kind == "verdict"]
    for fault in faults:
        context.reporter.fault(fault)
    request = {"runs": sorted(run.content for run in runs), "pictures": [digest(a.meta["files"]) for a in pictures]}
    left_out = [f"Left out: {fault.what}" for fault in faults]
    if left_out:
        request["left out"] = left_out
    if tables := [study.content for study in studies if not StudyRecord.of(study).plots and study not in verdicts]:
        request["tables"] = tables
    prepared = Prepared(context.workspace)
    data = data_of(prepared, runs)
    request["data"] = sorted(artefact.content for artefact in data)
    if verdicts:
        request["verdicts"] = [study.content for study in verdicts]
    said = [line for study in verdicts for line in _said(VerdictRecord.of(study))]

    def build(folder: Path) -> dict[str, Any]:
        rows = result_rows(runs, Baselines(context.workspace))
        table = pa.Table.from_pylist(rows, schemas.RESULTS)
        write_parquet(table, folder / "results.parquet")
        groups = comparison_table(table.to_pandas())
        notes = "".join(f"- {plain(note)}\n" for note in (*said, *left_out))
        (folder / "report.md").write_text(f"# {TITLE}\n\n{notes}{to_markdown(groups)}\n", encoding="utf-8")
        _copy_pictures(pictures, folder)
        facts = page_facts(TITLE, groups, runs, studies, prepared, (*said, *left_out))
        for name, other in FILES.items():
            (folder / name).write_text(FORMATS[other](groups), encoding="utf-8")
        (folder / "report.html").write_text(html_page(facts), encoding="utf-8")
        record = ReportRecord(runs=[run.label for run in runs], pictures=[picture.label for picture in pictures])
        return {"info": record.to_json()}

    artefact = ensure(context, "report", "report", request, build, [*runs, *studies, *data])
    groups = comparison_table(artefact.table("results.parquet").to_pandas())
    if form is not None:
        sys.stdout.write(FORMATS[form](groups))
    for group in groups:
        context.reporter.table(to_rich(group))
        for note in group.notes:
            context.reporter.line(note)
    for line in said:
        context.reporter.line(line)
    return artefact


def _said(verdict: VerdictRecord) -> list[str]:
    """What a verdict says, the first line with the run that it is of."""
    first, *others = verdict.words
    return [f"Verdict on the plan of {', '.join(verdict.runs)}: {first}", *others]


def _copy_pictures(pictures: list[Artefact], folder: Path) -> None:
    """Copy the SVG pictures beside the page, which holds them too, for use elsewhere."""
    for artefact in pictures:
        for name in StudyRecord.of(artefact).plots:
            if name.endswith(".svg"):
                picture = artefact.file(name)  # refuses a name that leads elsewhere, before anything is made of it
                copy = folder / "pictures" / f"{artefact.path.name}-{name}"
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(picture, copy)


def _studies(context: StageContext, runs: list[Artefact], faults: list[UserError]) -> list[Artefact]:
    """What correlate found of these runs alone; what is damaged is added to `faults`."""
    labels = {run.label for run in runs}
    studies = []
    for artefact in context.workspace.artefacts("correlate", lambda path, error: faults.append(error)):
        try:
            if set(StudyRecord.of(artefact).runs) <= labels:
                verify(artefact)
                studies.append(artefact)
        except UserError as error:
            faults.append(error)
    return studies
