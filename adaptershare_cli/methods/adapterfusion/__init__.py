"""AdapterFusion (EACL 2021): adapters are trained first, then each task learns to attend over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptershare_cli.methods.adapterfusion.settings import AdapterFusionSettings
from adaptershare_cli.methods.spec import MethodSpec, Preset

STAGE_ONE = ("learning_rate", "stage_one_share")  # options that have no effect where the adapters are there already


def published(tasks: int, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """AdapterFusion's published settings: 30 epochs for the adapters, at most 10 for the fusion.

    The best step on the select rows stands for its early stopping; batches of 32 are the library's documentation's.
    """
    values = {
        "learning_rate": 1e-4, "fusion_learning_rate": 5e-5, "num_train_epochs": 30.0, "stage_one_share": 1.0,
        "stage_two_share": 1 / 3, "lr_scheduler_type": "linear", "warmup_ratio": 0.0, "optim": "adamw_torch",
        "weight_decay": 0.0, "per_device_train_batch_size": 32, "reduction_factor": 16, "adapter_config": "seq_bn",
        "encoder_dropout": True, "load_best_model_at_end": True,
    }  # fmt: skip
    settings = AdapterFusionSettings(adapters=chosen.get("adapters"), fusion_over=chosen.get("fusion_over"))
    return {name: value for name, value in values.items() if settings.trains_adapters or name not in STAGE_ONE}


SPECS = (
    MethodSpec(
        name="adapterfusion",
        package=__name__,
        citation="AdapterFusion: Non-Destructive Task Composition for Transfer Learning. EACL 2021.",
        summary="train adapters first, then each task attends over all of them",
        settings=AdapterFusionSettings,
        code_version=2,
        start=f"{__name__}.start",
        tables=("adaptershare_cli.methods.attention_table:attended",),
        presets=(Preset("adapterfusion-paper", "AdapterFusion's", published),),
    ),
)
