"""A task's folder: its adapter in the AdapterHub layout, its head beside it, and how to load both in plain torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from adaptershare_cli.model.heads import MultiTaskModel

HEAD_FILE = "head.safetensors"
HEAD_CONFIG = "head.json"
NORM_FILE = "layer_norms.safetensors"
NORM = "layer-norm/"  # how `serving` names them

_README = """# Adapter of task `{task}`

The adapter is in the AdapterHub layout (load it with `adapters`); the head is one linear layer on the {pooling}-pooled
last hidden state. `head.json` holds the labels{scale}.

```python
import adapters, torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

tokenizer, encoder = AutoTokenizer.from_pretrained(ENCODER), AutoModel.from_pretrained(ENCODER)
adapters.init(encoder)
encoder.load_adapter(FOLDER, load_as="{task}", set_active=True, use_safetensors=True)
encoder.eval()
head = load_file(FOLDER + "/head.safetensors")
{norms}# TEXTS is a list of texts; of a task of pairs give two lists: tokenizer(TEXTS, PAIRS, …). Truncate as in
# training (max_length, 128 unless --max-seq-length said otherwise).
inputs = tokenizer(TEXTS, padding=True, truncation=True, max_length=128, return_tensors="pt")
hidden = encoder(**inputs).last_hidden_state
mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
pooled = {formula}
logits = torch.nn.functional.linear(pooled, head["weight"], head["bias"])
```
"""


def export_task(model: MultiTaskModel, task: str, folder: Path) -> None:
    """Write adapter (`adapter_config.json`, `adapter.safetensors`), head (`head.safetensors`, `head.json`), README.md.

    Where the encoder's layer norms were trained, they stand in `layer_norms.safetensors`. Same weights, same bytes.
    """
    model.bank.export(task, folder)
    info = model.infos[task]
    linear = model.heads[task].linear
    _save({"weight": linear.weight, "bias": linear.bias}, folder / HEAD_FILE)
    norms = {n.removeprefix(NORM): t for n, t in model.serving(task).items() if n.startswith(NORM)}
    if norms:
        _save(norms, folder / NORM_FILE)
    config = {
        "task": task,
        "kind": info.kind,
        "labels": list(info.labels),
        "range": list(info.range) if info.range else None,
        "pooling": model.pooling,
        "encoder_type": model.encoder.config.model_type,
        "hidden_size": model.encoder.config.hidden_size,
    }
    (folder / HEAD_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    formula = "(hidden * mask).sum(1) / mask.sum(1)" if model.pooling == "mean" else "hidden[:, 0]"
    scale = "" if info.kind == "classification" else "; the output -1..1 stands for the range in it"
    load_norms = f'encoder.load_state_dict(load_file(FOLDER + "/{NORM_FILE}"), strict=False)\n' if norms else ""
    text = _README.format(task=task, pooling=model.pooling, formula=formula, scale=scale, norms=load_norms)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _save(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)


def load_task(model: MultiTaskModel, task: str, folder: Path) -> None:
    """Take up the adapter and the head that `export_task` wrote into `folder`, copied in place."""
    model.bank.load(task, folder)
    saved = load_file(folder / HEAD_FILE)
    with torch.no_grad():
        for name, parameter in model.heads[task].linear.named_parameters():
            parameter.copy_(saved[name])
