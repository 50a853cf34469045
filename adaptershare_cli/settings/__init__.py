"""Every setting that changes a result, as frozen dataclasses; the command line's options are made from the fields.

An option's name is its field's name with hyphens; names follow Hugging Face `TrainingArguments` where it has one.
A setting counts in an artefact's key only where it differs from its default, so a new field with a default does
not make old artefacts stale. No torch here: `--help` must answer at once.
"""

from adaptershare_cli.settings.fields import check_settings, check_value, flag, joint_settings, non_default, option
from adaptershare_cli.settings.measures import (
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
from adaptershare_cli.settings.methods import (
    AdapterFusionSettings,
    AdapterShareSettings,
    GivenPlanSettings,
    HyperFormerPlusPlusSettings,
    HyperFormerSettings,
    LookaheadSettings,
    MethodSettings,
    ObserveSettings,
    PlanSettings,
    PrivateSettings,
    RandomPlanSettings,
    SharedSettings,
    SparseSharingSettings,
)
from adaptershare_cli.settings.presets import (
    PRESETS,
    STAGE_ONE,
    fusion_preset,
    hyperformer_preset,
    paper_preset,
    preset_values,
)
from adaptershare_cli.settings.training import (
    MAX_NONFINITE,
    DownloadSettings,
    Precision,
    PreproSettings,
    RuntimeSettings,
    StartSettings,
    TrainingSettings,
)

__all__ = [
    "AdapterFusionSettings",
    "AdapterShareSettings",
    "AdapterWeightsSettings",
    "DownloadSettings",
    "FisherSettings",
    "GivenPlanSettings",
    "GradTSSettings",
    "GradientSettings",
    "HyperFormerPlusPlusSettings",
    "HyperFormerSettings",
    "LookaheadSettings",
    "MAX_NONFINITE",
    "MeasureSettings",
    "MethodSettings",
    "ObserveSettings",
    "PRESETS",
    "PlanSettings",
    "PopularitySettings",
    "Precision",
    "PreproSettings",
    "PrivateSettings",
    "RandomPlanSettings",
    "RuntimeSettings",
    "STAGE_ONE",
    "SeededMeasureSettings",
    "SelectionSettings",
    "SharedSettings",
    "SparseSharingSettings",
    "StartSettings",
    "TextSettings",
    "TrainingSettings",
    "TransferSettings",
    "TunedSettings",
    "check_settings",
    "check_value",
    "flag",
    "fusion_preset",
    "hyperformer_preset",
    "joint_settings",
    "non_default",
    "option",
    "paper_preset",
    "preset_values",
]
