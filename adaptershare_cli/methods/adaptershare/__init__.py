"""AdapterShare (EMNLP 2022): shared adapters, parted where held-out gradients conflict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from adaptershare_cli.methods.adaptershare.settings import AdapterShareSettings
from adaptershare_cli.methods.planned.settings import ObserveSettings
from adaptershare_cli.methods.spec import MethodSpec, Preset


def published(tasks: int, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The original's published settings for `tasks` tasks (its specification, section 4).

    Its batches of 8 with two accumulated are batches of 16 here; its check at update 0 comes after update 1; its
    held-out rows stood in the scored split, ours are cut from train.
    """
    values = {
        "rule": "threshold", "row_gradients": "raw", "check_every": 5 * tasks, "first_check": 1, "heldout_size": 20,
        "max_interference": 0.0,
        "guard": "agreement", "min_intra_similarity": 2.0, "max_growth": float(tasks), "optim": "adamax",
        "learning_rate": 5e-5, "warmup_ratio": 0.1, "lr_scheduler_type": "linear", "max_grad_norm": 1.0,
        "weight_decay": 0.0, "per_device_train_batch_size": 16, "num_train_epochs": 10.0,
    }  # fmt: skip
    if chosen.get("observe") is False:
        return {name: value for name, value in values.items() if name not in {f.name for f in fields(ObserveSettings)}}
    return values


SPECS = (
    MethodSpec(
        name="adaptershare",
        package=__name__,
        citation="AdapterShare: Task Correlation Modeling with Adapter Differentiation. EMNLP 2022.",
        summary="start shared, split where held-out gradients conflict",
        settings=AdapterShareSettings,
        code_version=4,
        start="adaptershare_cli.methods.planned.start",
        tables=(
            "adaptershare_cli.methods.planned.tables:last_plan",
            "adaptershare_cli.methods.attention_table:attended",
        ),
        presets=(Preset("paper", "the original AdapterShare's", published),),
    ),
)
