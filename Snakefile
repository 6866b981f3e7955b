"""The graph of the book and of all runs: parameters -> records -> executed notebooks -> pages.

The book: the cells in NEW are trained anew, with the pre-training that they refer to; for all others the committed
records are shown. `--config fresh=none` trains nothing, `--config fresh=all` trains every cell on digits that has a page.

The grid: `digits`, `laptop`, `cifar10`, `cifar100`, `photographs` and `all` train every cell of that kind below `runs/`,
with the seeds of `--config seeds=0,1,2`; so does a record or an executed notebook that is asked for by its path. A dry run
ends with the hours that all runs would take on each machine whose rates are in `benchmarks/results.csv`.
"""

import atexit
import re
import shutil
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout
from nlbook import contents
from nlkit.params import sources

NEW = [f"{paper}-digits-sym-50" for paper in ("cross_entropy", "dividemix", "tcl", "codim", "lra_diffusion")]


if config.get("fresh", "some") not in ("all", "some", "none"):
    raise WorkflowError(f"--config fresh={config['fresh']}: expected all, some or none")


def is_fresh(page):
    """Whether the run that a page shows is trained anew."""
    return {"all": "-digits" in page, "none": False}.get(config.get("fresh"), page in NEW)


def record(page, seed=contents.SEED):
    """The record of a run that is trained anew."""
    return str(Path("runs", *contents.parameter_file(page).with_suffix("").parts[1:], f"seed-{seed}", "record.json"))


def needs_gpu(run):
    """1 for a run at full size, 0 for one that a laptop makes; `--resources gpu=1` runs one after the other."""
    due[f"{run.paper}-{run.cell}", run.seed] = True
    return int(contents.kind(run.cell) not in ("digits", "laptop"))


def tell_hours():
    """After a dry run, print what its runs would cost."""
    if workflow.dryrun and due:
        from benchmarks import hours

        print(hours.summary([page for page, seed in due]))


BIN = ".venv/bin/" if Path(".venv/bin/python").exists() else ""
PYTHON = f"OMP_NUM_THREADS=1 {BIN}python"  # or Snakemake gives each a rule's threads, and kernels stall each other
RUNS = contents.run_pages(Path(), is_fresh)
FRESH = [page for page in RUNS if is_fresh(page)]
FRESH += sorted({before for page in FRESH for before in contents.pretraining(page)} - {*FRESH})
RECORDED = [page for page in RUNS if page not in FRESH]
OTHERS = contents.other_pages(Path())
PAGES = OTHERS + [page for page in FRESH if page in RUNS] + RECORDED  # not every pre-training has one
EARLY = [page for page in OTHERS if not FRESH or not contents.shows_all_runs(page)] + RECORDED  # need no training
FRAGMENTS = [f"book/_generated/{name}" for name in contents.fragments(Path())]
TRAINED = [record(page) for page in FRESH]
COMMITTED = [str(path) for ending in ("json", "png") for path in sorted(Path("results").rglob(f"*.{ending}"))]
NOTEBOOKS = sorted(map(str, Path("notebooks").glob("*.ipynb")))
PARAMS = sorted(map(str, Path("params").rglob("*.yaml")))
PACKAGES = sorted([*Path("nlkit").rglob("*.*"), *Path("book/nlbook").rglob("*.*")])  # with the templates beside the code
SHOWN = [str(path) for path in PACKAGES if path.suffix != ".pyc"]


# Snakemake leaves its locks where it is killed. Who gets this one, which ends with its process, finds only such locks.
engine = FileLock(".snakemake/engine.lock", blocking=False)
if workflow.is_main_process:
    Path(".snakemake").mkdir(exist_ok=True)
    try:
        engine.acquire()
        shutil.rmtree(".snakemake/locks", ignore_errors=True)
    except Timeout:
        pass  # another is at work here: Snakemake itself refuses a second one

parameter_files = cache(sources)  # of a run: its own, and those that it is based on
due = {}  # runs whose resources were asked for
if workflow.is_main_process:
    atexit.register(tell_hours)  # only then it is known to be a dry run

SEEDS = str(config.get("seeds", contents.SEED))
if not re.fullmatch(r"\d+(,\d+)*", SEEDS):
    raise WorkflowError(f"--config seeds={SEEDS}: expected whole numbers with commas between them, such as seeds=0,1,2")
SEEDS = SEEDS.split(",")

wildcard_constraints:
    paper="[a-z0-9_]+",
    cell="[a-z0-9-]+",
    seed="[0-9]+",


rule book:
    input:
        "_build/html/index.html",


for kind, cells in contents.grid(Path()).items():

    rule:
        name:
            kind
        input:
            [record(page, seed) for page in cells for seed in SEEDS],


rule train:
    """One run; what a killed one left is resumed, and a committed record is never loaded in its place."""
    input:
        encoder=lambda run: [record(page) for page in contents.pretraining(f"{run.paper}-{run.cell}")],
        params=lambda run: parameter_files(contents.parameter_file(f"{run.paper}-{run.cell}")),
        code=lambda run: contents.code(f"{run.paper}-{run.cell}"),
    output:
        "runs/{paper}/{cell}/seed-{seed}/record.json",
    log:
        "runs/logs/{paper}-{cell}-seed-{seed}.txt",
    threads: 1
    resources:
        gpu=needs_gpu,
    shell:
        f"{PYTHON} -m nlkit run params/{{wildcards.paper}}/{{wildcards.cell}}.yaml -s seed={{wildcards.seed}}"
        " --out $(dirname {output}) --quiet > {log} 2>&1"


rule notebook:
    """The notebook of one run, executed by papermill; where its record is missing it is trained first."""
    input:
        rules.train.output,
        "notebooks/{paper}.ipynb",
    output:
        "runs/{paper}/{cell}/seed-{seed}/notebook.ipynb",
    log:
        "runs/logs/{paper}-{cell}-seed-{seed}.ipynb",
    threads: 1
    shell:
        f"{PYTHON} -m papermill {{input[1]}} {{log}} -f params/{{wildcards.paper}}/{{wildcards.cell}}.yaml"
        " -p seed {wildcards.seed} --no-progress-bar && cp {log} {output}"


rule pages_of_records:
    """The pages that wait for no training."""
    input:
        NOTEBOOKS,
        PARAMS,
        COMMITTED,
        SHOWN,
        "benchmarks/results.csv",
    output:
        touch("book/pages/.of_records"),
    log:
        "runs/logs/pages_of_records.txt",
    threads: 1  # so that the fragments are made beside it
    priority: 1  # it takes longest: begun last, it would leave the other cores idle
    params:
        processes=1 if FRESH else workflow.cores,
    shell:
        f"{PYTHON} -m nlbook.pages {{params.processes}} {' '.join(EARLY)} > {{log}} 2>&1 || (cat {{log}}; exit 1)"


rule pages:
    """All executed notebooks; those that are there already and would come out the same are kept."""
    input:
        TRAINED,
        rules.pages_of_records.output,
    output:
        touch("book/pages/.all"),
    log:
        "runs/logs/pages.txt",
    threads: max(1, workflow.cores - 1)  # so that the fragments are made beside it
    params:
        processes=workflow.cores,
    shell:
        f"{PYTHON} -m nlbook.pages {{params.processes}} {' '.join(PAGES)} > {{log}} 2>&1 || (cat {{log}}; exit 1)"


rule fragments:
    """Tables and figures of the chapters, from records and claims."""
    input:
        TRAINED,
        NOTEBOOKS,
        PARAMS,
        COMMITTED,
        SHOWN,
        ["book/claims.yaml", "benchmarks/own_photographs.csv"],
    output:
        FRAGMENTS,
    threads: 1
    shell:
        f"{PYTHON} -m nlbook.fragments"


rule html:
    """The book, with warnings as errors."""
    input:
        rules.pages.output,
        FRAGMENTS,
        ["_config.yml", "_toc.yml", "book/references.bib"],
        [str(path) for pattern in ("book/*.md", "benchmarks/*.csv") for path in sorted(Path().glob(pattern))],
        [str(path) for path in sorted(Path("book/_static").rglob("*")) + sorted(Path("book/_ext").glob("*.py"))],
        SHOWN,
    output:
        "_build/html/index.html",
    log:
        "runs/logs/book.txt",
    threads: 1
    params:
        toc="book/_generated/_toc.yml",
    shell:
        f"{PYTHON} -m nlbook.contents {{params.toc}} {' '.join(RUNS)} && {BIN}jupyter-book build . --toc {{params.toc}}"
        " --warningiserror -n > {log} 2>&1 || (tail -n 30 {log}; exit 1)"
