"""HyperFormer and HyperFormer++ (ACL 2021): generators write every task's adapters from an embedding of the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptershare_cli.methods.hyperformer.settings import HyperFormerPlusPlusSettings, HyperFormerSettings
from adaptershare_cli.methods.spec import MethodSpec, Preset


def published(tasks: int, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """HyperFormer's published settings; adapters with reduction 32 after attention and feed-forward.

    Its four batches of 32 are one of 128 here; its label smoothing, and drawing rows with replacement, are not there.
    The schedule is its code's (500 updates of warm-up, then linear), where the paper says constant.
    """
    return {
        "train_layer_norms": True, "adapter_config": "double_seq_bn", "reduction_factor": 32, "max_seq_length": 128,
        "optim": "adamw_torch", "learning_rate": 3e-4, "lr_scheduler_type": "linear", "warmup_ratio": 500 / 65536,
        "max_steps": 65536, "per_device_train_batch_size": 128, "max_grad_norm": 1.0, "weight_decay": 0.0,
        "task_sampling": "temperature", "sampling_temperature": 10.0, "load_best_model_at_end": True,
    }  # fmt: skip


TABLES = ("adaptershare_cli.methods.planned.tables:last_plan",)
SPECS = (
    MethodSpec(
        name="hyperformer",
        package=__name__,
        citation="Parameter-efficient Multi-task Fine-tuning for Transformers via Shared Hypernetworks. ACL 2021.",
        summary="a generator a site writes each task's adapter from its embedding (--learning-rate 1e-4 unless given)",
        settings=HyperFormerSettings,
        code_version=1,
        tables=TABLES,
        presets=(Preset("hyperformer-paper", "HyperFormer's", published),),
    ),
    MethodSpec(
        name="hyperformer++",
        package=__name__,
        citation="Parameter-efficient Multi-task Fine-tuning for Transformers via Shared Hypernetworks. ACL 2021.",
        summary="one generator for all sites, told by task, layer and position (--learning-rate 1e-4 unless given)",
        settings=HyperFormerPlusPlusSettings,
        code_version=1,
        tables=TABLES,
    ),
)
