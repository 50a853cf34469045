"""The encoder that runs were trained on: found again by what they recorded, or named and compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.source import NAME_IT, EncoderSource, find_encoder, is_hub_id, locate_encoder
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord


def recorded_encoder(runs: Sequence[Artefact], model: str) -> EncoderSource:
    """The encoder of runs that have the same one: that of --model, or (`model` is empty) the one that they recorded.

    A name that may be a folder's is never asked of the hub. Raises UserError where it is another encoder, or the
    runs' own is not found again.
    """
    record, label = RunRecord.of(runs[0]), runs[0].label
    name = record.encoder_name
    found = None
    if not model:
        places = [Path(run.encoder_folder) for run in runs if run.encoder_folder]
        found = find_encoder(name, record.encoder_weights, places)
        if found is None and not is_hub_id(name):
            there = [str(place) for place in places if place.is_dir()]
            raise UserError(
                f"The encoder {name!r} of {label} is not found again: it was a folder, or is a model of "
                "the hub that is not in this machine's cache",
                where=f"{there[0]} holds another one now" if there else "--model",
                fix=f"Give its folder: --model FOLDER. (Of the hub: --model {name}.)",
            )
    found = found or locate_encoder(model or name)
    if found.weights != record.encoder_weights:
        raise UserError(
            f"--model {model or name} is not the encoder that {label} was trained on",
            where=f"it was trained on {name}",
            fix=NAME_IT,
        )
    return found
