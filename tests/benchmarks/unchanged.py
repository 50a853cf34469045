"""Does a change leave every artefact as it was? Two commits make the same workspace; keys and bytes are compared.

    python tests/benchmarks/unchanged.py HEAD~3            # that commit against the working tree
    python tests/benchmarks/unchanged.py v1 v2             # two commits
    python tests/benchmarks/unchanged.py HEAD~3 --only train-share

The workspace holds every stage, method and measure, on the embedded tiny tasks and on small ones of every reader, with
small random encoders of every type. Each commit runs in a worktree of its own, one command after another in one
process. Compared is the SHA-256 of each file that an `artefact.json` lists, and of `artefact.json` itself; not what
may differ between two makings (durations, places). As the report shows durations, of it the results are compared,
without them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNHASHED = ("timing.json", "origin.json", "sources.json")
TINY = "sentiment-film,topic-news,urgency-office"
WORDS = "good bad fine dull great awful service plot actor soup salad fresh stale bank card pay lost".split()
ROWS = 60

# Of a run: few updates, with checks, select scores and best steps on the way.
ROWS_OF = (
    "--max-train-examples", "60", "--max-eval-examples", "40", "--max-seq-length", "48", "--heldout-size", "12",
    "--select-size", "16",
)  # fmt: skip
EXACT = ("--threads", "1", "--precision", "fp32")
UPDATES = ("--max-steps", "12", "--per-device-train-batch-size", "8", *EXACT, "--eval-steps", "4")
FAST = ("--learning-rate", "0.01")
FEW = (*ROWS_OF, *UPDATES, *FAST)
CHECKS = ("--first-check", "2", "--check-every", "3")
SPLITTING = (*CHECKS, "--guard", "none", "--max-interference", "-0.5")
PRUNED = ("--method", "sparse-sharing", "--rounds", "2", "--round-epochs", "0.5")
FUSED = ("--method", "adapterfusion", "--task-sampling", "uniform")


def commands(encoders: Path, own: Path) -> list[tuple[str, ...]]:
    """The command lines, in order; the workspace is added to each."""
    bert, others = str(encoders / "bert"), ("roberta", "distilbert", "electra")
    run = ("train-share", "-t", TINY, "--model", bert, *FEW)
    alone = ("train-single", "-t", TINY, "--model", bert, *FEW)
    given = ("--task-dir", str(own / "tasks"), "--from", str(own / "data"))
    every_reader = ",".join(sorted(path.stem for path in (own / "tasks").iterdir()))
    judged = ("correlate", "--run", "shared", "--model", bert)
    return [
        ("download", "-t", f"tiny,tiny-tagging,{every_reader}", *given, "--max-rejected", "3"),
        ("prepro", "-t", f"tiny-tagging,{every_reader}", *given, "--model", bert, "--max-rejected", "3",
         "--max-seq-length", "64"),
        ("train-share", "-t", "tiny", "--method", "private", "--max-steps", "12", *EXACT, *CHECKS),
        (*alone, "--seeds", "0,1"),
        (*run, *SPLITTING, "--seeds", "0,1"),
        (*run, "--method", "given-plan", "--init-plan", "adaptershare", *CHECKS),
        (*run, "--method", "random-plan", "--init-plan", "adaptershare", *CHECKS, "--seeds", "0,1"),
        (*run, "--rule", "significance", "--max-interference", "-0.3", *CHECKS, "--load-best-model-at-end"),
        (*run, *SPLITTING, "--fuse", "--loss-weighting", "uncertainty"),
        (*run, *SPLITTING, "--preset", "paper", "--max-steps", "12", "--heldout-size", "12"),
        (*run, "--method", "shared", "--lookahead-every", "4", *CHECKS, "--seeds", "0,1"),
        (*run, "--method", "private", "--adapter-config", "double_seq_bn", "--shuffle-heldout-labels", *CHECKS),
        (*run, "--method", "private", "--adapter-config", "par_bn", "--pooling", "cls", *CHECKS),
        (*run, "--method", "hyperformer", *CHECKS),
        (*run, "--method", "hyperformer++", "--train-layer-norms", "--adapter-config", "double_seq_bn", *CHECKS),
        (*run, *FUSED),
        (*run, *FUSED, "--fusion-over", "private", "--fusion-head", "copied"),
        ("train-share", "-t", TINY, "--model", bert, *ROWS_OF, *UPDATES, *FUSED, "--fusion-over", "hyperformer"),
        (*run, *PRUNED, "--seeds", "0,1"),
        (*run, *PRUNED, "--mask-unit", "neuron", "--search-share", "0.5", "--mask-round", "1",
         "--max-steps", "60"),
        (*run, "--method", "sparse-sharing", "--masks", "random", "--mask-run", "sparse-sharing", "--seed", "1"),
        (*run, *PRUNED, "--prune", "encoder", "--updates", "leaky"),
        ("train-single", "-t", "sentiment-food", "--model", bert, *FEW, "--from-run", "shared", "--init",
         "sentiment-film", "--init-head"),
        ("train-share", "-t", "tiny-slots,sentiment-film,urgency-home", "--model", bert, *FEW, *SPLITTING),
        *(("train-share", "-t", TINY, "--model", str(encoders / kind), *FEW, *SPLITTING) for kind in others),
        ("train-share", "-t", "rows-csv,rows-lines,words-conll", *given, "--model", bert, *FEW, "--leak-scope", "task",
         "--max-rejected", "3"),
        ("correlate", "--plot"),
        (*judged, "--measure", "gradient,gradient-directed,plan,lookahead,random,size,text,adapter-weights,fisher"),
        (*judged, "--measure", "gradts,gradts-instance", "--samples", "20", "--importance", "head-gate"),
        (*judged, "--measure", "gradient,gradts,popularity,random", "--samples", "20", "--against", "transfer",
         "--target-steps", "3", "--plot"),
        (*judged, "--measure", "gradient", "--against", "pair", "--target-steps", "3", "--seeds", "0"),
        ("correlate", "--run", "hyperformer", "--measure", "task-embedding"),
        ("correlate", "--run", "adapterfusion-*", "--measure", "fusion"),
        ("correlate", "--run", "sparse-sharing-*", "--measure", "mask-overlap"),
        (*judged, "--measure", "gradient", "--select", "trial", "--target", "topic-news", "--target-steps", "3"),
        ("correlate", "--run", "shared", "--measure", "gradient", "--select", "threshold", "--threshold", "-1",
         "--target", "topic-news", "--no-baselines"),
        (*judged, "--measure", "gradts", "--samples", "20", "--select", "fg", "--target", "topic-news",
         "--target-steps", "3", "--seeds", "0"),
        ("train-share", "--model", bert, *UPDATES, *FAST, "--selection", "threshold", "--method", "shared"),
        ("report",),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------- what is compared


def make_tasks(folder: Path) -> None:
    """A small task for each reader, in `folder/tasks` and `folder/data`; the same files wherever it runs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        (f"{WORDS[n % 17]} {WORDS[n * 7 % 16]} {WORDS[n * 3 % 13]} {n}", "yes" if n % 3 else "no") for n in range(ROWS)
    ]
    parts = {"train": rows[: ROWS - 12], "dev": rows[ROWS - 12 :]}
    (folder / "tasks").mkdir(parents=True)
    (folder / "data").mkdir()
    task: dict = {
        "kind": "classification",
        "labels": ["no", "yes"],
        "metrics": ["f1", "accuracy"],
        "report_on": ["dev"],
    }
    words = {"kind": "tagging", "labels": "from-train", "metrics": ["accuracy", "macro_f1"], "report_on": ["dev"]}
    ends = {"csv": "csv", "tsv": "tsv", "jsonl": "jsonl", "parquet": "parquet"}
    for split, part in parts.items():
        place = folder / "data"
        text = {
            "csv": "text,label\n" + "".join(f'"{t}, ""so""",{label[0]}\n' for t, label in part) + ",y\n",
            "tsv": "".join(f"{n}\t{label}\t{t}\n" for n, (t, label) in enumerate(part)),
            "jsonl": "".join(json.dumps({"text": t, "text_pair": t[::-1], "label": label}) + "\n" for t, label in part),
            "in": "".join(f"{t}\n" for t, _ in part),
            "out": "".join(f"{label}\n" for _, label in part),
            "conll": "\n".join("".join(f"{word} {label}\n" for word in t.split()) for t, label in part),
        }
        for end, content in text.items():
            (place / f"{split}.{end}").write_text(content, encoding="utf-8")
        pq.write_table(pa.table({"text": [t for t, _ in part], "label": [label for _, label in part]}),
                       place / f"{split}.parquet")  # fmt: skip
    (folder / "data" / "all.json").write_text(json.dumps({s: [list(row) for row in part] for s, part in parts.items()}))
    own = {
        "csv": {"label_map": {"y": "yes", "n": "no"}},
        "tsv": {"header": "false", "quoting": "none", "columns": {"text": "2", "label": "1"}},
    }
    for reader, end in ends.items():
        files = {"reader": reader, "splits": {s: f"{s}.{end}" for s in parts}, **own.get(reader, {})}
        _define(folder, f"rows-{reader}", {**task, "files": files})
    lines = {"reader": "lines", "splits": {s: {"text": f"{s}.in", "label": f"{s}.out"} for s in parts}}
    _define(folder, "rows-lines", {**task, "labels": "from-train", "files": lines})
    _define(folder, "rows-clinc", {**task, "files": {"reader": "clinc", "splits": dict.fromkeys(parts, "all.json")}})
    conll = {"reader": "conll", "splits": {s: f"{s}.conll" for s in parts}, "columns": {"text": "0", "label": "1"}}
    _define(folder, "words-conll", {**words, "files": conll})


def _define(folder: Path, name: str, content: dict) -> None:
    (folder / "tasks" / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")


def make_workspace(folder: Path, only: str) -> None:
    """Run every command (those whose words hold `only`) with the package that Python finds."""
    from adaptershare_cli.__main__ import main
    from tests.conftest import ENCODER_TYPES, make_encoder

    for kind in ENCODER_TYPES:
        make_encoder(folder / "encoders" / kind, kind)
    make_tasks(folder / "own")
    for words in commands(folder / "encoders", folder / "own"):
        if only not in " ".join(words):
            continue
        sys.argv = ["adaptershare", *words, "--workspace", str(folder / "workspace")]
        try:
            main()
        except SystemExit as end:
            print(f"{end.code}  {' '.join(words)}", file=sys.stderr, flush=True)
            (folder / "codes").open("a").write(f"{end.code} {' '.join(words).replace(str(folder), '')}\n")


def digests(workspace: Path) -> dict[str, str]:
    """The SHA-256 of every file of a workspace that is the same however often it is made."""
    import pyarrow.parquet as pq

    names = {path.relative_to(workspace).as_posix(): path for path in sorted(workspace.rglob("*")) if path.is_file()}
    kept = {n: p for n, p in names.items() if p.name not in UNHASHED and not n.startswith((".locks/", "report/"))}
    found = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in kept.items()}
    if "report/results.parquet" in names:
        results = pq.read_table(names["report/results.parquet"]).drop_columns(["seconds"]).to_pylist()
        found["report/results.parquet"] = hashlib.sha256(json.dumps(results).encode()).hexdigest()
    return found


@contextmanager
def checkout(commit: str | None) -> Iterator[Path]:
    """A folder with the files of a commit; None is the working tree as it stands."""
    if commit is None:
        yield ROOT
        return
    with tempfile.TemporaryDirectory() as parent:
        tree = Path(parent) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def made_by(commit: str | None, only: str, out: Path) -> dict[str, str]:
    """What a commit makes in `out`: digests by file, and the exit code of each command."""
    with checkout(commit) as tree:
        environment = {**os.environ, "PYTHONPATH": str(tree), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        script = [sys.executable, __file__, "--make", str(out), "--only", only]
        subprocess.run(script, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    codes = dict(reversed(line.split(" ", 1)) for line in (out / "codes").read_text().splitlines())
    return digests(out / "workspace") | {f"exit code of {words}": code for words, code in codes.items()}


def main() -> None:
    """Compare, and end with 1 where something differs or a command fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="*", help="one commit (against the working tree) or two")
    parser.add_argument("--only", default="", help="run only command lines that hold this text")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help="keep the first commit's workspace here, and use it if it is there")
    arguments = parser.parse_args()
    if arguments.make:
        make_workspace(arguments.make, arguments.only)
        return
    if len(arguments.commits) not in (1, 2):
        parser.error("give one commit or two")
    with tempfile.TemporaryDirectory() as parent:
        before = _kept(arguments.keep) or made_by(arguments.commits[0], arguments.only, Path(parent) / "before")
        if arguments.keep and not arguments.keep.exists():
            arguments.keep.write_text(json.dumps(before))
        after = made_by(arguments.commits[1] if len(arguments.commits) == 2 else None, arguments.only,
                        Path(parent) / "after")  # fmt: skip
    names = sorted({*before, *after})
    if arguments.only:
        names = [name for name in names if name in after]
    differing = [name for name in names if before.get(name) != after.get(name)]
    failed = [name for name in names if name.startswith("exit code") and after.get(name) != "0"]
    for name in (*differing, *failed):
        print(f"{name}: {before.get(name, 'absent')[:12]} before, {after.get(name, 'absent')[:12]} after")
    artefacts = sum(name.endswith("artefact.json") for name in names)
    print(
        f"{len(names)} files of {artefacts} artefacts compared: {len(differing)} differ, {len(failed)} commands failed"
    )
    sys.exit(bool(differing or failed))


def _kept(file: Path | None) -> dict[str, str] | None:
    return json.loads(file.read_text()) if file and file.exists() else None


if __name__ == "__main__":
    main()
