"""All stages in a process without HOME, without a name for its user, in a folder that nothing belongs into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from adaptershare_cli.settings.fields import flag
from tests.cli.conftest import ENVIRONMENT, LABELS, add_task
from tests.conftest import make_encoder
from tests.faults.processes import ROOT

# Nobody has a name, and every path that Python is about to change is written down.
SCRIPT = """
import json, os, pwd, sys

def unknown(user):
    raise KeyError(user)

pwd.getpwuid = pwd.getpwnam = unknown
CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate"}
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)

def hook(event, given):
    if event not in CHANGES or not isinstance(given[0], (str, bytes)) or given[0] == os.devnull:
        return
    if event == "open" and not given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return
    if event in ("os.remove", "os.rmdir") and given[1] != -1:  # within a folder that was opened before
        return
    os.write(log, os.fsencode(event + " " + os.path.abspath(os.fsdecode(given[0]))) + b"\\n")

sys.addaudithook(hook)
from adaptershare_cli.cli.app import app
for words in json.loads(sys.argv[2]):
    try:
        app(words, prog_name="adaptershare")
    except SystemExit as end:
        assert not end.code, words
"""


def test_nothing_is_written_outside_the_workspace(tmp_path: Path) -> None:
    for name in ("first", "second"):
        add_task(tmp_path, name, LABELS[name], 30)
    make_encoder(tmp_path / "encoder", "bert", hidden=16)
    for name in ("here", "tmp"):
        (tmp_path / name).mkdir()
    log, workspace = tmp_path / "log", tmp_path / "w"
    log.touch()
    space = ("-w", str(workspace))
    places = ("--task-dir", "../tasks", "--from", "../data", "--model", "../encoder", *space)
    few = ("--max-steps", "3", "--max-seq-length", "32", "--threads", "1", "--checkpoint-steps", "2")
    commands = [
        ("train-share", "-t", "first,second", *places, *few, flag("first_check"), "1", flag("check_every"), "1"),
        ("train-single", "-t", "first", *places, *few),
        ("correlate", "--plot", *space),
        ("report", *space),
        ("status", *space),
    ]
    unwanted = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME", "HF_HOME", "MPLCONFIGDIR")
    given = {name: value for name, value in os.environ.items() if name not in unwanted}
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    settled = {"TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(log), json.dumps(commands)],
        env={**given, **ENVIRONMENT, **settled}, cwd=tmp_path / "here", capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    changes = log.read_text().splitlines()
    assert len(changes) > 50
    outside = [line for line in changes if not line.split()[1].startswith((str(workspace), str(tmp_path / "tmp")))]
    assert outside == []
    assert not list((tmp_path / "here").iterdir()) and not list((tmp_path / "tmp").iterdir())
