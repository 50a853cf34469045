"""A task's folder: its adapter in the AdapterHub layout, its head beside it, and how to load both in plain torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.model.adapters import clean_config
from adaptershare_cli.model.fusion import Fusion
from adaptershare_cli.model.heads import MultiTaskModel

HEAD_FILE = "head.safetensors"
HEAD_CONFIG = "head.json"
NORM_FILE = "layer_norms.safetensors"
ENCODER_FILE = "encoder.safetensors"
NORM = "layer-norm/"  # how `serving` names them
FUSION_CONFIG = "adapter_fusion_config.json"

_README = """# Adapter of task `{task}`

{what}; the head is one linear layer on {read}. `head.json` holds the labels{scale}.

```python
import adapters, torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

tokenizer, encoder = AutoTokenizer.from_pretrained(ENCODER{blanks}), AutoModel.from_pretrained(ENCODER)
adapters.init(encoder)
{load}
encoder.eval()
head = load_file(FOLDER + "/head.safetensors")
{norms}{use}```
"""

_USE_ROWS = """# TEXTS is a list of texts; of a task of pairs give two lists: tokenizer(TEXTS, PAIRS, …). Truncate as in
# training (max_length, 128 unless --max-seq-length said otherwise).
inputs = tokenizer(TEXTS, padding=True, truncation=True, max_length=128, return_tensors="pt")
hidden = encoder(**inputs).last_hidden_state
mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
pooled = {formula}
logits = torch.nn.functional.linear(pooled, head["weight"], head["bias"])
"""
_USE_WORDS = """# SENTENCES is a list of lists of words. Give sentences of more than max_length tokens (in training 128,
# unless --max-seq-length said otherwise) in parts: their last words would be cut off.
inputs = tokenizer(
    SENTENCES, is_split_into_words=True, padding=True, truncation=True, max_length=128, return_tensors="pt"
)
hidden = encoder(**inputs).last_hidden_state
rows, first = [], []  # of each word its sentence, and the token of its first sub-word
for row in range(len(SENTENCES)):
    of_token = inputs.word_ids(row)
    found = [token for token, word in enumerate(of_token) if word is not None and word not in of_token[:token]]
    rows, first = rows + [row] * len(found), first + found
# One row a word, sentence after sentence.
logits = torch.nn.functional.linear(hidden[rows, first], head["weight"], head["bias"])
"""


_ADAPTER = "The adapter is in the AdapterHub layout (load it with `adapters`)"
_LOAD_ADAPTER = 'encoder.load_adapter(FOLDER, load_as="{task}", set_active=True, use_safetensors=True)'
_FUSION = "The adapters that the task attends over, and its AdapterFusion layer, load with `adapters`"
_LOAD_FUSION = """for name in {sources}:
    encoder.load_adapter(f"{{FOLDER}}/adapters/{{name}}", load_as=name, use_safetensors=True)
encoder.load_adapter_fusion(FOLDER + "/fusion", set_active=True, use_safetensors=True)"""


_ENCODER = "The encoder's own matrices as this task uses them are in `encoder.safetensors`"
_LOAD_ENCODER = 'encoder.load_state_dict(load_file(FOLDER + "/encoder.safetensors"), strict=False)'


def export_task(
    model: MultiTaskModel, task: str, folder: Path, matrices: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Write adapter (`adapter_config.json`, `adapter.safetensors`), head (`head.safetensors`, `head.json`), README.md.

    A model with fusion has a folder `adapters/<name>/` for each adapter, and `fusion/`, instead of the one adapter;
    one without adapters has `matrices` of the encoder, by their names in it, in `encoder.safetensors`.
    Where the encoder's layer norms were trained, they stand in `layer_norms.safetensors`. Same weights, same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if matrices is not None:
        _save(matrices, folder / ENCODER_FILE)
        _export_head(model, task, folder, _ENCODER, _LOAD_ENCODER)
    elif model.fusion is None:
        model.bank.export(task, folder)
        _export_head(model, task, folder, _ADAPTER, _LOAD_ADAPTER.format(task=task))
    else:
        _export_fusion(model.fusion, task, folder)
        _export_head(model, task, folder, _FUSION, _LOAD_FUSION.format(sources=model.fusion.sources()))


def _export_fusion(fusion: Fusion, task: str, folder: Path) -> None:
    """The adapters of all groups, each without the layers in which another stands for its group, and the fusion."""
    sources, bank = fusion.sources(), fusion.bank
    (folder / "adapters").mkdir(exist_ok=True)
    for source in sources:
        elsewhere = [n for n, groups in enumerate(bank.plan.layers) if source not in (group[0] for group in groups)]
        bank.export(source, folder / "adapters" / source, leave_out=elsewhere)
    with fusion.everywhere(task) as name:
        bank.encoder.save_adapter_fusion(str(folder / "fusion"), name, use_safetensors=True)
    clean_config(folder / "fusion" / FUSION_CONFIG, adapter_names=sources)


def _export_head(model: MultiTaskModel, task: str, folder: Path, what: str, load: str) -> None:
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
        "pooling": head_pooling(info, model.pooling),
        "encoder_type": model.encoder.config.model_type,
        "hidden_size": model.encoder.config.hidden_size,
    }
    (folder / HEAD_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    formula = "(hidden * mask).sum(1) / mask.sum(1)" if model.pooling == "mean" else "hidden[:, 0]"
    kind = KINDS[info.kind]
    scale = f"; {kind.output_note}" if kind.output_note else ""
    words = kind.usage == "words"
    read = (
        "the\nlast hidden state of each word's first sub-word"
        if words
        else f"the {model.pooling}-pooled\nlast hidden state"
    )
    load_norms = f'encoder.load_state_dict(load_file(FOLDER + "/{NORM_FILE}"), strict=False)\n' if norms else ""
    text = _README.format(
        task=task, what=what, load=load, read=read, scale=scale, norms=load_norms,
        use=_USE_WORDS if words else _USE_ROWS.format(formula=formula),
        blanks=", add_prefix_space=True" if words else "",
    )  # fmt: skip
    (folder / "README.md").write_text(text, encoding="utf-8")


def head_pooling(info: TaskInfo, pooling: str) -> str:
    """What a task's head reads, as head.json says it: the pooling of rows, or the first sub-word of each word."""
    return KINDS[info.kind].pooling or pooling


def _save(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
