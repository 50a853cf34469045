"""All that a command imports, for the process that the tests' processes are forked from."""

import importlib
import os

import matplotlib.pyplot  # noqa: F401
import typer.main
from typer.testing import CliRunner

import adaptershare_cli.observe.head_importance
import adaptershare_cli.statistics.kendall
import adaptershare_cli.statistics.summary  # noqa: F401
import tests.faults.processes  # noqa: F401
from adaptershare_cli.cli.app import app
from adaptershare_cli.methods import METHODS

for method in METHODS:
    METHODS[method].build()
for command in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
    CliRunner().invoke(app, [command, "--help"])


def _import_encoder() -> None:
    """The modules of BERT and of its adapters, which the libraries import only when a model is built."""
    import adapters
    from transformers import BertConfig, BertModel

    sizes = {"num_hidden_layers": 1, "hidden_size": 2, "num_attention_heads": 1, "intermediate_size": 2}
    model = BertModel(BertConfig(vocab_size=2, max_position_embeddings=2, **sizes))
    adapters.init(model)
    model.add_adapter("x")  # type: ignore[operator]


_import_encoder()
if "ADAPTERSHARE_ROUNDING" in os.environ:  # the tests run as on another processor
    importlib.import_module("tests.rounding")
