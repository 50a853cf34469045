"""The hub as a source, for real: `datasets` in a process of its own against a small server that speaks like the hub."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adaptershare_cli.data import hub
from adaptershare_cli.data.hub import label_values
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError

ROOT = Path(hub.__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CARD = """---
dataset_info:
  features:
  - {name: sentence, dtype: string}
  - {name: label, dtype: {class_label: {names: {'0': negative, '1': positive}}}}
configs:
- config_name: default
  data_files:
  - {split: train, path: data/train-*}
  - {split: validation, path: data/validation-*}
---
"""


def parquet(sentences: list[str], labels: list[int]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"sentence": sentences, "label": pa.array(labels, pa.int64())}), sink)
    return sink.getvalue()


FILES = {
    "README.md": CARD.encode(),
    "data/train-00000-of-00001.parquet": parquet(["dull ", "fine", "great"], [0, 1, 1]),
    "data/validation-00000-of-00001.parquet": parquet(["odd", "unlabelled"], [0, -1]),
}


class Hub(BaseHTTPRequestHandler):
    """Answers for the dataset repository `some/toy`; every other one is not found."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)  # type: ignore[attr-defined]
        for revision in ("main", "v1", COMMIT):
            if path.startswith(start := f"/datasets/some/toy/resolve/{revision}/"):
                return self.file(path.removeprefix(start))
            if path == f"/api/datasets/some/toy/revision/{revision}":
                siblings = [{"rfilename": name} for name in FILES]
                info = {"id": "some/toy", "sha": COMMIT, "private": False, "tags": [], "siblings": siblings}
                return self.reply(200, json.dumps(info).encode())
        if path.startswith(start := f"/api/datasets/some/toy/tree/{COMMIT}"):
            return self.tree(path.removeprefix(start).strip("/"), "recursive=True" in self.path)
        code = "RevisionNotFound" if "/some/toy/" in path else "RepoNotFound"
        return self.reply(404, b"{}", {"X-Error-Code": code, "X-Error-Message": "Not found"})

    do_GET = do_HEAD

    def file(self, name: str) -> None:
        if name not in FILES:
            return self.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        etag = f'"{hashlib.sha1(FILES[name]).hexdigest()}"'
        return self.reply(200, FILES[name], {"ETag": etag, "X-Repo-Commit": COMMIT})

    def tree(self, folder: str, recursive: bool) -> None:
        inside = [name for name in FILES if not folder or name.startswith(f"{folder}/")]
        flat = [name for name in inside if recursive or "/" not in name.removeprefix(folder).strip("/")]
        folders = {name.split("/")[0] for name in inside} - set(flat) if not folder else set()
        found: list[dict[str, Any]] = [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": one} for one in folders
        ]
        for name in flat:
            oid = hashlib.sha1(FILES[name]).hexdigest()
            found.append({"type": "file", "oid": oid, "size": len(FILES[name]), "path": name})
        return self.reply(200, json.dumps(found).encode())

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silence: the test looks at `asked`."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    running.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


SCRIPT = """
import json, sys
from pathlib import Path
import huggingface_hub.utils._http as http
http.time.sleep = lambda seconds: None  # the library waits 23 s in all before it gives up
from adaptershare_cli.data.reading import read_task
from adaptershare_cli.data.sources import resolve_source, source_request
from adaptershare_cli.data.definition import parse_definition
from adaptershare_cli.errors import UserError
answers = []
for file in sys.argv[1:]:
    task = parse_definition(Path(file))
    source = resolve_source(task, None)
    try:
        read = read_task(task, source, 1)
    except UserError as error:
        answers.append({"what": error.what, "where": error.where, "fix": error.fix})
        continue
    splits = {name: table.to_pylist() for name, table in read.splits.items()}
    rejected = read.rejected.to_pylist()
    answers.append({"splits": splits, "rejected": rejected, "labels": read.labels, "missing": read.missing})
print(json.dumps(answers))
"""


def ask(tmp_path: Path, endpoint: str, *hub_blocks: dict[str, Any], **task: Any) -> list[dict[str, Any]]:
    """What reading one task a block gives, in one fresh process."""
    files = []
    for number, block in enumerate(hub_blocks):
        base = {"kind": "classification", "labels": ["negative", "positive"], "metrics": ["accuracy"]}
        filled = {"path": "some/toy", "splits": {"train": "train", "dev": "validation"}, **block}
        filled.setdefault("columns", {"text": "sentence"})
        file = tmp_path / f"task{number}.yaml"
        file.write_text(json.dumps({**base, "report_on": list(filled["splits"])[1:], "hub": filled, **task}))
        files.append(str(file))
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("proxy") and key[:3] != "HF_"}
    env = {**kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *files], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_rows_come_from_the_hub(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    endpoint = f"http://127.0.0.1:{server.server_port}"
    more = {"train": "train", "dev": "validation", "test": {"path": "test", "optional": True}}
    swapped = {"0": "positive", "1": "negative"}
    by_name, by_map = ask(tmp_path, endpoint, {"splits": more}, {"revision": "v1", "label_map": swapped})
    train = by_name["splits"]["train"]
    assert [(row["row"], row["text"], row["label"]) for row in train] == [
        (0, "dull ", "negative"),
        (1, "fine", "positive"),
        (2, "great", "positive"),
    ]
    assert [row["text"] for row in by_name["splits"]["dev"]] == ["odd"]
    (rejected,) = by_name["rejected"]
    assert rejected == {
        "split": "dev",
        "file": "some/toy",
        "row": 2,
        "column": "label",
        "value": "",
        "reason": "is missing",
    }
    assert (by_name["labels"], by_name["missing"]) == (["negative", "positive"], ["test"])
    assert [row["label"] for row in by_map["splits"]["train"]] == ["positive", "negative", "negative"]
    asked = server.asked  # type: ignore[attr-defined]
    assert "/datasets/some/toy/resolve/main/README.md" in asked
    assert "/datasets/some/toy/resolve/v1/README.md" in asked


def test_what_the_hub_does_not_have(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    blocks: list[dict[str, Any]] = [
        {"path": "some/none"},
        {"name": "other"},
        {"splits": {"train": "train", "dev": "test"}},
        {"columns": {"text": "sentense"}},
        {"revision": "v2"},
    ]
    none, config, split, column, revision = ask(tmp_path, f"http://127.0.0.1:{server.server_port}", *blocks)
    assert "the hub has no dataset `some/none`" in none["what"]
    assert "`some/toy`" in config["what"] and "'other' not found" in config["what"]
    assert "`some/toy`" in split["what"] and "['train', 'validation']" in split["what"]
    assert "split test" in split["where"]
    assert "the column `sentense` (text) is missing" in column["what"]
    assert "some/toy" in column["where"] and "`sentence`" in column["fix"]
    assert "`some/toy` with the revision v2" in revision["what"]
    assert all("--from FOLDER" in answer["fix"] for answer in (none, config, split, revision))


def test_the_hub_cannot_be_reached(tmp_path: Path) -> None:
    closed = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    closed.server_close()
    (answer,) = ask(tmp_path, f"http://127.0.0.1:{closed.server_port}", {})
    assert answer["what"] == "the hub could not be reached for the dataset `some/toy`"
    assert "--from FOLDER" in answer["fix"]


def test_a_pinned_revision_is_never_replaced_by_a_cached_one(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    endpoint = f"http://127.0.0.1:{server.server_port}"
    ask(tmp_path, endpoint, {}, {"revision": "v1"})
    server.shutdown()
    server.server_close()
    unpinned, same, other = ask(tmp_path, endpoint, {}, {"revision": "v1"}, {"revision": "v2"})
    assert len(unpinned["splits"]["train"]) == len(same["splits"]["train"]) == 3  # read from the cache
    assert other["what"] == "the hub could not be reached for the dataset `some/toy`"


def test_a_folder_here_is_not_taken_for_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some" / "toy").mkdir(parents=True)
    spec = SourceSpec("hub", (), path="some/toy")
    with pytest.raises(UserError, match="is a file or folder here"):
        hub.read_hub_split(spec, SplitSpec("train", (("", "train"),)), ())


class Trap:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("sprung", "w")


@pytest.mark.parametrize("path", ["pandas", "csv", "json", "../toy", "/etc", "https://some/where"])
def test_files_here_are_never_read_as_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """`datasets` has readers of its own under such names; its `pandas` would unpickle the current folder's files."""
    monkeypatch.chdir(tmp_path)
    for name in ("train.pkl", "train.parquet", "train.csv"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match="is not a hub id"):
        hub.read_hub_split(SourceSpec("hub", (), path=path), SplitSpec("train", (("", "train"),)), ())
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("class_names", "labels", "label_map", "expected"),
    [
        (["no", "yes"], ("yes", "no"), {}, ["no", "yes"]),  # names, whatever the definition's order is
        (["no", "yes"], (), {}, ["no", "yes"]),  # labels from train
        (["No", "Yes"], ("no", "yes"), {}, ["no", "yes"]),  # no name is a label: indices
        (["No", "Yes"], ("no", "yes"), {"No": "yes", "Yes": "no"}, ["No", "Yes"]),  # mapped afterwards
        (["no", "yes"], ("no", "yes"), {"0": "yes", "1": "no"}, [0, 1]),  # mapped afterwards, by digits
        (["no", "other"], ("no", "yes"), {}, ["no", "other"]),  # the second will be rejected
        (None, ("no", "yes"), {}, ["no", "yes"]),
        (None, ("1", "0"), {}, [0, 1]),  # labels that are numbers are names, not positions
        (None, (), {}, [0, 1]),
    ],
)
def test_integers_become_labels(
    class_names: list[str] | None, labels: tuple[str, ...], label_map: dict[str, str], expected: list[Any]
) -> None:
    assert label_values([0, 1], class_names, labels, label_map) == expected


def test_values_that_are_no_class() -> None:
    assert label_values([-1, 2, "no", None, True], ["no", "yes"], ("no", "yes"), {}) == [None, 2, "no", None, True]
    assert label_values([-1, 2], None, ("no", "yes"), {}) == [-1, 2]


def test_lists_of_words_and_of_class_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tagging's columns, as the hub has them: each label's integer becomes its name."""
    import datasets

    of_words = datasets.Features({"tokens": datasets.Sequence(datasets.Value("string")), "tags": datasets.Sequence(
        datasets.ClassLabel(names=["O", "B-x", "I-x"])
    )})  # fmt: skip
    rows = {"tokens": [["a", "fine", "film"], ["no"], ["odd"]], "tags": [[0, 1, 2], [0], [-1]]}
    monkeypatch.setattr(hub, "_load", lambda spec, split: datasets.Dataset.from_dict(rows, features=of_words))
    columns = (("text", "tokens"), ("label", "tags"))
    split = SplitSpec("train", (("", "train"),))
    for labels in ((), ("I-x", "B-x", "O")):
        spec = SourceSpec("hub", (split,), path="some/words", listed=("text", "label"), columns=columns)
        raw = hub.read_hub_split(spec, split, labels)
        assert raw is not None
        found = [row[2] for row in raw.rows]  # type: ignore[index]
        assert found == [[["a", "fine", "film"], ["O", "B-x", "I-x"]], [["no"], ["O"]], [["odd"], [None]]]
    spec = SourceSpec("hub", (split,), path="some/words", columns=columns)
    with pytest.raises(UserError, match="not text"):
        hub.read_hub_split(spec, split, ())
