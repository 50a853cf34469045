"""Where libraries keep what they must: a private temporary folder that goes with the process, never HOME."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from pathlib import Path

HUB = ".hub"  # in a workspace: what was fetched from the hub for a user who has no home folder
# What reads its place from where: fontconfig and others, matplotlib, torch.
_CACHES = {"XDG_CACHE_HOME": "", "MPLCONFIGDIR": "matplotlib", "TORCHINDUCTOR_CACHE_DIR": "inductor"}
_MINE = "ADAPTERSHARE_SCRATCH"  # the process that set these variables, and where to


def use_scratch(workspace: Path) -> None:
    """Keep libraries from writing to HOME. To be called before they are imported.

    Their caches go to a folder of this process in the system's temporary folder (in the workspace where the system has
    none). It is made by who needs it, and removed when the process ends. What hub ids name stays where the hub's own
    programs look for it (`HF_HOME`, by default in HOME); without a home folder it is kept in the workspace.
    """
    if os.environ.get(_MINE, "").startswith(f"{os.getpid()} "):
        return
    os.environ.setdefault("HF_HOME", str(_hub_folder(workspace)))
    scratch = _temporary_folder(workspace) / f"adaptershare-{secrets.token_hex(8)}"
    os.environ[_MINE] = f"{os.getpid()} {scratch}"
    os.environ.update({name: str(scratch / part) for name, part in _CACHES.items()})
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)


def _hub_folder(workspace: Path) -> Path:
    """Where the hub's own programs keep what they fetch; a place in the workspace where HOME is none."""
    named = os.environ.get("XDG_CACHE_HOME")
    if named:
        return Path(named).expanduser() / "huggingface"
    home = Path(os.path.expanduser("~"))
    return home / ".cache" / "huggingface" if home.is_absolute() and home.is_dir() else workspace.absolute() / HUB


def _temporary_folder(workspace: Path) -> Path:
    """The system's temporary folder, or the workspace: Python itself would fall back to the current folder."""
    try:
        found = Path(tempfile.gettempdir())
    except FileNotFoundError:
        return workspace.absolute()
    named = {os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")}
    return workspace.absolute() if found == Path(os.getcwd()) and str(found) not in named else found
