"""The pictures: files, the same bytes again, names in the SVG, and no warnings."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest

from adaptershare_cli import schemas
from adaptershare_cli.reporting import plots

pytestmark = pytest.mark.filterwarnings("error")

GLUE = ["mnli", "cola", "qnli", "qqp", "rte", "sst2", "stsb", "mrpc"]
LONG = ["banking77_intent_classification_with_all_intents", "a$b$c", "x<y>&z"]


def correlation(names, seed=0, null=0.1, measure="gradient", unknown=()) -> pd.DataFrame:
    values = np.random.default_rng(seed).uniform(-0.3, 0.3, size=(len(names), len(names)))
    values = abs(values) * 3 if measure == "plan" else values
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
class TestBoth:
    def test_heat_map(self, names, tmp_path):
        self.check(tmp_path, names, lambda stem: plots.heat_map(correlation(names), stem, "A title"))

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
            _, svg = plots.heat_map(correlation(names, null=math.nan), tmp_path / "h", "")
            assert self.written_values(svg) == written

    def test_unknown_values_are_left_blank(self, tmp_path):
        table = correlation(GLUE, null=math.nan, unknown=({"mnli", "cola"}, {"rte", "qqp"}))
        _, svg = plots.heat_map(table, tmp_path / "h", "")
        assert self.written_values(svg) == 52

    def test_nothing_known_is_drawn(self, tmp_path):
        assert plots.heat_map(correlation(GLUE).assign(value=math.nan, null_upper=math.nan), tmp_path / "h", "")

    def test_null_level_is_named_if_there_is_one(self, tmp_path):
        for null, there in ((0.123, True), (math.nan, False)):
            _, svg = plots.heat_map(correlation(GLUE, null=null), tmp_path / "h", "")
            assert ("null’s 95 % level: 0.12" in " ".join(svg_texts(svg))) is there

    def test_directed_sides_are_named(self, tmp_path):
        for directed in (True, False):
            _, svg = plots.heat_map(correlation(GLUE), tmp_path / "h", "", directed=directed)
            assert ({"source", "target"} <= set(svg_texts(svg))) is directed

    def test_similar_tasks_stand_together(self):
        values = np.full((6, 6), -0.1)
        for pair in ((0, 3), (1, 4), (2, 5)):
            values[pair] = values[pair[::-1]] = 0.5
        order = plots.leaves_list(plots._tree(values)).tolist()
        assert all(abs(order.index(i) - order.index(i + 3)) == 1 for i in range(3))

    def test_scale_is_centred_for_cosines_and_from_0_to_1_for_shares(self):
        values = np.array([[math.nan, -0.32], [0.1, math.nan]])
        scale = plots._colour_scale(values, np.full((2, 2), math.nan), signed=True)
        assert scale.vmin == -scale.vmax == pytest.approx(-0.35)
        scale = plots._colour_scale(values, values, signed=False)
        assert (scale.vmin, scale.vmax) == (0, 1)

    def test_no_rows_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="no rows"):
            plots.heat_map(correlation(GLUE).assign(layer=3), tmp_path / "h", "")


class TestSharingPicture:
    def test_one_plan_and_private_adapters(self, tmp_path):
        start = sharing(GLUE, steps=(0,))
        private = start.assign(group=start["task"].map(GLUE.index))
        _, svg = plots.sharing_picture(private, tmp_path / "s", "")
        assert svg_texts(svg).count("7") == 4  # the last group, in each of four layers

    def test_layer_without_an_adapter_is_drawn(self, tmp_path):
        table = sharing(GLUE)
        assert plots.sharing_picture(table[~((table["layer"] == 1) & (table["task"] == "rte"))], tmp_path / "s", "")

    def test_one_task_is_drawn(self, tmp_path):
        assert plots.sharing_picture(sharing(["alone"], steps=(0,)), tmp_path / "s", "")

    def test_close_steps_share_a_tick(self):
        assert plots._step_ticks([0.0, 1.0, 500.0], [0.0, 1.0, 500.0, 560.0], 2.0)[1] == ["0", "500"]


def test_global_state_is_left_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    plots.heat_map(correlation(GLUE), tmp_path / "h", "")
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_never_imported(tmp_path):
    code = "import sys, adaptershare_cli.reporting.plots; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
