"""What a verdict says: the answer first, then what it rests on, and what it would take where it cannot be told."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from adaptershare_cli.reporting.verdict_text import verdict_table, words
from adaptershare_cli.store.records import VerdictRecord

UP = {"gain": 0.02, "low": 0.01, "high": 0.03, "seeds": 3.2, "rows": 1.0}
EVEN = {"gain": 0.002, "low": -0.01, "high": 0.014, "seeds": None, "rows": 2.6}
NO_SPREAD = {"plans": 0.001, "seeds": 0.004, "p_value": 0.4}


def record(answer: str, **changes: Any) -> VerdictRecord:
    values: dict[str, Any] = {
        "tasks": ["a", "b", "c"], "seeds": [5, 6], "runs": ["train-share/plan-search-1"], "plan": [["a", "b"], ["c"]],
        "answer": answer, "value": 0.77, "differences": {"shared": UP, "private": UP, "both": EVEN},
        "spread": NO_SPREAD,
        "random": {"same sizes": 19, "any sizes": 0, "mean": 0.75, "percentile": 95.0, "p_value": 0.1},
        "best": {"plan": [["a", "b"], ["c"]], "value": 0.78},
    }  # fmt: skip
    return VerdictRecord(**{**values, **changes})


def test_a_plan_that_pays() -> None:
    found = words(record("share as planned"))
    assert found[0].startswith(
        "Share as planned: a b | c. On 2 fresh seeds it is worth +2.0 points [+1.0, +3.0] beside"
    )
    assert "95 % of 19 random plans" in found[1] and "how many share counts here, not who" in found[2]
    better = words(record("share as planned", random={**record("").random, "p_value": 0.05}))
    assert not any("not who" in line for line in better)
    assert any("67 % of the 3.0 points" in line for line in found)


@pytest.mark.parametrize(
    ("answer", "begins"),
    [
        ("share all", "Share all: it is worth"),
        ("keep apart", "Keep all apart:"),
        ("nothing to find", "Nothing to find"),
    ],
)
def test_what_to_do_instead(answer: str, begins: str) -> None:
    found = words(record(answer, differences={"shared": EVEN, "private": EVEN, "both": UP}))
    assert found[0].startswith(begins) and "+0.2 points [-1.0, +1.4]" in found[1]
    assert not any("would be told" in line or "cannot be told" in line for line in found)


def test_what_it_takes_to_tell() -> None:
    found = words(record("cannot tell", differences={"shared": UP, "private": EVEN, "both": EVEN}))
    assert any("+2.0 points from sharing all would be told by about 4 seeds" in line for line in found)
    assert any("however many seeds there are: it takes about 2.6 times" in line for line in found)


def test_a_plan_that_is_one_of_the_others() -> None:
    random = {"same sizes": 0, "any sizes": 3, "mean": None, "percentile": None, "p_value": None}
    alone = record("share all", plan=[["a", "b", "c"]], differences={"private": UP, "both": UP}, random=random)
    assert not any("random plans of its sizes" in line for line in words(alone))
    console = Console(width=200, record=True, quiet=False, file=None)
    with console.capture() as shown:
        console.print(verdict_table(alone))
    assert "keeping all apart" in shown.get() and "random plans of its sizes" not in shown.get()


def test_one_seed_knows_no_interval() -> None:
    bare = {**UP, "low": None, "high": None}
    spread = {"plans": 0.01, "seeds": None, "p_value": None}
    differences = {"shared": bare, "private": bare, "both": bare}
    found = words(record("cannot tell", seeds=[5], differences=differences, spread=spread))
    assert "+2.0 points beside" in found[1] and not any("Random plans differ" in line for line in found)
    assert "give --seeds with two or more" in found[-1] and not any("however many seeds" in line for line in found)
