"""What the files of a task's folder, and of a run beside them, are called. No torch here: these names are looked at."""

from __future__ import annotations

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter.safetensors"  # as `adapters` calls them
HEAD_CONFIG, HEAD_WEIGHTS = "head.json", "head.safetensors"
NORM_WEIGHTS = "layer_norms.safetensors"
GENERATORS = "hypernetwork.safetensors"  # in the folder of a run of HyperFormer
