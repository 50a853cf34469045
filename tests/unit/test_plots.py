"""The pictures: files, the same bytes again, names in the SVG, no warnings, no text over another."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from functools import partial

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.cluster.hierarchy import leaves_list

from adaptershare_cli import schemas
from adaptershare_cli.measures import MEASURES
from adaptershare_cli.measures.spec import SHARE
from adaptershare_cli.reporting import plots
from adaptershare_cli.reporting.plots import canvas, heatmap, scatter
from adaptershare_cli.reporting.plots import sharing as sharing_module

pytestmark = pytest.mark.filterwarnings("error")

GLUE = ["mnli", "cola", "qnli", "qqp", "rte", "sst2", "stsb", "mrpc"]
GRADIENT, DIRECTED = MEASURES["gradient"], MEASURES["gradient-directed"]
LONG = ["banking77_intent_classification_with_all_intents", "a$b$c", "x<y>&z"]


def correlation(names, seed=0, null=0.1, measure="gradient", unknown=()) -> pd.DataFrame:
    values = np.random.default_rng(seed).uniform(-0.3, 0.3, size=(len(names), len(names)))
    values = abs(values) * 3 if MEASURES[measure].unit == SHARE else values
    rows = []
    for i, source in enumerate(names):
        for j, target in enumerate(names):
            if i != j:
                value = math.nan if {source, target} in unknown else (values[i, j] + values[j, i]) / 2
                row = {"measure": measure, "layer": schemas.ALL_LAYERS, "source": source, "target": target}
                row |= {"value": value, "checks": 3, "standard_error": 0.1, "null_mean": 0.0, "null_upper": null}
                rows.append(row | {"p_value": 0.5})
    return pd.DataFrame(rows, columns=schemas.CORRELATION.names)


def sharing(names, layers=4, steps=(0, 100, 250)) -> pd.DataFrame:
    """At each change one more task gets a group of its own."""
    last = len(names) - 1
    return pd.DataFrame(
        [
            {"phase": "train", "step": step, "layer": layer, "task": task, "group": max(0, i - last + change)}
            for change, step in enumerate(steps)
            for layer in range(layers)
            for i, task in enumerate(names)
        ]
    )


def svg_texts(path) -> list[str]:
    return [("".join(node.itertext())).strip() for node in ElementTree.parse(path).iter() if node.tag.endswith("}text")]


@pytest.mark.parametrize("names", [["mnli", "rte"], LONG, GLUE, [f"task{i:02d}" for i in range(30)]], ids=len)
class TestAll:
    def test_heat_map(self, names, tmp_path):
        self.check(tmp_path, names, lambda stem: plots.heat_map(correlation(names), stem, "A title", GRADIENT))

    def test_scatter(self, names, tmp_path):
        values, truth = scatter_values(len(names))
        shown = names if len(names) <= 8 else []
        self.check(tmp_path, shown, lambda stem: plots.scatter_picture(values, truth, names, stem, "A title", "x", "y"))

    def test_sharing_picture(self, names, tmp_path):
        self.check(tmp_path, names, lambda stem: plots.sharing_picture(sharing(names), stem, "A title"))

    @staticmethod
    def check(folder, names, draw):
        stem = folder / "run-1.2"  # the dot is part of the name
        paths = draw(stem)
        assert [path.name for path in paths] == ["run-1.2.png", "run-1.2.svg"]
        assert sorted(folder.iterdir()) == sorted(paths)
        first = [path.read_bytes() for path in paths]
        assert first[0].startswith(b"\x89PNG") and b"<dc:date>" not in first[1]
        assert {"A title", *names} <= set(svg_texts(paths[1]))
        draw(stem)
        assert [path.read_bytes() for path in paths] == first


class TestHeatMap:
    @staticmethod
    def written_values(svg) -> int:
        """Texts like a value of `correlation`, which is within 0.3 of 0 (the dendrogram's ticks are above 0.6)."""
        return sum(bool(re.fullmatch(r"−?0\.[0-3]\d", text)) for text in svg_texts(svg))

    def test_values_are_written_for_few_tasks_only(self, tmp_path):
        for names, written in ((GLUE, 56), ([f"t{i}" for i in range(13)], 0)):
            _, svg = plots.heat_map(correlation(names, null=math.nan), tmp_path / "h", "", GRADIENT)
            assert self.written_values(svg) == written

    def test_unknown_values_are_left_blank(self, tmp_path):
        table = correlation(GLUE, null=math.nan, unknown=({"mnli", "cola"}, {"rte", "qqp"}))
        _, svg = plots.heat_map(table, tmp_path / "h", "", GRADIENT)
        assert self.written_values(svg) == 52

    def test_nothing_known_is_drawn(self, tmp_path):
        nothing = correlation(GLUE).assign(value=math.nan, null_upper=math.nan)
        assert plots.heat_map(nothing, tmp_path / "h", "", GRADIENT)

    def test_null_level_is_named_if_there_is_one(self, tmp_path):
        for null, there in ((0.123, True), (math.nan, False)):
            _, svg = plots.heat_map(correlation(GLUE, null=null), tmp_path / "h", "", GRADIENT)
            assert ("null’s 95 % level: 0.12" in " ".join(svg_texts(svg))) is there

    def test_directed_sides_are_named(self, tmp_path):
        for measure in (DIRECTED, GRADIENT):
            _, svg = plots.heat_map(correlation(GLUE), tmp_path / "h", "", measure)
            assert ({"source", "target"} <= set(svg_texts(svg))) is measure.directed

    def test_similar_tasks_stand_together(self):
        values = np.full((6, 6), -0.1)
        for pair in ((0, 3), (1, 4), (2, 5)):
            values[pair] = values[pair[::-1]] = 0.5
        order = leaves_list(heatmap.cluster(values)).tolist()
        assert all(abs(order.index(i) - order.index(i + 3)) == 1 for i in range(3))

    def test_scale_is_centred_for_cosines_and_from_0_to_1_for_shares(self):
        values = np.array([[math.nan, -0.32], [0.1, math.nan]])
        nothing = np.full((2, 2), math.nan)
        scale, colours = heatmap._colour_scale(values, nothing, whole=None)
        assert scale.vmin == -scale.vmax == pytest.approx(-0.35) and colours.name == "RdBu_r"
        scale, _ = heatmap._colour_scale(np.abs(values), nothing, whole=(0, 1))
        assert (scale.vmin, scale.vmax) == (0, 1)

    def test_colours_are_of_the_whole_range_unless_they_are_fitted(self, monkeypatch):
        """A cosine of 0.09 is as pale as it is small; that colours fit the data is said."""
        table = correlation(["a", "b", "c"]).assign(value=0.09)
        for measure, fitted, limits in (
            (GRADIENT, False, (-1, 1)),
            (GRADIENT, True, (-0.1, 0.1)),
            (DIRECTED, False, (-0.1, 0.1)),
        ):
            call = partial(plots.heat_map, table, "unused", "", measure, fitted)
            (picture,) = drawn(monkeypatch, heatmap, call)
            norm = picture.axes[0].images[0].norm
            assert (norm.vmin, norm.vmax) == pytest.approx(limits)
            words = " ".join(text.get_text() for text in texts(picture))
            assert ("colours fit the data" in words) is (limits != (-1, 1))

    def test_tasks_stand_in_the_runs_order_whatever_the_values(self, monkeypatch):
        for seed in range(3):
            call = partial(plots.heat_map, correlation(GLUE, seed), "unused", "", GRADIENT)
            (picture,) = drawn(monkeypatch, heatmap, call)
            assert [label.get_text() for label in picture.axes[0].get_xticklabels()] == GLUE

    @pytest.mark.parametrize(
        ("changes", "noise"),
        [
            ({"value": 0.3, "p_value": 0.01}, False),
            ({"value": -0.3, "p_value": 0.99}, False),  # the permutation test is one-sided
            ({"value": 0.3, "p_value": 0.17}, True),
            ({"value": 0.15, "p_value": math.nan}, True),  # within two standard errors of 0
            ({"value": 0.3, "p_value": math.nan}, False),
            ({"value": 0.3, "p_value": math.nan, "standard_error": math.nan}, False),
            ({"value": 0.3, "p_value": 0.01, "checks": 1}, True),
        ],
    )
    def test_what_cannot_be_told_from_chance_is_pale(self, monkeypatch, changes, noise):
        table = correlation(GLUE[:4]).assign(**changes)
        off = ~np.eye(4, dtype=bool)
        assert (heatmap.noise(table, GLUE[:4], GRADIENT)[off] == noise).all()
        (picture,) = drawn(monkeypatch, heatmap, lambda: plots.heat_map(table, "unused", "", GRADIENT))
        words = " ".join(text.get_text() for text in texts(picture))
        assert ("pale: not told from chance" in words) is noise
        assert ("1 check: too few to read" in words) is (changes.get("checks") == 1)

    @pytest.mark.parametrize("name", ["plan", "fusion", "mask-overlap"])
    def test_every_share_is_drawn_from_0_to_1(self, monkeypatch, name):
        table = correlation(GLUE, measure=name)
        (picture,) = drawn(monkeypatch, heatmap, lambda: plots.heat_map(table, "unused", "", MEASURES[name]))
        cells = picture.axes[0].images[0]
        assert (cells.norm.vmin, cells.norm.vmax) == (0, 1) and cells.cmap.name == "Blues"

    @pytest.mark.parametrize(("low", "high", "limits"), [(0.7, 0.9, (0.7, 0.9)), (500.0, 3000.0, (500, 3000))])
    def test_values_far_above_0_have_a_scale_of_their_own(self, low, high, limits):
        values = np.full((3, 3), low)
        values[0, 1] = high
        scale, colours = heatmap._colour_scale(values, np.full((3, 3), math.nan), whole=None)
        assert (scale.vmin, scale.vmax) == limits and colours.name == "Blues"

    def test_small_values_of_one_sign_keep_0_in_the_middle(self):
        values = np.array([[math.nan, 0.09, 0.17], [0.11, math.nan, 0.1], [0.15, 0.12, math.nan]])
        scale, colours = heatmap._colour_scale(values, np.full((3, 3), math.nan), whole=None)
        assert (scale.vmin, scale.vmax) == pytest.approx((-0.2, 0.2)) and colours.name == "RdBu_r"

    def test_unknown_cells_and_sides_are_explained(self, tmp_path):
        table = correlation(GLUE, unknown=({"mnli", "cola"},))
        _, svg = plots.heat_map(table, tmp_path / "h", "", DIRECTED)
        text = " ".join(svg_texts(svg))
        assert "hatched: unknown" in text and "row = source, column = target" in text
        assert svg.read_text(encoding="utf-8").count("<pattern ") == 1

    def test_rows_are_sources(self, monkeypatch):
        """The cell of a directed pair has its value's colour, at the source's row and the target's column."""
        table = correlation(["a", "b"]).assign(value=[0.3, -0.3])  # a -> b, then b -> a
        (picture,) = drawn(monkeypatch, heatmap, lambda: plots.heat_map(table, "unused", "", DIRECTED))
        axes = picture.axes[0]
        rows, columns = (
            [label.get_text() for label in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels())
        )
        cells = axes.images[0].get_array()
        assert cells[rows.index("a"), columns.index("b")] == 0.3 and cells[rows.index("b"), columns.index("a")] == -0.3

    def test_clusters_do_not_depend_on_the_unit(self):
        similarity = np.random.default_rng(0).normal(size=(7, 7))
        small, large = (leaves_list(heatmap.cluster(similarity * unit)).tolist() for unit in (0.01, 1000.0))
        assert large in (small, small[::-1])

    def test_no_rows_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="no rows"):
            plots.heat_map(correlation(GLUE).assign(layer=3), tmp_path / "h", "", GRADIENT)


class TestSharingPicture:
    def test_one_plan_and_private_adapters(self, tmp_path):
        start = sharing(GLUE, steps=(0,))
        private = start.assign(group=start["task"].map(GLUE.index))
        _, svg = plots.sharing_picture(private, tmp_path / "s", "")
        assert svg_texts(svg).count("7") == 4  # the last group, in each of four layers

    def test_a_group_has_the_colour_of_its_first_task_whatever_its_number(self, monkeypatch):
        """{a c} {b} in both layers, numbered otherwise in the second: the same colours, tasks in the table's order."""
        groups = {"a": (0, 1), "b": (1, 0), "c": (0, 1)}
        rows = [
            {"phase": "main", "step": 0, "layer": layer, "task": task, "group": of[layer]}
            for layer in range(2)
            for task, of in groups.items()
        ]
        call = lambda: plots.sharing_picture(pd.DataFrame(rows), "unused", "")  # noqa: E731
        (picture,) = drawn(monkeypatch, sharing_module, call)
        cells = {patch.get_xy(): patch.get_facecolor() for patch in picture.axes[0].patches}
        of_tasks = [[cells[task - 0.5, layer - 0.5] for task in range(3)] for layer in range(2)]
        assert of_tasks[0] == of_tasks[1] and of_tasks[0][0] == of_tasks[0][2] != of_tasks[0][1]
        assert [label.get_text() for label in picture.axes[0].get_xticklabels()] == ["a", "b", "c"]

    def test_layer_without_an_adapter_is_drawn(self, tmp_path):
        table = sharing(GLUE)
        assert plots.sharing_picture(table[~((table["layer"] == 1) & (table["task"] == "rte"))], tmp_path / "s", "")

    def test_one_task_is_drawn(self, tmp_path):
        assert plots.sharing_picture(sharing(["alone"], steps=(0,)), tmp_path / "s", "")

    @pytest.mark.parametrize(("last_step", "end"), [(1000, 1000), (250, 255), (None, 280)])
    def test_time_goes_to_the_end_of_training(self, monkeypatch, last_step, end):
        """A split at the very end is still seen; without an end the last plan holds on for a while."""
        call = lambda: plots.sharing_picture(sharing(GLUE), "unused", "", last_step)  # noqa: E731
        (picture,) = drawn(monkeypatch, sharing_module, call)
        axes = picture.axes[1]
        assert axes.get_xlim() == pytest.approx((0, end))
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels == ["0", "100", "250", *(["1000"] if last_step == 1000 else [])]
        assert axes.get_xticks(minor=True).tolist() in ([], [0, 100, 250], [100])

    def test_close_steps_share_a_tick(self):
        assert sharing_module._step_ticks([0.0, 1.0, 500.0, 560.0], None, 280.0)[1] == ["0", "500"]
        assert sharing_module._step_ticks([0.0, 1.0, 500.0, 560.0], 570, 280.0)[1] == ["0", "570"]


class TestBands:
    def test_by_hand(self):
        """{a b c} | {a c} {b} | {a} {c} {b}: the tasks stand as a, c, b; numbers change, groups stay."""
        history = np.array([[0, 0, 0], [0, 1, 2], [0, 0, 1]], dtype=float)
        assert sorted(sharing_module.bands(history)) == [
            (0, 1, 0, 3, None),
            (1, 2, 0, 2, None),
            (1, 3, 2, 1, 2.0),  # b alone, number 1 and then 2
            (2, 3, 0, 1, 0.0),
            (2, 3, 1, 1, 1.0),
        ]

    def test_a_task_without_an_adapter_has_no_band(self):
        assert sharing_module.bands(np.array([[0.0], [math.nan], [0.0]])) == [(0, 1, 0, 2, 0.0)]

    @given(st.integers(0, 2**32 - 1))
    @settings(max_examples=40, deadline=None)
    def test_law_bands_tile_the_time_of_every_task(self, seed):
        generator = np.random.default_rng(seed)
        history = [np.zeros(7, dtype=int)]
        for _ in range(5):  # each change splits at random
            history.append(history[-1] * 2 + generator.integers(2, size=7) * (generator.random() < 0.7))
        groups = np.array([np.unique(step, return_inverse=True)[1] for step in history]).T.astype(float)
        found = sharing_module.bands(groups)
        covered = np.zeros((7, 6), dtype=int)
        for start, stop, place, count, number in found:
            covered[place : place + count, start:stop] += 1
            assert (number is None) == (stop < 6)
        assert (covered == 1).all()
        alive = [len({tuple(band) for band in found if band[0] <= change < band[1]}) for change in range(6)]
        assert alive == [len(set(step)) for step in history]


def scatter_values(tasks: int, seeds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(tasks, tasks)) / 5
    return values, values / 10 + generator.normal(size=(seeds, tasks, tasks)) / 50


class TestScatter:
    def draw(self, monkeypatch, values, truth, **options) -> tuple[Figure, list[str]]:
        names = [f"t{place}" for place in range(len(values))]
        call = lambda: plots.scatter_picture(values, truth, names, "unused", "", "x", "y", **options)  # noqa: E731
        (picture,) = drawn(monkeypatch, scatter, call)
        return picture, [text.get_text() for text in texts(picture)]

    def test_points_bars_and_words(self, monkeypatch):
        values, truth = scatter_values(4)
        values[0, 1] = math.nan
        picture, words = self.draw(monkeypatch, values, truth, note="p = 0.01")
        axes = picture.axes[0]
        points = {(float(x), float(y)) for line in axes.lines for x, y in zip(*line.get_data(), strict=True)}
        mean = truth.mean(axis=0)
        expected = {(values[s, t], mean[s, t]) for s in range(4) for t in range(4) if s != t and (s, t) != (0, 1)}
        assert expected <= points and len(axes.collections[0].get_segments()) == 11
        (low, high), *_ = (segment[:, 1] for segment in axes.collections[0].get_segments())
        assert high - low == pytest.approx(2 * truth[:, 0, 2].std(ddof=1) / math.sqrt(3))
        x, y = zip(*expected, strict=True)
        rho = canvas.number(pd.Series(x).corr(pd.Series(y), method="spearman"))
        assert f"Spearman’s ρ = {rho} over 11 pairs, p = 0.01\nline: least squares; " in "".join(words)

    def test_one_seed_has_no_bars(self, monkeypatch):
        values, truth = scatter_values(3, seeds=1)
        _, words = self.draw(monkeypatch, values, truth)
        assert "bars" not in " ".join(words)

    def test_constant_measure_and_one_pair(self, monkeypatch):
        for values in (np.ones((3, 3)), np.where(np.eye(3, k=1) * [0, 1, 0], 0.5, math.nan)):
            _, words = self.draw(monkeypatch, values, scatter_values(3)[1])
            assert "ρ = undefined" in " ".join(words)

    def test_nothing_known_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="no pair"):
            plots.scatter_picture(
                np.full((2, 2), math.nan), np.zeros((1, 2, 2)), ["a", "b"], tmp_path / "s", "", "", ""
            )


def drawn(monkeypatch, module, call) -> list[Figure]:
    """The figures that a picture's function would have saved."""
    figures: list[Figure] = []
    with monkeypatch.context() as patch:
        patch.setattr(module, "save", lambda figure, stem: figures.append(figure) or [])
        call()
    return figures


def texts(figure: Figure) -> list[Text]:
    """Every text that drawing the figure draws (tick labels out of sight are not)."""
    found: list[Text] = []
    original = Text.draw
    try:
        Text.draw = lambda self, *args, **kwargs: (found.append(self), original(self, *args, **kwargs))[1]  # type: ignore
        figure.draw_without_rendering()
    finally:
        Text.draw = original  # type: ignore[method-assign]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def corners(text: Text) -> np.ndarray:
    """The four corners of the text as it is turned, in pixels, one pixel smaller on each side."""
    whole, angle = text.get_window_extent(), text.get_rotation()
    text.set_rotation(0)
    flat = text.get_window_extent()
    text.set_rotation(angle)
    middle = np.array([whole.x0 + whole.x1, whole.y0 + whole.y1]) / 2
    half = np.array([flat.width, flat.height]) / 2 - 1
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    turn = np.array([[cosine, sine], [-sine, cosine]])
    return middle + (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half) @ turn


def box(extent) -> np.ndarray:
    return np.array([[extent.x0, extent.y0], [extent.x1, extent.y0], [extent.x1, extent.y1], [extent.x0, extent.y1]])


def overlap(one: np.ndarray, other: np.ndarray) -> bool:
    """Do two rectangles (four corners each) overlap? They do not if a side of one parts them."""
    for side in (*np.diff(one[:3], axis=0), *np.diff(other[:3], axis=0)):
        across = np.array([-side[1], side[0]])
        if (one @ across).max() <= (other @ across).min() or (other @ across).max() <= (one @ across).min():
            return False
    return True


def many_names(tasks: int) -> list[str]:
    return {3: LONG, 8: GLUE}.get(tasks, [f"a_longer_name-{place:02d}" for place in range(tasks)])


TITLE = "transfer: what the target gains from training on the source first, over five seeds and some more words"
PICTURES = {
    "heat map": (heatmap, lambda names: plots.heat_map(correlation(names), "unused", "A title", GRADIENT)),
    "directed": (
        heatmap,
        lambda names: plots.heat_map(
            correlation(names, unknown=({names[0], names[1]},)).assign(value=lambda table: table["value"] / 20),
            "unused", TITLE, DIRECTED,
        ),
    ),
    "fitted": (
        heatmap,
        lambda names: plots.heat_map(correlation(names).assign(p_value=0.01), "unused", "A title", GRADIENT, True),
    ),
    "large values": (
        heatmap,
        lambda names: plots.heat_map(
            correlation(names, null=math.nan, measure="size").assign(value=lambda table: 2e5 * (table["value"] + 0.4)),
            "unused", "size", MEASURES["size"],
        ),
    ),
    "sharing": (sharing_module, lambda names: plots.sharing_picture(sharing(names, layers=6), "unused", TITLE, 900)),
    "many splits": (
        sharing_module,
        lambda names: plots.sharing_picture(
            sharing(names, layers=12, steps=range(0, 320, 40)), "unused", "A", 330
        ),
    ),
    "scatter": (
        scatter,
        lambda names: plots.scatter_picture(*scatter_values(len(names)), names, "unused", TITLE, "measure", "transfer"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("tasks", [3, 8, 30])
@pytest.mark.parametrize("picture", PICTURES)
def test_texts_are_whole_and_do_not_overlap(monkeypatch, picture, tasks):
    module, draw = PICTURES[picture]
    (figure,) = drawn(monkeypatch, module, lambda: draw(many_names(tasks)))
    found = [(text.get_text(), corners(text)) for text in texts(figure)]
    if not (picture == "scatter" and tasks > 8):
        assert set(many_names(tasks)) <= {words for words, _ in found}
    for place, (words, one) in enumerate(found):
        for others, other in found[place + 1 :]:
            assert not overlap(one, other), f"{words!r} lies over {others!r}"
        for axes in figure.axes:
            inside = box(axes.get_window_extent())
            if overlap(one, inside):  # then it is a text of this plot, and within it
                low, high = inside.min(axis=0) - 1, inside.max(axis=0) + 1
                assert (one >= low).all() and (one <= high).all(), f"{words!r} reaches into a plot"
    whole = figure.get_tightbbox().padded(0.01).extents * figure.dpi  # what `save` keeps
    assert all((one >= whole[:2]).all() and (one <= whole[2:]).all() for _, one in found)


def test_overlaps_are_found(monkeypatch):
    """The check itself: names that are too long for their cells lie over each other when they are not turned."""
    monkeypatch.setattr(
        heatmap, "name_columns", lambda axes, names, cell: axes.set_xticks(range(len(names)), names) and 9
    )
    (figure,) = drawn(monkeypatch, heatmap, lambda: plots.heat_map(correlation(many_names(13)), "unused", "", GRADIENT))
    found = [corners(text) for text in texts(figure)]
    assert any(overlap(one, other) for place, one in enumerate(found) for other in found[place + 1 :])


def test_global_state_is_left_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    plots.heat_map(correlation(GLUE), tmp_path / "h", "", GRADIENT)
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_never_imported(tmp_path):
    code = "import sys, adaptershare_cli.reporting.plots; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
