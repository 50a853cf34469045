"""Measures of how one task relates to another: one file a measure, one line each here.

A measure's function takes values (`base.Inputs`, its settings) and returns `base.Found`; `summary.summarise` makes
the table of the schema `schemas.CORRELATION` from that, for all measures alike. It is imported only when it is called,
so that looking at the registry costs nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, Literal

from adaptershare_cli.errors import UserError
from adaptershare_cli.settings import (
    AdapterWeightsSettings,
    FisherSettings,
    GradientSettings,
    GradTSSettings,
    MeasureSettings,
    PopularitySettings,
    SeededMeasureSettings,
    SelectionSettings,
    TextSettings,
    TransferSettings,
    TunedSettings,
)

# What a measure is computed from: a table of joint runs, each task's single-task run, the encoder and the rows, a set
# of trainings of its own, the measured truth, the names and numbers of rows alone.
Need = Literal[
    "interference", "sharing", "lookahead", "attention", "embeddings", "masks",
    "models", "encoder", "trainings", "truth", "sizes", "nothing",
]  # fmt: skip
TABLES = ("interference", "sharing", "lookahead", "attention", "embeddings", "masks")


@dataclass(frozen=True)
class Measure:
    """What the program knows about a measure before it imports it.

    `function` is `module:function` in this package; `directed` says that value(source, target) may differ from
    value(target, source); `code_version` is raised whenever the results change. A measure that needs trainings has a
    function `trainings` beside it, which lists them.
    """

    summary: str
    settings: type[MeasureSettings]
    function: str
    code_version: int
    needs: Need
    directed: bool = False

    @property
    def trains(self) -> bool:
        """Whether trainings may have to be made for it."""
        return self.needs in ("models", "trainings", "truth")

    @property
    def computes(self) -> bool:
        """Whether it runs the encoder."""
        return self.trains or self.needs == "encoder"

    def load(self, name: str | None = None) -> Callable:
        """Import the measure's module and return its function, or the one called `name`."""
        module, function = self.function.split(":")
        return getattr(import_module(f"{__name__}.{module}"), name or function)


MEASURES: dict[str, Measure] = {
    "gradient": Measure(
        "mean cosine between two tasks' gradients over the checks of a run",
        GradientSettings, "gradient:correlate", 2, "interference",
    ),
    "gradient-directed": Measure(
        "what a step on one task does for another's loss by the gradients at checks, in steps on the other itself",
        GradientSettings, "gradient:correlate_directed", 1, "interference", directed=True,
    ),
    "plan": Measure(
        "share of the layers in which two tasks use one adapter at the end of a run",
        SeededMeasureSettings, "plan:correlate", 2, "sharing",
    ),
    "lookahead": Measure(
        "task affinity: how far a step on one task lowers another's loss, tried during a run with --lookahead-every",
        SeededMeasureSettings, "lookahead:correlate", 1, "lookahead", directed=True,
    ),
    "fusion": Measure(
        "how much a task attends to another's adapter in a run with AdapterFusion",
        SeededMeasureSettings, "attention:correlate", 1, "attention", directed=True,
    ),
    "task-embedding": Measure(
        "cosine of the task embeddings that a run of HyperFormer learnt",
        SeededMeasureSettings, "task_embedding:correlate", 1, "embeddings",
    ),
    "mask-overlap": Measure(
        "share of the weights of two tasks' subnets that both use, in a run of Sparse Sharing",
        SeededMeasureSettings, "mask_overlap:correlate", 1, "masks",
    ),
    "gradts": Measure(
        "Kendall's tau between the head importances of single-task models",
        GradTSSettings, "gradts:correlate", 1, "models",
    ),
    "gradts-instance": Measure(
        "gradts row by row: mean tau of the source's rows with the target's head importances; keeps each row's",
        GradTSSettings, "gradts:correlate_instances", 1, "models", directed=True,
    ),
    "adapter-weights": Measure(
        "cosine of single-task adapters", AdapterWeightsSettings, "adapter_weights:correlate", 1, "models"
    ),
    "fisher": Measure(
        "similarity of single-task adapters' diagonal Fisher information", FisherSettings, "fisher:correlate", 1,
        "models",
    ),
    "text": Measure("cosine of the mean embeddings of train rows", TextSettings, "text:correlate", 1, "encoder"),
    "random": Measure("numbers by chance", SeededMeasureSettings, "chance:correlate", 1, "nothing", directed=True),
    "size": Measure(
        "log10 of the source's train rows", MeasureSettings, "size:correlate", 1, "sizes", directed=True
    ),
    "popularity": Measure(
        "how much a source helps all other targets; needs the measured truth",
        PopularitySettings, "popularity:correlate", 1, "truth", directed=True,
    ),
    "transfer": Measure(
        "truth: trained on the source, then on the target, against the target alone",
        TransferSettings, "transfer:correlate", 1, "trainings", directed=True,
    ),
    "pair": Measure(
        "truth: the two trained together, against the target alone",
        TunedSettings, "pair:correlate", 1, "trainings", directed=True,
    ),
}  # fmt: skip


TRUTHS = tuple(name for name, spec in MEASURES.items() if spec.needs == "trainings")
INSTANCES = "gradts-instance"  # what fg keeps rows by
NO_SELECTION = SelectionSettings()


def measure_names(text: str) -> list[str]:
    """The measures of a comma-separated list, in order. Raises UserError for an unknown one, or none."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in MEASURES:
            near = difflib.get_close_matches(name, MEASURES, n=2)
            raise UserError(
                f"There is no measure {name!r}",
                where="--measure",
                fix=f"Measures: {', '.join(MEASURES)}." + (f" Did you mean {near[0]}?" if near else ""),
            )
    if not names:
        raise UserError("No measure is named", where="--measure", fix=f"Measures: {', '.join(MEASURES)}.")
    return names


def wanted_measures(text: str, against: str | None, selection: SelectionSettings) -> list[str]:
    """The measures of a comma-separated list, then those that judging them, or selecting by one, needs.

    Raises UserError for lists that cannot be judged, or by which nothing can be selected.
    """
    names = measure_names(text)
    if against is not None and set(names) == {against}:
        raise UserError(
            f"--against {against} judges measures, and --measure names only the truth itself",
            fix=f"Name the measures to judge, for example --measure gradient,text --against {against}.",
        )
    if selection.select is not None:
        if len(names) != 1:
            raise UserError(
                "--select goes by one measure", where=f"--measure {text}", fix="Name one, for example --measure gradts."
            )
        if MEASURES[names[0]].needs in ("trainings", "truth"):
            raise UserError(
                f"Nothing may be selected by {names[0]}: it is measured on scored splits, which may decide nothing",
                where="--measure",
                fix="Name another measure.",
            )
    judged = [against] if against is not None else []
    rows = [INSTANCES] if selection.select == "fg" else []
    return list(dict.fromkeys([*names, *judged, *rows]))


def measure_settings(
    names: Iterable[str], given: Mapping[str, Any], selection: SelectionSettings = NO_SELECTION
) -> dict[str, MeasureSettings]:
    """Each measure's settings from the options that were given; one that none of them knows is refused."""
    known = {name: {item.name for item in fields(MEASURES[name].settings)} for name in MEASURES}
    chosen = list(names)
    for option in given:
        if not any(option in known[name] for name in chosen) and not (option == "target_steps" and selection.trains):
            users = [name for name in MEASURES if option in known[name]]
            raise UserError(
                f"--measure {','.join(chosen)} does not know --{option.replace('_', '-')}",
                fix=f"It belongs to: {', '.join(users)}.",
            )
    return {
        name: MEASURES[name].settings(**{key: value for key, value in given.items() if key in known[name]})
        for name in chosen
    }
