"""AdapterShare: find out which NLP tasks should share adapters of one frozen encoder, and train accordingly.

From Python: `from adaptershare_cli import Workspace, load_run, train_share`; see docs/python.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adaptershare_cli.errors import AdapterShareError as AdapterShareError
    from adaptershare_cli.errors import Interrupted as Interrupted
    from adaptershare_cli.errors import RunError as RunError
    from adaptershare_cli.errors import UserError as UserError
    from adaptershare_cli.face.own_data import Data as Data
    from adaptershare_cli.face.run import Run as Run
    from adaptershare_cli.face.views import Correlation as Correlation
    from adaptershare_cli.face.views import Plan as Plan
    from adaptershare_cli.face.workspace import Workspace as Workspace
    from adaptershare_cli.face.workspace import load_run as load_run
    from adaptershare_cli.face.workspace import train_share as train_share

__version__ = "0.1.0"

_ERRORS = ("AdapterShareError", "Interrupted", "RunError", "UserError")
# Where each name stands; imported when it is first asked for, so that starting the program takes no time.
_PLACES = {
    **dict.fromkeys(_ERRORS, "errors"),
    "Correlation": "face.views",
    "Data": "face.own_data",
    "Plan": "face.views",
    "Run": "face.run",
    "Workspace": "face.workspace",
    "load_run": "face.workspace",
    "train_share": "face.workspace",
}
__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
