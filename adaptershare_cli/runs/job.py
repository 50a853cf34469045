"""A training as plain values: all that decides its result, and nothing of the process that will make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adaptershare_cli.kinds.metrics import own
from adaptershare_cli.methods import METHODS
from adaptershare_cli.methods.settings import MethodSettings
from adaptershare_cli.methods.start import Start
from adaptershare_cli.model.source import EncoderSource
from adaptershare_cli.runs.choose import settings_key
from adaptershare_cli.runs.past import StoredRun
from adaptershare_cli.runs.rows import WHOLE, Limits, dropped, heldout_repeats
from adaptershare_cli.runs.runtime import Runtime, resolve_runtime
from adaptershare_cli.settings import RuntimeSettings, TrainingSettings, non_default, valued_fields
from adaptershare_cli.store.artefact import Artefact, digest, request_key
from adaptershare_cli.store.making import full_request
from adaptershare_cli.store.records import PreproRecord
from adaptershare_cli.store.workspace import TRUTH


@dataclass(frozen=True)
class Job:
    """One training: what becomes of it (stage, name), and from what it is made.

    `again` asks for it to be made even where it is there. A job can be pickled: an executor may run it in another
    process, or on another machine that sees the same workspace. One of stage `truth` is `lean`: only scores are taken
    and kept (on select rows where `limits` have a target), and nothing is printed.
    """

    stage: str
    name: str
    method: str
    settings: MethodSettings
    training: TrainingSettings
    runtime: RuntimeSettings
    encoder: EncoderSource
    prepared: tuple[Artefact, ...]
    seed: int
    start: Start = field(default_factory=Start)
    limits: Limits = WHOLE
    selection: Artefact | None = None  # what --selection named
    again: bool = False
    metric_files: Mapping[str, Path] = field(default_factory=own.places)  # of users' own metrics, for another process

    @property
    def lean(self) -> bool:
        """Whether scores are all that is kept."""
        return self.stage == TRUTH

    @property
    def origins(self) -> list[Artefact]:
        """The artefacts that it starts from, besides the prepared rows."""
        runs = [run.artefact for run in self.start.runs if isinstance(run, StoredRun)]
        return [*runs, *([self.selection] if self.selection is not None else [])]

    def request(self, runtime: Runtime | None = None) -> dict[str, Any]:
        """All that decides the result; `runtime` are the values that it is computed with, by default this machine's."""
        return {**self.decisive(), **(runtime or resolve_runtime(self.runtime)).to_json()}

    def decisive(self) -> dict[str, Any]:
        """All that decides the result but for device, precision and threads, with stage and code version."""
        request = {
            "method": self.method,
            "method_version": METHODS[self.method].code_version,
            "method_settings": non_default(self.settings),
            "training": non_default(self.training),
            "encoder": self.encoder.weights,
            "tasks": [[artefact.name, artefact.content] for artefact in self.prepared],
            "seed": self.seed,
            **self.start.request,
        }
        if len(self.prepared) > 1 and self.settings.looks_at_heldout and heldout_repeats(self.prepared):
            request["heldout"] = "by text"  # so runs that took copies for rows of their own are not these
        metrics = {artefact.name: PreproRecord.of(artefact).metrics for artefact in self.prepared}
        if users := {task: found for task, found in metrics.items() if any(map(own.is_own, found))}:
            request["metrics"] = users  # with the hashes of their files
        if self.selection is not None:
            request["selection"] = self.selection.content
        if missing := dropped(self.prepared, self.limits.avoid):
            request["avoid"] = digest(missing)
        if self.limits.keep:
            request["keep"] = digest({task: sorted(rows) for task, rows in self.limits.keep.items()})
        if self.limits.target is not None:
            request["target"] = self.limits.target
        return full_request(self.stage, request)

    def recorded_method(self) -> str:
        """The method as the run records it: a task alone is no joint training."""
        if self.stage != "train-single":
            return self.method
        return "single-from-run" if self.start.runs else "single"

    def recorded_settings(self) -> dict[str, Any]:
        """The method's settings, and in words what the run started from."""
        values = asdict(self.settings)
        words = {"selection": self.selection.path.name} if self.selection is not None else {}
        return {name: values[name] for name in valued_fields(self.settings)} | dict(self.start.settings) | words

    def recorded_start(self) -> dict[str, Any]:
        """What the run's record says of what it started from.

        `origin_key` is the same for all seeds of what the runs were trained with.
        """
        words = {"selection": self.selection.label} if self.selection is not None else {}
        if self.origins:
            words["origin_key"] = request_key({"runs": sorted({settings_key(origin) for origin in self.origins})})
        return {**self.start.info, **words}
