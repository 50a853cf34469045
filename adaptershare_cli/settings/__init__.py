"""Settings that change a result, as frozen dataclasses; the command line's options are made from the fields.

An option's name is its field's name with hyphens; names follow Hugging Face `TrainingArguments` where it has one.
A setting counts in an artefact's key only where it differs from its default, so a new field with a default does
not make old artefacts stale. No torch here: `--help` must answer at once.
"""

from adaptershare_cli.settings.fields import (
    check_settings,
    check_value,
    flag,
    joint_settings,
    non_default,
    option,
    option_value,
    valued_fields,
)
from adaptershare_cli.settings.predict import AnswerSettings, PredictSettings, ServeSettings
from adaptershare_cli.settings.selection import SelectionSettings
from adaptershare_cli.settings.training import (
    DownloadSettings,
    PreproSettings,
    RuntimeSettings,
    StartSettings,
    TrainingSettings,
)
from adaptershare_cli.settings.verdict import VerdictSettings

__all__ = [
    "AnswerSettings",
    "DownloadSettings",
    "PredictSettings",
    "PreproSettings",
    "RuntimeSettings",
    "SelectionSettings",
    "ServeSettings",
    "StartSettings",
    "TrainingSettings",
    "VerdictSettings",
    "check_settings",
    "check_value",
    "flag",
    "joint_settings",
    "non_default",
    "option",
    "option_value",
    "valued_fields",
]
