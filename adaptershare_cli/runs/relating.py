"""How tasks relate by a measure of single-task adapters, for a run that is being planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from adaptershare_cli.measures import MEASURES
from adaptershare_cli.measures.base import Scope
from adaptershare_cli.measures.needs import TunedModels
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.runs.context import StageContext, ensure
from adaptershare_cli.runs.rows import read_parts, task_info
from adaptershare_cli.runs.runtime import resolve_runtime
from adaptershare_cli.schemas import ALL_LAYERS, RELATION
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import PreproRecord
from adaptershare_cli.store.workspace import GROUPS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from adaptershare_cli.model.heads import MultiTaskModel


def loaded_encoder(context: StageContext) -> PreTrainedModel:
    """The context's encoder, on its device and with its number of threads."""
    import torch

    from adaptershare_cli.model.encoder import load_encoder

    runtime = resolve_runtime(context.runtime)
    torch.set_num_threads(runtime.threads)
    return load_encoder(context.encoder, torch.device(runtime.device))


def private_model(
    context: StageContext, prepared: Sequence[Artefact], seed: int, trained: Mapping[str, Artefact]
) -> MultiTaskModel:
    """All tasks on one encoder, each with its own adapter and head: those of `trained`, or fresh ones."""
    from adaptershare_cli.model.adapters.bank import AdapterBank
    from adaptershare_cli.model.heads import MultiTaskModel
    from adaptershare_cli.model.stored import load_task
    from adaptershare_cli.sharing.plan import SharingPlan

    training, encoder = context.training, loaded_encoder(context)
    infos = [task_info(artefact) for artefact in prepared]
    plan = SharingPlan.private([info.name for info in infos], encoder.config.num_hidden_layers)
    bank = AdapterBank(encoder, plan, training, seed)
    model = MultiTaskModel(encoder, bank, infos, training.pooling, training.head_dropout, seed)
    for task, run in trained.items():
        load_task(model, task, run.path / "tasks" / task)
    model.eval()
    return model


def relate(
    context: StageContext, prepared: Sequence[Artefact], name: str, alone: Mapping[str, Artefact], seed: int
) -> dict[tuple[str, str], float]:
    """The measure's value of each source and target, from each task's run alone with that seed.

    It is an artefact of stage `groups`, so that it is computed once.
    """
    measure = MEASURES[name]
    request = {
        "measure": name,
        "measure_version": measure.code_version,
        "tasks": [[artefact.name, artefact.content] for artefact in prepared],
        "leak_scope": context.training.leak_scope,
        "sources": [run.content for run in alone.values()],
        "seed": seed,
    }

    def build(folder: Path) -> dict[str, Any]:
        parts = read_parts(context.training.leak_scope, prepared)[0]
        models = TunedModels(
            lambda seed: private_model(context, prepared, seed, alone),
            lambda seed: private_model(context, prepared, seed, {}),
            {task: part.train for task, part in parts.items()},
            PreproRecord.of(prepared[0]).pad_token,
        )
        scope = Scope(tuple(parts), (seed,), context.reporter.line)
        values = measure(models, scope, measure.settings()).values
        over_all = values[values["layer"] == ALL_LAYERS]
        table = pa.Table.from_pandas(over_all[RELATION.names], RELATION, preserve_index=False)
        write_parquet(table, folder / "relation.parquet")
        return {"info": {"summary": f"{len(parts)} tasks"}}

    made = ensure(context, GROUPS, f"by-{name}", request, build, [*prepared, *alone.values()])
    rows = made.table("relation.parquet").to_pylist()
    return {(row["source"], row["target"]): row["value"] for row in rows}
