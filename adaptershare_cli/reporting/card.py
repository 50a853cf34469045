"""The model card of an exported task: what it is, how good, whom it shares with and why, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.reporting.tables import plain
from adaptershare_cli.templates import render

LABELS_TOLD = 20


@dataclass(frozen=True)
class Score:
    """A metric on a scored split of so many rows, by seed; None where it is undefined."""

    metric: str
    split: str
    values: Mapping[int, float | None]
    rows: int

    @property
    def known(self) -> list[float]:
        """The values that there are."""
        return [value for value in self.values.values() if value is not None]

    @property
    def shown(self) -> str:
        """The mean in percent, with the standard deviation over seeds where there are several."""
        if not self.known:
            return "undefined"
        spread = f" ± {100 * stdev(self.known):.2f}" if len(self.known) > 1 else ""
        return f"{100 * mean(self.known):.2f}{spread}"


@dataclass(frozen=True)
class Partners:
    """The tasks that a task shares its adapter with in layers `first` to `last`."""

    first: int
    last: int
    tasks: tuple[str, ...]

    @property
    def layers(self) -> str:
        """In words."""
        return f"layer {self.first}" if self.first == self.last else f"layers {self.first} to {self.last}"


@dataclass(frozen=True)
class CardFacts:
    """What a card tells. `base_model` is the encoder's id on the hub, where it has one."""

    info: TaskInfo
    run: str
    method: str
    summary: str
    citation: str
    encoder: str
    base_model: str
    encoder_hash: str
    max_seq_length: int
    pairs: bool
    examples: int
    steps: int
    together: Sequence[str]
    scores: Sequence[Score]
    partners: Sequence[Partners]
    cosines: Mapping[str, float]


def model_card(facts: CardFacts, usage: str, library: str = "adapters") -> str:
    """The card as Markdown, with its metadata in front. The licence is left to whoever publishes it.

    `usage` is how the folder is loaded, with the `library` of that name.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    info, kind = facts.info, KINDS[facts.info.kind]
    results = [
        EvalResult(
            task_type=kind.pipeline_tag,
            dataset_type=info.name,
            dataset_name=info.name,
            dataset_split=score.split,
            metric_type=score.metric.partition(" ")[0],
            metric_name=score.metric,
            metric_value=round(mean(score.known), 6),
        )
        for score in facts.scores
        if score.known
    ]
    data = ModelCardData(
        base_model=facts.base_model or None,
        library_name=library,
        pipeline_tag=kind.pipeline_tag,
        tags=[library, "adaptershare", facts.method],
        model_name=f"{facts.run}/{info.name}" if results else None,
        eval_results=results or None,
    )
    body = render(
        "reporting/templates/model_card.md.j2",
        facts=facts,
        info=info,
        labels=[plain(label) for label in info.labels[:LABELS_TOLD]],
        more_labels=max(0, len(info.labels) - LABELS_TOLD),
        usage=usage,
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}"))
