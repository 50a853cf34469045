"""The report as one HTML page that needs nothing else: what to do, how sure that is, why; then all that it rests on."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from adaptershare_cli.reporting.page.again import again_view
from adaptershare_cli.reporting.page.answer import Answer, answer_of
from adaptershare_cli.reporting.page.elsewhere import better_elsewhere
from adaptershare_cli.reporting.page.facts import PageFacts, Picture, RunFacts
from adaptershare_cli.reporting.page.pictures import ComparisonPictures, pictures_of
from adaptershare_cli.reporting.page.results import TableView, cost_view, score_view
from adaptershare_cli.reporting.page.roles import Contest, main_group
from adaptershare_cli.reporting.page.sharing import SharingView, sharing_view
from adaptershare_cli.reporting.page.tasks import task_view
from adaptershare_cli.templates import render, text_of

__all__ = ["PageFacts", "Picture", "RunFacts", "html_page"]

FOLDER = "reporting/templates/page"
EMBEDDED_BYTES = 1_500_000  # of pictures that other stages drew: a page is to be small enough for a letter
SCRIPT, STYLE = f"{FOLDER}/script.js", f"{FOLDER}/style.css"


@dataclass(frozen=True)
class ComparisonView:
    """One comparison on the page."""

    name: str
    answer: Answer
    scores: TableView
    costs: TableView
    pictures: ComparisonPictures


def html_page(facts: PageFacts) -> str:
    """The page's text. Nothing is loaded from elsewhere, and its policy forbids it: all values are text, escaped."""
    groups = list(facts.groups)
    if groups:
        groups.insert(0, groups.pop(main_group(groups)))
    contests = [Contest(group, facts.runs, facts.over_rows) for group in groups]
    views = [_comparison(contest) for contest in contests]
    script, sharing = text_of(SCRIPT), sharing_view(facts)
    return render(
        f"{FOLDER}/base.html.j2",
        facts=facts,
        sections=_sections(facts, sharing),
        comparisons=views,
        elsewhere=better_elsewhere(contests[0], contests[1:]) if contests else "",
        sharing=sharing,
        tasks=[task_view(task, f"task-{number}") for number, task in enumerate(facts.tasks)],
        pictures=_embedded(facts.pictures),
        again=again_view(facts),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=text_of(STYLE),
    )


def _sections(facts: PageFacts, sharing: SharingView) -> list[tuple[str, str]]:
    """Anchor and name of each section that is there."""
    there = {"results": facts.groups, "sharing": sharing or facts.pictures, "tasks": facts.tasks}
    named = [(name, name.capitalize()) for name, content in there.items() if content]
    return [("answer", "What to do"), *named, *([("again", "To do it again")] if facts.runs else [])]


def _comparison(contest: Contest) -> ComparisonView:
    group = contest.group
    pictures = pictures_of(group, contest.runs)
    return ComparisonView(group.comparison, answer_of(contest), score_view(group), cost_view(group), pictures)


def _embedded(pictures: Sequence[Picture]) -> list[dict[str, str]]:
    """The pictures as data, up to `EMBEDDED_BYTES` in all; the others are only named."""
    found, room = [], EMBEDDED_BYTES
    for one in pictures:
        room -= len(one.svg)
        data = f"data:image/svg+xml;base64,{base64.b64encode(one.svg).decode()}"
        found.append({"name": one.name, "source": data if room >= 0 else ""})
    return found
