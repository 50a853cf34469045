"""Score one exported task with plain `adapters`, `transformers` and torch: no import of adaptershare_cli.

usage: plain_predictions.py ENCODER RUN_FOLDER TASK DOWNLOADED_PARQUET SPLIT MAX_LENGTH THREADS
Prints the number of rows whose logits equal those of predictions.parquet bit for bit, and the number of rows.
Rows are batched as the run scored them: 64 at a time, longest first, padded to the longest of the batch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import adapters
import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer


def main(encoder_folder: str, run: str, task: str, parquet: str, split: str, max_length: int) -> None:
    """See the module."""
    folder = Path(run) / "tasks" / task
    config = json.loads((folder / "head.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(encoder_folder)
    encoder = AutoModel.from_pretrained(encoder_folder, add_pooling_layer=False)
    adapters.init(encoder)
    encoder.load_adapter(str(folder), load_as=task, set_active=True, use_safetensors=True)
    encoder.eval()
    head = load_file(folder / "head.safetensors")
    if (folder / "layer_norms.safetensors").exists():
        encoder.load_state_dict(load_file(folder / "layer_norms.safetensors"), strict=False)

    gold = pd.read_parquet(Path(run) / "predictions.parquet")
    gold = gold[(gold["task"] == task) & (gold["split"] == split)].reset_index(drop=True)
    rows = pd.read_parquet(parquet).set_index("row").loc[gold["row"]]
    pairs = rows["text_pair"].tolist() if rows["text_pair"].notna().all() else None
    encoded = tokenizer(rows["text"].tolist(), pairs, truncation=True, max_length=max_length)
    lengths = np.array([len(ids) for ids in encoded["input_ids"]])
    order = np.argsort(-lengths, kind="stable")
    logits = np.zeros((len(rows), len(head["bias"])), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), 64):
            part = order[start : start + 64]
            batch = tokenizer.pad(
                {name: [values[i] for i in part] for name, values in encoded.items()}, return_tensors="pt"
            )
            hidden = encoder(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1) if config["pooling"] == "mean" else hidden[:, 0]
            logits[part] = torch.nn.functional.linear(pooled, head["weight"], head["bias"]).numpy()
    equal = (logits == np.stack(gold["logits"])).all(1)
    print(json.dumps({"equal": int(equal.sum()), "rows": len(equal)}))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[7]))
    main(*sys.argv[1:6], max_length=int(sys.argv[6]))
