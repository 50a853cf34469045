"""All that a command imports, for the process that the tests' processes are forked from."""

import gc
import importlib
import os
import pkgutil

import matplotlib.pyplot  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.metrics  # noqa: F401
import typer.main
from typer.testing import CliRunner

import adaptershare_cli
import tests.cli.conftest
import tests.faults.processes  # noqa: F401
from adaptershare_cli.cli.app import app

for module in pkgutil.walk_packages(adaptershare_cli.__path__, "adaptershare_cli."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
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
gc.collect()
gc.freeze()  # a collection in a forked process would write into, and so copy, all of this
