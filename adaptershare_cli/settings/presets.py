"""The settings of publications, by option."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import fields
from typing import Any

from adaptershare_cli.settings.methods import ObserveSettings

STAGE_ONE = ("learning_rate", "stage_one_share")  # options of `adapterfusion` that given adapters leave without effect


def fusion_preset(tasks: int) -> dict[str, Any]:
    """AdapterFusion's published settings, by option: 30 epochs for the adapters, at most 10 for the fusion.

    The best step on the select rows stands for its early stopping; batches of 32 are the library's documentation's.
    """
    return {
        "learning_rate": 1e-4, "fusion_learning_rate": 5e-5, "num_train_epochs": 30.0, "stage_one_share": 1.0,
        "stage_two_share": 1 / 3, "lr_scheduler_type": "linear", "warmup_ratio": 0.0, "optim": "adamw_torch",
        "weight_decay": 0.0, "per_device_train_batch_size": 32, "reduction_factor": 16, "adapter_config": "seq_bn",
        "encoder_dropout": True, "load_best_model_at_end": True,
    }  # fmt: skip


def paper_preset(tasks: int) -> dict[str, Any]:
    """The original's published settings for `tasks` tasks (specs section 4), by option.

    Its batches of 8 with two accumulated are batches of 16 here; its check at update 0 comes after update 1; its
    held-out rows stood in the scored split, ours are cut from train.
    """
    return {
        "rule": "threshold", "row_gradients": "raw", "check_every": 5 * tasks, "first_check": 1, "heldout_size": 20,
        "max_interference": 0.0,
        "guard": "agreement", "min_intra_similarity": 2.0, "max_growth": float(tasks), "optim": "adamax",
        "learning_rate": 5e-5, "warmup_ratio": 0.1, "lr_scheduler_type": "linear", "max_grad_norm": 1.0,
        "weight_decay": 0.0, "per_device_train_batch_size": 16, "num_train_epochs": 10.0,
    }  # fmt: skip


def hyperformer_preset(tasks: int) -> dict[str, Any]:
    """HyperFormer's published settings, by option; adapters with reduction 32 after attention and feed-forward.

    Its four batches of 32 are one of 128 here; its label smoothing, and drawing rows with replacement, are not there.
    The schedule is its code's (500 updates of warm-up, then linear), where the paper says constant.
    """
    return {
        "train_layer_norms": True, "adapter_config": "double_seq_bn", "reduction_factor": 32, "max_seq_length": 128,
        "optim": "adamw_torch", "learning_rate": 3e-4, "lr_scheduler_type": "linear", "warmup_ratio": 500 / 65536,
        "max_steps": 65536, "per_device_train_batch_size": 128, "max_grad_norm": 1.0, "weight_decay": 0.0,
        "task_sampling": "temperature", "sampling_temperature": 10.0, "load_best_model_at_end": True,
    }  # fmt: skip


PRESETS = {"paper": paper_preset, "hyperformer-paper": hyperformer_preset, "adapterfusion-paper": fusion_preset}


def preset_values(preset: str, tasks: int, given: dict[str, Any], methods: Container[str]) -> dict[str, Any]:
    """The options that were given, and those of a preset for `tasks` tasks that have an effect beside them.

    `methods` are the names of all methods: --fusion-over something else means adapters that are there already.
    """
    values = PRESETS[preset](tasks)
    if "adapters" in given or ("fusion_over" in given and given["fusion_over"] not in methods):
        values = {name: value for name, value in values.items() if name not in STAGE_ONE}
    if "max_steps" in given:
        values.pop("num_train_epochs", None)
    if given.get("observe") is False:
        values = {k: v for k, v in values.items() if k not in {item.name for item in fields(ObserveSettings)}}
    return values | given
