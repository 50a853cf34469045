"""Sessions: demo, tests, rounding, lint, docs, unchanged, slow; measurements: bench, speed, minute, protocol, words,
planted, negative-transfer, truth, plans, measures, selection, one-pass, predicting, serve.

All share the environment that nox itself runs in (README: `.venv`), so that torch is installed once; what they
install is pinned by constraints.txt.
"""

from __future__ import annotations

import json
import os
import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["tests"]
PRUNED = ("sparse-sharing", "--rounds", "4", "--final-rate", "0.3", "--round-epochs", "1")  # each an epoch
PAID = (*PRUNED, "--search-share", "0.5")  # as many examples as other methods
SUBNETS = (
    PRUNED,  # each task is trained five times alone before: more examples, see the tables
    PAID,
    (*PRUNED, "--multitask-warmup-epochs", "0"),
)
PLANS = (  # plan search, and what it must beat
    ("plan-search",),
    ("plan-search", "--proposals", "random"),
    ("shared", "--no-observe"),
    ("private", "--no-observe"),
    ("adaptershare", "--check-every", "100"),
    ("shared-then-private",),
    ("by-type",),
    ("merge",),
    ("recon",),
)
DATA = os.environ.get("ADAPTERSHARE_DATA", "../shared/data")
# A worker takes whole files, so that what a file's tests share is made once; in their order, the small ones last. One
# thread a worker: small models gain nothing from more, and workers would wait for each other.
WORKERS = ("-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder")


def install(session: nox.Session) -> None:
    """Install torch first (a CPU build where one is at hand), then the package with its extras."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "-c", "constraints.txt")
    session.run(*pip, "torch")
    session.run(*pip, "-e", ".[offline,dev]")


def run(session: nox.Session, module: str, *arguments: str, **options: dict[str, str]) -> None:
    """Run a module with the Python that nox runs in."""
    session.run(sys.executable, "-m", module, *arguments, **options)


def train(session: nox.Session, *options: str) -> str:
    """Train together, or find what is there; gives the runs' names as options take them."""
    command = [sys.executable, "-m", "adaptershare_cli", "train-share", *options, "--json", *session.posargs]
    found = json.loads(session.run(*command, silent=True, stderr=None))["artefacts"]
    return ",".join(run["name"].partition("/")[2] for run in found)


@nox.session
def demo(session: nox.Session) -> None:
    """Train AdapterShare on the embedded tiny tasks, draw who shares with whom, and report."""
    install(session)
    run(session, "adaptershare_cli", "train-share", "--config", "tests/benchmarks/tiny.toml", *session.posargs)
    run(session, "adaptershare_cli", "correlate", "--plot")
    run(session, "adaptershare_cli", "report")


@nox.session
def tests(session: nox.Session) -> None:
    """The fast tests; they need neither network nor data from outside."""
    install(session)
    run(session, "pytest", *WORKERS, *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def rounding(session: nox.Session) -> None:
    """Tests (by default those that choose between near scores) while products round as on another processor."""
    install(session)
    chosen = ["tests/cli/test_plans.py", "tests/unit/test_training.py", "tests/unit/test_precision.py"]
    options = [*WORKERS, "-p", "tests.rounding", *(session.posargs or chosen)]
    run(session, "pytest", *options, env={"OMP_NUM_THREADS": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types."""
    install(session)
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")
    run(session, "mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site in workspace/site, with its reference made from the program; warnings are errors."""
    install(session)
    session.run(sys.executable, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", "-e", ".[docs]")
    quiet = {"NO_MKDOCS_2_WARNING": "1"}  # an advertisement of another program
    run(session, "mkdocs", "build", "--strict", "--quiet", *session.posargs, env=quiet)


@nox.session
def unchanged(session: nox.Session) -> None:
    """Six minutes: does the working tree make every artefact as the commit in the arguments did? Keys and bytes."""
    install(session)
    session.run(sys.executable, "tests/benchmarks/unchanged.py", *(session.posargs or ["HEAD"]))


@nox.session
def slow(session: nox.Session) -> None:
    """Minutes: real data (ADAPTERSHARE_DATA, by default ../shared/data) and the embedded encoder."""
    install(session)
    run(session, "pytest", "-m", "slow", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """About an hour: 8 GLUE tasks, private, shared (also with encoder dropout) and adaptershare, then the report."""
    install(session)
    common = ["--config", "tests/benchmarks/glue8.toml", "--from", DATA, "-w", "workspace/glue8"]
    for options in (["private"], ["shared"], ["shared", "--encoder-dropout"], ["adaptershare"]):
        run(session, "adaptershare_cli", "train-share", *common, "--method", *options, *session.posargs)
    run(session, "adaptershare_cli", "report", "-w", "workspace/glue8")
    cost = ["--from", DATA, "--workspace", "workspace/small"]
    session.run(sys.executable, "tests/benchmarks/check_cost.py", *cost)


@nox.session
def speed(session: nox.Session) -> None:
    """Ten minutes: 80 updates of methods without rounds, tasks of the small protocol; read the column `seconds`."""
    install(session)
    few = ["--max-steps", "80", "--max-eval-examples", "50", "--threads", "1", "--force", "-w", "workspace/speed"]
    common = ["--config", "tests/benchmarks/small.toml", "--from", DATA, *few]
    for method in ("shared", "private", "adaptershare", "hyperformer", "hyperformer++", "adapterfusion"):
        run(session, "adaptershare_cli", "train-share", *common, "--method", method, *session.posargs)
    session.run(sys.executable, "tests/benchmarks/compare.py", "--workspace", "workspace/speed")


@nox.session
def minute(session: nox.Session) -> None:
    """Eight minutes: seven methods on 3 tasks of 200 rows, 24 updates: each is to take less than one (`seconds`)."""
    install(session)
    common = ["--config", "tests/benchmarks/minute.toml", "--from", DATA, "-w", "workspace/minute", "--force"]
    for method in (
        "private", "shared", "adaptershare", "adapterfusion", "hyperformer", "hyperformer++", "sparse-sharing",
    ):  # fmt: skip
        run(session, "adaptershare_cli", "train-share", *common, "--method", method, *session.posargs)
    session.run(sys.executable, "tests/benchmarks/compare.py", "--workspace", "workspace/minute")


@nox.session
def protocol(session: nox.Session) -> None:
    """About three hours: the small protocol with every method and control, three seeds, and their comparison."""
    install(session)
    common = ["--config", "tests/benchmarks/small.toml", "--from", DATA, "-w", "workspace/small", "--seeds", "0,1,2"]
    checked = ["--check-every", "320"]
    quick = ["--fusion-learning-rate", "1e-3"]
    # The random plans are drawn after these very runs: there are others of the method beside them.
    plans = train(session, *common, *checked)
    for options in (
        ["--method", "random-plan", "--init-plan", plans, *checked],
        ["--method", "private", *checked],
        ["--method", "shared", *checked],
        ["--shuffle-heldout-labels", *checked],
        ["--guard", "none", *checked],
        ["--rule", "significance", "--max-interference", "-0.3", *checked],
        ["--method", "hyperformer", "--learning-rate", "1e-4", *checked],
        ["--method", "hyperformer++", "--learning-rate", "1e-4", *checked],
        # With the paper's learning rate, and with that of the other methods; half of the updates train the adapters.
        ["--method", "adapterfusion"],
        ["--method", "adapterfusion", *quick],
        # Twice the examples: adapters trained as long as those of train-single, then as many updates again.
        ["--method", "adapterfusion", *quick, "--stage-one-share", "1", "--stage-two-share", "1"],
    ):
        run(session, "adaptershare_cli", "train-share", *common, *options, *session.posargs)
    # Each task alone, with as many updates as the others give it.
    run(session, "adaptershare_cli", "train-single", *common, "--max-steps", "100", *session.posargs)
    session.run(sys.executable, "tests/benchmarks/compare.py", "--workspace", "workspace/small")


@nox.session
def words(session: nox.Session) -> None:
    """About four hours: tagging (CoNLL-2003) and dialogue understanding, five methods, three seeds; mask overlaps.

    What is made is kept, so the session may be stopped at any time; started again it goes on.
    """
    install(session)
    for suite, interval in (("conll", "160"), ("dialogue", "320")):
        workspace = f"workspace/{suite}"
        common = ["--config", f"tests/benchmarks/{suite}.toml", "--from", DATA, "-w", workspace, "--seeds", "0,1,2"]
        checked = ["--check-every", interval]
        plans = train(session, *common, *checked)
        for options in (
            ["random-plan", "--init-plan", plans, *checked],
            ["private", *checked],
            ["shared", *checked],
            ["adapterfusion", "--fusion-learning-rate", "1e-3"],
            *SUBNETS,
        ):
            run(session, "adaptershare_cli", "train-share", *common, "--method", *options, *session.posargs)
        session.run(sys.executable, "tests/benchmarks/compare.py", "--workspace", workspace)


@nox.session
def planted(session: nox.Session) -> None:
    """About an hour: halves of five data sets as tasks, three seeds, with true and with shuffled held-out labels."""
    install(session)
    halves = ["--tasks", "sst2,qqp,stsb,snips-intent,banking77", "--from", DATA, "--out", "workspace/halves"]
    session.run(sys.executable, "tests/benchmarks/halves.py", *halves)
    common = ["--config", "tests/benchmarks/planted.toml", "--task-dir", "workspace/halves"]
    common += ["--from", "workspace/halves", "-w", "workspace/planted", "--seeds", "0,1,2"]
    for options in ([], ["--shuffle-heldout-labels"]):
        run(session, "adaptershare_cli", "train-share", *common, *options, *session.posargs)
    session.run(sys.executable, "tests/benchmarks/planted.py", "--workspace", "workspace/planted")


@nox.session(name="negative-transfer")
def negative_transfer(session: nox.Session) -> None:
    """About an hour: what a half of sst2 loses beside its other half with random labels, by method, three seeds.

    What is made is kept, so the session may be stopped at any time; started again it goes on.
    """
    install(session)
    tasks, place = "workspace/noise", ["-w", "workspace/negative"]
    script = [sys.executable, "tests/benchmarks/negative.py"]
    session.run(*script, "make", "--task", "sst2", "--from", DATA, "--out", tasks)
    common = ["--config", "tests/benchmarks/negative.toml", "--task-dir", tasks, "--from", tasks, *place]
    common += ["--seeds", "0,1,2", *session.posargs]
    # Alone with as many updates as the task has beside a partner.
    run(session, "adaptershare_cli", "train-single", *common, "--tasks", "sst2-real", "--max-steps", "200")
    for partner in ("placebo", "noise"):
        pair = [*common, "--tasks", f"sst2-real,sst2-{partner}"]
        for options in (
            ["private"],
            ["shared"],
            ["adaptershare", "--check-every", "50"],
            PAID,
        ):
            run(session, "adaptershare_cli", "train-share", *pair, "--method", *options)
    session.run(*script, "table", *place, "--csv", "workspace/negative/negative.csv")


@nox.session
def truth(session: nox.Session) -> None:
    """Hours, in as many sittings as you like: all measures and the measured truth on 6 tasks, five seeds.

    What is made is kept, so the session may be stopped at any time; started again it goes on.
    """
    install(session)
    place = ["-w", "workspace/truth"]
    common = ["--config", "tests/benchmarks/truth.toml", "--from", DATA, *place]
    run(session, "adaptershare_cli", "train-share", *common, "--method", "shared", "--lookahead-every", "100")
    run(session, "adaptershare_cli", "train-share", *common)
    of_run = "gradient,gradient-directed,lookahead,grad-tag"  # of the shared run itself
    of_single = "gradts,gradts-instance,adapter-weights,fisher,adapter-size,probe,logme,knn,h-score,transrate"
    of_tasks = "text,random,size,few-labels,text-pairs"  # of what was prepared, without any training
    cheap = f"{of_run},{of_single},{of_tasks},popularity"
    for against in ("transfer", "pair"):
        for runs, names in (("shared", cheap), ("adaptershare", "plan")):
            options = ["--run", runs, "--measure", names, "--against", against, "--plot"]
            run(session, "adaptershare_cli", "correlate", *place, *options, *session.posargs)
    session.run(sys.executable, "tests/benchmarks/truth.py", "--workspace", "workspace/truth")


@nox.session
def plans(session: nox.Session) -> None:
    """A day, in as many sittings as you like: plan search against what it must beat, on three suites, fresh seeds.

    What is made is kept, so the session may be stopped at any time; started again it goes on. `nox -s plans -- truth
    10` is one suite and one seed. Of each seed's plan the other seeds judge what it is worth.
    """
    install(session)
    suites = [name for name in session.posargs if not name.isdigit()] or ["truth", "small", "dialogue"]
    seeds = ",".join(name for name in session.posargs if name.isdigit()) or "10,11,12,13,14,15,16,17"
    for suite in suites:
        place = ["-w", f"workspace/plans-{suite}"]
        common = ["--config", f"tests/benchmarks/{suite}.toml", "--from", DATA, *place, "--seeds", seeds]
        common += ["--select-size", "500"]  # every choice goes by them
        for options in PLANS:
            run(session, "adaptershare_cli", "train-share", *common, "--method", *options)
        table = ["--workspace", f"workspace/plans-{suite}", "--csv", "tests/benchmarks/results/plans.csv"]
        session.run(sys.executable, "tests/benchmarks/plans.py", *table, "--verdicts", "40")


@nox.session
def selection(session: nox.Session) -> None:
    """Hours, in as many sittings as you like: what goes along with mrpc and rte in the small protocol; baselines."""
    install(session)
    place = ["-w", "workspace/small"]
    common = ["--config", "tests/benchmarks/small.toml", "--from", DATA, *place]
    runs = train(session, *common, "--method", "shared", "--check-every", "320")  # what is selected trains anew
    for procedure in ("trial", "fg"):
        options = ["--run", runs, "--seeds", "0,1,2", "--measure", "gradts", "--select", procedure]
        run(session, "adaptershare_cli", "correlate", *place, *options, "--target", "mrpc,rte", *session.posargs)
    table = ["--workspace", "workspace/small", "--csv", "workspace/small/selection.csv"]
    session.run(sys.executable, "tests/benchmarks/selection.py", *table)


@nox.session
def serve(session: nox.Session) -> None:
    """Five minutes: requests of 1, 8 and 64 clients for the six embedded tasks, put together and one by one."""
    install(session)
    place = ["--workspace", "workspace/serve"]
    run(session, "adaptershare_cli", "train-share", "--config", "tests/benchmarks/tiny.toml", *place)
    session.run(sys.executable, "tests/benchmarks/serve.py", *place, *session.posargs)


@nox.session(name="one-pass")
def one_pass(session: nox.Session) -> None:
    """Ten minutes: what one pass for six tasks saves under the plans of shared, adaptershare and private."""
    install(session)
    place = ["--workspace", "workspace/one-pass"]
    tasks = ["--tasks", "cola,sst2,atis-intent,snips-intent,banking77,clinc150", "--from", DATA, *place]
    small = ["--max-train-examples", "500", "--max-eval-examples", "100", "--max-seq-length", "64", "--threads", "1"]
    common = [*tasks, *small, "--learning-rate", "3e-3"]
    # Seconds do not depend on how long weights were trained, only on the plan.
    checked = ["adaptershare", "--max-steps", "60", "--check-every", "12"]
    for options in (checked, ["shared", "--max-steps", "6"], ["private", "--max-steps", "6"]):
        run(session, "adaptershare_cli", "train-share", *common, "--method", *options)
    texts = ["--input", os.path.join(DATA, "dialogue", "Banking77", "test.csv")]
    session.run(sys.executable, "tests/benchmarks/one_pass.py", *place, *texts, *session.posargs)


@nox.session
def predicting(session: nox.Session) -> None:
    """Half an hour: rows a second and memory of `predict` for files of several lengths, a bare loop and a pipeline."""
    install(session)
    place = ["--workspace", "workspace/predicting"]
    quick = ["--tasks", "tiny", "--method", "shared", "--max-steps", "6", "--threads", "1", *place]
    run(session, "adaptershare_cli", "train-share", *quick)
    session.run(sys.executable, "tests/benchmarks/predicting.py", *place, *session.posargs)


@nox.session
def measures(session: nox.Session) -> None:
    """About an hour: time and memory of every measure on 3, 8 and 30 tasks."""
    install(session)
    session.run(sys.executable, "tests/benchmarks/measures.py", "--from", DATA, *session.posargs)
