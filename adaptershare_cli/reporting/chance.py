"""Which values of a correlation cannot be told from chance."""

from __future__ import annotations

import numpy as np
import pandas as pd

from adaptershare_cli.measures.spec import Measure
from adaptershare_cli.statistics.matrices import task_matrix


def noise(correlation: pd.DataFrame, tasks: list[str], measure: Measure) -> np.ndarray:
    """Which values cannot be told from chance, (tasks, tasks): True where any of what the table has says so.

    A value rests on one check alone; it lies within two standard errors of 0 (where the measure has both signs); or its
    permutation p value is within 0.05 and 0.95 (it is one-sided: of a clear conflict it is near 1).
    """
    value, error, p_value, checks = (
        task_matrix(correlation, tasks, column) for column in ("value", "standard_error", "p_value", "checks")
    )
    signed = measure.range[0] < 0
    return (checks == 1) | (signed & (np.abs(value) <= 2 * error)) | ((p_value > 0.05) & (p_value < 0.95))
