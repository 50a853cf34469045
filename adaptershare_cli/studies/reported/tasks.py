"""Tasks as the report's page shows them: their rows, what was dropped, who their partners are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.reporting.page.facts import PageFacts, RunFacts, TaskFacts
from adaptershare_cli.reporting.page.roles import PRIVATE, Contest, main_group
from adaptershare_cli.runs.served import run_infos
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import DownloadRecord, PreproRecord, RunRecord
from adaptershare_cli.studies.pairing import Prepared
from adaptershare_cli.studies.reported.answers import AnswersOf, answers_of

SHOWN_LABELS = 20


def task_facts(prepared: Prepared, artefacts: Sequence[Artefact], facts: PageFacts) -> list[TaskFacts]:
    """The tasks of the comparison that the page answers, in the order of its table."""
    if not facts.groups:
        return []
    contest = Contest(facts.groups[main_group(facts.groups)], facts.runs)
    by_name = {artefact.path.name: artefact for artefact in artefacts}
    rows = [row for row in (contest.sharing, contest.baseline(PRIVATE)) if row is not None]
    runs = {row.label: [by_name[name] for name in row.runs] for row in rows}
    others = {name: by_name[name] for row in contest.group.rows for name in row.runs}
    found = []
    for task in contest.tasks:
        holders = [run for run in others.values() if task in RunRecord.of(run).tasks]
        own = {label: [run for run in of_row if run in holders] for label, of_row in runs.items()}
        answers = answers_of(prepared, task, own, [row.label for row in rows])
        found.append(_task(prepared, task, holders[0], facts.runs, contest, answers))
    return found


def data_of(prepared: Prepared, runs: Sequence[Artefact]) -> list[Artefact]:
    """The prepared and downloaded rows of the runs' tasks that are still there, each once."""
    contents = dict.fromkeys(content for run in runs for content in RunRecord.of(run).prepro.values())
    found = [artefact for content in contents for artefact in (prepared.of(content), prepared.download_of(content))]
    return list({artefact.label: artefact for artefact in found if artefact is not None}.values())


def _task(
    prepared: Prepared, task: str, run: Artefact, runs: Mapping[str, RunFacts], contest: Contest, answers: AnswersOf
) -> TaskFacts:
    record = RunRecord.of(run)
    info = run_infos(run, record, [task])[task]
    kind, content = KINDS[info.kind], record.prepro[task]
    try:
        rows = _rows(prepared, content, record.leaked_rows.get(task, 0))
    except UserError:  # damaged: `status` tells of it, and runs stand without their rows
        rows = {}
    named = contest.sharing.runs if contest.sharing is not None else ()
    return TaskFacts(
        name=task,
        what=kind.summary,
        metrics=info.metrics,
        order=info.names,
        partners=[line for name in named for line in _partners(runs[name], task)],
        **rows,
        **answers.facts(),
    )


def _rows(prepared: Prepared, content: str, leaked: int) -> dict[str, Any]:
    """What is known of the rows; nothing where they are gone."""
    ready, download = prepared.of(content), prepared.download_of(content)
    if ready is None:
        return {"notes": ["Its prepared rows are no longer in the workspace."]}
    said = PreproRecord.of(ready)
    parts = ["train", "heldout", "select", *said.scored]
    lengths, truncated = {}, {}
    for part in parts:
        table = ready.table(f"{part}.parquet", ["length", "truncated"])
        own = table["length"].to_numpy()
        lengths[part] = (int(own.min()), float(np.median(own)), int(own.max())) if len(own) else (0, 0.0, 0)
        truncated[part] = int(pc.sum(table["truncated"]).as_py() or 0)
    counts = said.counts
    left_out = [f"{counts['leaked_rows']} train rows that stand in a scored split of the task"] * bool(
        counts["leaked_rows"]
    )
    left_out += [f"{leaked} train rows that stand in a scored split of the run"] * bool(leaked)
    left_out += [f"{counts['aside_rows']} copies of held-out and select texts"] * bool(counts["aside_rows"])
    found: dict[str, Any] = {
        "sizes": {part: counts[f"{part}_rows"] for part in parts},
        "lengths": lengths,
        "truncated": truncated,
        "left_out": left_out,
        "notes": list(said.notes or ()),
    }
    if download is not None:
        of_source = DownloadRecord.of(download)
        found["left_out"] += [f"{of_source.rejected} rejected rows"] * bool(of_source.rejected)
        for what, count in sum(map(Counter, (of_source.left_out or {}).values()), Counter[str]()).items():
            found["left_out"].append(f"{count} {what}")
        found["notes"] += list(of_source.suspicious or ())
        found["labels"] = _labels(download, of_source.kind)
    return found


def _labels(download: Artefact, kind_name: str) -> dict[str, float]:
    """Train labels by name with how many there are, or least, median and most."""
    kind = KINDS[kind_name]
    labels = kind.single_labels(download.table("train.parquet", ["label"]))
    if not kind.labelled or not pa.types.is_string(labels.type):
        if not pa.types.is_floating(labels.type) or not len(labels):
            return {}
        values = labels.to_pylist()
        return {"least": min(values), "median": median(values), "most": max(values)}
    counts = Counter(dict(zip(*(pc.value_counts(labels).field(n).to_pylist() for n in (0, 1)), strict=True)))
    shown = dict(counts.most_common(SHOWN_LABELS))
    rest = len(counts) - len(shown)
    return shown | ({f"{rest} more labels": sum(counts.values()) - sum(shown.values())} if rest else {})


def _partners(run: RunFacts, task: str) -> list[str]:
    """With whom the task shares at the end of a run, layers with the same partners together."""
    if run.plan is None or task not in run.plan.tasks:
        return []
    layers: dict[tuple[str, ...], list[int]] = {}
    for layer in range(len(run.plan.layers)):
        others = tuple(other for other in run.plan.group(layer, task) if other != task)
        layers.setdefault(others, []).append(layer)
    told = "; ".join(
        f"{'all layers' if len(numbers) == len(run.plan.layers) else 'layers ' + ', '.join(map(str, numbers))}: "
        f"{', '.join(others) or 'no other task'}"
        for others, numbers in layers.items()
    )
    return [f"{run.method}, seed {run.seed}: {told}."]
