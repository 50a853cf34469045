"""Settings of the verdict on a plan."""

from __future__ import annotations

from dataclasses import dataclass

from adaptershare_cli.settings.fields import option


@dataclass(frozen=True)
class VerdictSettings:
    """With what a plan is compared, besides sharing all and keeping apart."""

    random_plans: int = option(
        19,
        "Of --verdict: how many random plans the plan is compared with, of its sizes as far as there are so many.",
        1,
    )
