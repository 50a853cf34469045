"""Charts of the report's page: scales, fronts, curves and plans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.reporting.charts import confusion_points, cost_drawing, curve_charts, pareto_front, plan_drawing
from adaptershare_cli.reporting.charts.curves import line_class, mean_curve
from adaptershare_cli.reporting.charts.drawing import Scale, tick_text
from adaptershare_cli.reporting.charts.points import letter
from tests.pages import facts_of, made_up

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
POINTS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(st.lists(NUMBERS, min_size=1, max_size=9))
def test_a_scale_holds_its_values_and_its_ticks_lie_within(values: list[float]) -> None:
    scale = Scale.holding(values, 10, 90)
    assert all(9.99 <= scale(value) <= 90.01 for value in values)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 12 and ticks == sorted(ticks)
    assert all(scale.low - 1e-6 <= tick <= scale.high + 1e-6 for tick in ticks)


def test_a_logarithmic_scale_has_round_ticks() -> None:
    scale = Scale.holding([900.0, 120_000.0], 0, 100, logarithmic=True)
    assert scale(900) > 0 and scale(120_000) < 100 and 2 <= len(scale.ticks()) <= 6
    assert [tick_text(value) for value in (1200.0, 3e6, -0.5)] == ["1.2k", "3M", "\N{MINUS SIGN}0.5"]


@given(POINTS)
def test_nothing_beats_what_is_on_the_front_and_something_beats_the_rest(points: list[tuple[int, int]]) -> None:
    front = pareto_front(points)

    def beaten(place: int) -> bool:
        cost, score = points[place]
        return any((c <= cost and s > score) or (c < cost and s >= score) for c, s in points)

    assert front and not any(map(beaten, front))
    on = {points[place] for place in front}
    assert all(beaten(place) or points[place] in on for place in range(len(points)))


def test_costs_are_drawn_for_methods_that_have_both() -> None:
    group = facts_of(made_up(methods=("private", "shared"))).groups[0]
    found = cost_drawing(group.rows)
    assert found is not None
    drawing, legend = found
    assert [sign for sign, _ in legend] == ["A", "B"] and "private" in drawing.title
    assert sum(shape.tag == "circle" for shape in drawing.shapes) == 2
    assert cost_drawing(group.rows[:1]) is None
    assert [letter(number) for number in (0, 25, 26)] == ["A", "Z", "A2"]


def test_curves_are_means_over_the_updates_that_all_seeds_have() -> None:
    assert mean_curve([[(1, 2.0), (2, 4.0)], [(2, 6.0), (3, 1.0)]]) == [(2, 5.0)]
    assert mean_curve([]) == []
    charts = curve_charts({"a": {"x": [(1, 2.0)], "y": [(1, 1.0), (2, 3.0)]}, "b": {"x": []}}, ["x", "y"], "loss")
    assert [task for task, _ in charts] == ["a"]
    assert [line_class(number) for number in (0, 9)] == ["curve c0", "curve c1 dashed"]


def test_a_plan_has_a_cell_a_layer_and_task_and_bands_that_part() -> None:
    history = {0: np.array([[0.0, 0.0], [0.0, 1.0]]), 1: np.array([[0.0, 0.0], [np.nan, np.nan]])}
    drawing = plan_drawing(history, ["a", "b"], [0, 5], 20, "plan")
    tips = [shape.tip for shape in drawing.shapes if shape.tip]
    assert tips == ["layer 0: a", "layer 0: b", "layer 1: a"]
    bands = [shape for shape in drawing.shapes if "band" in str(shape.attributes["class"])]
    assert len(bands) == 4 and sum("g-split" in str(shape.attributes["class"]) for shape in bands) == 1


def test_predictions_lie_on_the_line_where_they_are_right() -> None:
    drawing = confusion_points([0.0, 5.0], [0.0, 5.0], "scores")
    dots = [shape.attributes for shape in drawing.shapes if shape.attributes["class"] == "dot"]
    (line,) = [shape.attributes for shape in drawing.shapes if shape.attributes["class"] == "equal"]
    slope = (line["y2"] - line["y1"]) / (line["x2"] - line["x1"])  # type: ignore[operator]
    for dot in dots:
        assert dot["cy"] == pytest.approx(line["y1"] + slope * (dot["cx"] - line["x1"]), abs=0.2)  # type: ignore[operator]
