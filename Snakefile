"""The graph of the book: parameters -> records -> executed notebooks -> pages."""

import shutil
from pathlib import Path

import nbformat

from nlkit.params.files import read_tree, sources

PAPERS = ["cross_entropy", "mixup", "elr", "confident_learning", "dividemix", "simclr", "tcl", "codim", "lra_diffusion"]
FRESH = {paper: [f"digits-{noise}" for noise in ("sym-20", "sym-50", "sym-80", "asym-40")] for paper in PAPERS}
FRESH |= {paper: ["digits-sym-50", "digits-sym-80"] for paper in ("mixup", "elr")} | {"simclr": ["digits"]}
FRESH |= {"confident_learning": ["digits-sym-50"]}
FRESH["codim"] += ["digits-sym-50-sup"]
RECORDED = {paper: ["cifar10n-worst-laptop"] for paper in PAPERS if paper != "simclr"}
SEED = 0
BIN = ".venv/bin/" if Path(".venv/bin/python").exists() else ""
PYTHON = f"{BIN}python"

# What decides the outcome of a run, as opposed to how it is shown.
ROOMS = ("params", "data", "noise", "kernels", "views", "models", "parts", "methods", "training")
TRAINING = [str(path) for room in ROOMS for path in sorted(Path("nlkit", room).rglob("*.py"))]
SHOWN = [str(path) for folder in ("nlkit", "book/nlbook") for path in sorted(Path(folder).rglob("*.py"))]
COMMITTED = [str(path) for path in sorted(Path("results").rglob("*.json"))]
PAGES = [f"book/pages/{paper}-{cell}.ipynb" for paper in PAPERS for cell in FRESH[paper] + RECORDED.get(paper, [])]
TRAINED = [f"runs/{paper}/{cell}/seed-{SEED}/record.json" for paper in PAPERS for cell in FRESH[paper]]
GENERATED = (
    *(f"results_{paper}" for paper in ("dividemix", "mixup", "elr", "tcl", "codim", "lra_diffusion", "digits")),
    *("variations_tcl", "variations_codim_50", "variations_codim_80", "variations_lra_diffusion"),
    *("variations_lra_diffusion_50", "vote_lra_diffusion", "encoder_digits", "photo_rows", "environment"),
)
FRAGMENTS = [f"book/_generated/{name}.md" for name in GENERATED]


def execute(notebook, log, page, parameters):
    """Run a notebook with papermill; its executed copy is kept as the log even where it fails."""
    given = f"-f {parameters}" if parameters else ""
    shell(f"{PYTHON} -m papermill --no-progress-bar --cwd . {notebook} {log} {given} > {log}.txt 2>&1")
    shutil.copyfile(log, page)


def finish(page, cell):
    """Name the cell in the page's title, and fold the injected parameters away."""
    notebook = nbformat.read(page, as_version=4)
    title, *rest = notebook.cells[0].source.split("\n")
    notebook.cells[0].source = "\n".join([f"{title}: {cell}", *rest])
    for one in notebook.cells:
        if "injected-parameters" in one.metadata.get("tags", []):
            one.metadata.tags.append("hide-input")
    nbformat.write(notebook, page)


wildcard_constraints:
    paper="|".join(PAPERS),
    cell="[a-z0-9-]+",


rule book:
    input:
        "_build/html/index.html",


def encoder_of(wildcards):
    """The record of the pre-training that a run refers to; with it stands the encoder that all such runs share."""
    path = Path("params", wildcards.paper, f"{wildcards.cell}.yaml")
    reference = read_tree(path)["method"].get("encoder")
    reference = reference.get("params") if isinstance(reference, dict) else reference
    return [f"runs/simclr/{Path(reference).stem}/seed-{SEED}/record.json"] if reference else []


def params_of(wildcards):
    """A cell's parameter file, first, and all that it is based on."""
    return [str(path) for path in sources(Path("params", wildcards.paper, f"{wildcards.cell}.yaml"))]


rule train:
    """One run, trained anew; a committed record is never loaded in its place."""
    input:
        encoder_of,
        params=params_of,
        code=TRAINING,
    output:
        f"runs/{{paper}}/{{cell}}/seed-{SEED}/record.json",
    log:
        f"runs/logs/{{paper}}-{{cell}}-seed-{SEED}.txt",
    threads: 1
    shell:
        f"{PYTHON} -m nlkit run {{input.params[0]}} -s seed={SEED} --fresh --quiet > {{log}} 2>&1"


def record_of(wildcards):
    place = "runs" if wildcards.cell in FRESH[wildcards.paper] else "results"
    return f"{place}/{wildcards.paper}/{wildcards.cell}/seed-{SEED}/record.json"


rule page:
    """One executed notebook for a paper and a cell."""
    input:
        record=record_of,
        params=params_of,
        notebook="notebooks/{paper}.ipynb",
        committed=COMMITTED,
        code=SHOWN,
    output:
        "book/pages/{paper}-{cell}.ipynb",
    log:
        "runs/logs/{paper}-{cell}.ipynb",
    threads: 1
    run:
        execute(input.notebook, str(log), output[0], input.params[0])
        finish(output[0], wildcards.cell)


rule overview:
    """The executed notebooks that look at labels, or at all records together."""
    input:
        records=TRAINED,
        notebook="notebooks/{name}.ipynb",
        committed=COMMITTED,
        code=SHOWN,
    output:
        "book/pages/{name,noise|noise_models|compare|detection}.ipynb",
    log:
        "runs/logs/{name}.ipynb",
    threads: 1
    run:
        execute(input.notebook, str(log), output[0], None)


rule your_data:
    """The executed notebook that cleans a folder of images."""
    input:
        notebook="notebooks/your_data.ipynb",
        code=SHOWN,
    output:
        "book/pages/your_data.ipynb",
    log:
        "runs/logs/your_data.ipynb",
    threads: 1
    run:
        execute(input.notebook, str(log), output[0], None)


rule fragments:
    """Tables and figures of the chapters, from records and claims."""
    input:
        records=TRAINED,
        committed=COMMITTED,
        claims="book/claims.yaml",
        notebooks=[str(path) for path in sorted(Path("notebooks").glob("*.ipynb"))],
        params=[str(path) for path in sorted(Path("params").rglob("*.yaml"))],
        code=SHOWN,
    output:
        FRAGMENTS,
    threads: 1
    shell:
        f"{PYTHON} -m nlbook.fragments book/_generated"


rule html:
    """The book, with warnings as errors."""
    input:
        PAGES,
        "book/pages/noise.ipynb",
        "book/pages/noise_models.ipynb",
        "book/pages/compare.ipynb",
        "book/pages/detection.ipynb",
        "book/pages/your_data.ipynb",
        FRAGMENTS,
        ["_config.yml", "_toc.yml", "book/references.bib"],
        [str(path) for path in sorted(Path("book").glob("*.md"))],
        [str(path) for path in sorted(Path("book/_static").rglob("*")) + sorted(Path("book/_ext").glob("*.py"))],
        SHOWN,
    output:
        "_build/html/index.html",
    log:
        "runs/logs/book.txt",
    threads: 1
    shell:
        f"{BIN}jupyter-book build . --warningiserror -n > {{log}} 2>&1 || (tail -n 30 {{log}}; exit 1)"
