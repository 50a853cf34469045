"""A graph of every family of encoders and of every way in which adapters are used says what the model says."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptershare_cli.model.families import FAMILIES
from adaptershare_cli.model.onnx_graph import GRAPH, TOLERANCE, write_graph
from tests.unit.test_export import attending, scrambled

pytestmark = pytest.mark.slow  # three seconds a graph


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["mean", "cls", "generated", "attending"])
def test_a_graph_says_what_the_model_says(encoders: dict[str, Path], tmp_path: Path, family: str, how: str) -> None:
    if how == "attending":
        method = attending(encoders[family])
    else:
        pooling = "cls" if how == "cls" else "mean"
        method = scrambled(encoders[family], pooling, "hyperformer++" if how == "generated" else "shared")
    method.model.eval()
    assert 0 <= write_graph(method.model, "first", tmp_path / GRAPH) <= TOLERANCE
