"""What each method needs on the command line of a small test run, beside what all of them need."""

from __future__ import annotations

from adaptershare_cli.methods import METHODS

# A method that is not named here needs nothing; one that needs a plan takes it from an adaptershare run.
EXTRA: dict[str, tuple[str, ...]] = {
    "sparse-sharing": ("--rounds", "2", "--round-epochs", "0.4", "--multitask-warmup-epochs", "0.2"),
    "plan-search": ("--search-measure", "none"),
    "adaptershare": ("--guard", "none", "--max-interference", "-0.5"),
    # Two stages: of few updates a small task would get none, and the published rate would change nothing.
    "adapterfusion": ("--task-sampling", "uniform", "--fusion-learning-rate", "0.01"),
}

# Methods whose runs are made of other trainings, and are not trained themselves.
PUT_TOGETHER = [name for name, spec in METHODS.items() if spec.package.endswith(".assembled")]


def method_arguments(method: str) -> tuple[str, ...]:
    """`--method` and what goes with it."""
    plan = ("--init-plan", "adaptershare") if METHODS[method].needs_plan else ()
    return ("--method", method, *EXTRA.get(method, ()), *plan)
