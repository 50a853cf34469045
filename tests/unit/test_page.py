"""The report's page: whole, well formed, and loading nothing, whatever it is made of."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from adaptershare_cli.reporting.page import PageFacts, Picture, html_page
from adaptershare_cli.reporting.page.again import again_view
from adaptershare_cli.reporting.page.facts import AnswersFacts, TaskFacts
from adaptershare_cli.reporting.page.tasks import task_view
from tests.pages import METHODS, facts_of, made_up, result, row_of, task_of

VOID = {"meta", "img", "input", "br"}
ODD_TEXTS = {
    "html": "<script>alert(\"x\")</script><b onclick='y'>&amp;</b>",
    "template": "{{ 7 * 7 }}{% raw %}",
    "right to left": "\u202eשלום עולם مرحبا",
    "emoji": "👩‍👩‍👧‍👦🇨🇭 \N{COMBINING ACUTE ACCENT}",
    "long": "word " * 2_000,
}


class Page(HTMLParser):
    """A page that was read: its tags with their attributes, its text, and what lies in each table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.tables: list[list[str]] = []  # the tags in each
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif "table" in self.open:
            self.tables[-1].append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & {*self.open}:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all tags of a name."""
        return [attrs for name, attrs in self.tags if name == tag]


def checked(facts: PageFacts) -> Page:
    """The page of these facts, with what every page must hold to."""
    text = html_page(facts)
    page = Page(text)
    assert page.open == [] and len(page.all("h1")) == 1 and page.all("html") == [{"lang": "en"}]
    for tags in page.tables:
        assert tags.count("caption") == 1 and "th" in tags
    assert all("scope" in attrs for attrs in page.all("th"))
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for attrs in page.all("svg"))
    assert all(attrs.get("alt") for attrs in page.all("img"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attrs.get(name) or "#"
            assert value.startswith(("data:image/svg+xml;base64,", "#")), f"{name}={value}"
            assert not value.startswith("#") or value == "#" or value[1:] in ids
        assert not [name for name in attrs if name.startswith("on")]
        assert "url(" not in (attrs.get("style") or "")
    assert not re.search(r"url\(|@import|https?:", text.split("</style>")[0])
    (policy,) = [attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs]
    assert policy is not None and policy.startswith("default-src 'none'")
    return page


@pytest.mark.parametrize("tasks", [1, 3, 30])
@pytest.mark.parametrize("seeds", [1, 10])
def test_any_number_of_tasks_and_seeds(tasks: int, seeds: int) -> None:
    page = checked(facts_of(made_up(tasks, seeds=seeds)))
    assert all(f"task-{number}" in page.text for number in range(tasks)) and all(name in page.text for name in METHODS)


def test_eight_tasks_methods_and_three_seeds_are_small() -> None:
    methods = (*METHODS, "adapterfusion", "hyperformer", "recon", "sparse-sharing")
    facts = facts_of(made_up(8, methods, 3))
    checked(facts)
    assert len(html_page(facts).encode()) < 5_000_000


def test_no_runs() -> None:
    assert "Nothing was trained yet" in checked(PageFacts("Report", [], {})).text


@pytest.mark.parametrize("null", [None, math.nan])
def test_nulls(null: float | None) -> None:
    rows = [
        {**row, "value": null} if row["task"] == "task-1" and row["method"] == "shared" else row for row in made_up()
    ]
    costs = {"trained_parameters": None, "stored_parameters": None, "trained_share": None, "inference_cost": None}
    page = checked(facts_of([row | costs for row in rows]))
    assert "n/a" in page.text and "scores are missing or undefined: shared" in page.text
    assert "Nothing was trained for sharing all." in page.text


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=list(ODD_TEXTS))
def test_texts_stay_texts(odd: str) -> None:
    rows = [row | {"task": odd, "comparison": odd} for row in made_up(1)]
    facts = facts_of(rows, title=odd, notes=[odd])
    runs = {name: replace(run, command=f"adaptershare train-share --tasks '{odd}'" if "'" not in odd else "")
            for name, run in facts.runs.items()}  # fmt: skip
    tasks = [task_of(odd, fixed=[row_of(1, odd, odd)], labels={odd: 1}, notes=[odd], sharing=odd, left_out=[odd])]
    page = checked(replace(facts, runs=runs, pictures=[Picture(odd, b"<svg/>")], tasks=tasks))
    assert page.text.count(odd) >= 5 and len(page.all("script")) == 1


def test_several_comparisons_are_told_apart() -> None:
    rows = [*made_up(), *(result("shared", "task-0", 0.5, comparison="another", run="another"),)]
    text = checked(facts_of(rows)).text
    assert text.index("made up") < text.index("Other comparisons") < text.index("another")


def test_the_script_runs_in_a_browser(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    file = tmp_path / "report.html"
    file.write_text(html_page(facts_of(made_up(methods=(*METHODS, "recon", "hyperformer")))), encoding="utf-8")
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
    ]
    done = subprocess.run([browser, *options, file.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    page = Page(done.stdout)
    assert len([attrs for attrs in page.all("button") if attrs.get("type") == "button"]) > 5  # to sort by
    assert page.all("input")[0]["type"] == "search"


def test_what_is_known_of_sharing() -> None:
    scores = [
        {"measure": "gradient", "against": "pair", "score": "spearman", "value": 0.5, "low": 0.1, "high": 0.8},
        {"measure": "gradient", "against": "pair", "score": "pearson", "value": None, "low": None, "high": None},
    ]
    page = checked(facts_of(made_up(3), judged=scores))  # fmt: skip
    text = " ".join(page.text.split())
    assert "update 20, layer 0: task-0 task-1 | task-2; lowest cosine −0.25 ± 0.03 (task-0, task-2)" in text
    assert "private: no task shares, in all layers (seeds 0, 1, 2)." in text
    assert "Measures against measured pair" in text and "0.50 [0.10, 0.80]" in text and "pearson" not in text
    assert "Rows help, columns are helped." in text  # of the directed measure


def test_pictures_beyond_what_a_letter_takes_are_named_alone() -> None:
    large = Picture("large", b"x" * 1_600_000)
    page = checked(facts_of(made_up(1), pictures=[Picture("small", b"<svg/>"), large]))
    assert len(page.all("img")) == 1 and "large: too large to stand here" in page.text


def test_a_task_tells_its_rows_and_those_that_sharing_fixed_and_broke() -> None:
    text = " ".join(checked(facts_of(made_up(1))).text.split())
    for words in (
        "Of 14 scored rows adaptershare has 3.5 better and 1 worse than private",
        "1 row that adaptershare got right or nearer, and private did not",
        "1 row that private got right or nearer, and adaptershare did not",
        "Left out: 3 rejected rows.",
        "3, 8.5, 40",
        "all layers: no other task.",
    ):
        assert words in text


def test_long_texts_are_cut_and_there_as_a_whole() -> None:
    long = "long " * 200
    page = checked(facts_of(made_up(1), tasks=[task_of("x", fixed=[row_of(1, long)])]))
    assert f"{long[:300]} …" in page.text and long in page.text


def test_many_labels_make_a_small_matrix_and_numbers_a_picture() -> None:
    counts = {(f"label-{number}", f"label-{number % 7}"): number + 1 for number in range(40)}
    view = task_view(task_of("x", answers=[AnswersFacts("a", counts)]), "x").confusions[0]
    assert len(view.labels) == len(view.cells) == 17 and view.labels[-1] == "other labels"
    assert sum(count for _, cells in view.cells for count, _ in cells) == sum(counts.values())
    numbers = task_of("x", answers=[AnswersFacts("a", numbers=[(0.0, 1.0), (5.0, 4.0)])], labels={"least": 0.0})
    assert task_view(numbers, "x").confusions[0].drawing is not None
    checked(facts_of(made_up(1), tasks=[numbers]))


def test_a_task_whose_rows_are_gone() -> None:
    gone = TaskFacts(name="x", what="a label", metrics=("f1",), hardest=[replace(row_of(1), texts=None)])
    assert "(its text is no longer in the workspace)" in checked(facts_of(made_up(1), tasks=[gone])).text


def test_how_to_do_it_again() -> None:
    facts = facts_of(made_up(2, ("private", "shared")))
    same = {
        "versions": {"torch": "2"},
        "machine": {"torch": "2", "processor": "x86"},
        "data": {"task-0": "abcdef0123456789"},
    }
    runs = {name: replace(run, settings={"alpha": 1, "seed": run.seed}, command="" if run.seed else run.command, **same)
            for name, run in facts.runs.items()}  # fmt: skip
    view = again_view(replace(facts, runs=runs))
    assert view is not None
    common = {name: cells[0].text for name, cells in view.common.rows}
    assert common["alpha"] == "1" and common["version: torch"] == "2" and common["machine: processor"] == "x86"
    assert "machine: torch" not in common and ("seed", "2") in view.runs[2].own
    assert ("rows of task-0", "abcdef012345") in [(name, cells[0].text) for name, cells in view.data.rows]
    assert [(one.command != "", len(one.runs)) for one in view.commands] == [(True, 2), (False, 4)]
    assert "not known any more" in checked(replace(facts, runs=runs)).text


def test_a_confusion_table_has_the_labels_in_their_order() -> None:
    counts = {("low", "low"): 3, ("mid", "high"): 2, ("high", "high"): 4}
    task = task_of("grade", order=("low", "mid", "high"), answers=[AnswersFacts("shared", counts)])
    view = task_view(task, "grade").confusions[0]
    assert view.labels == ["low", "mid", "high"]
