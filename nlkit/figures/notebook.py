"""What notebooks need beside figures: parameters from their cells, and the box that tells how a page was made."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from nlkit.errors import NlkitError
from nlkit.figures.images import Images, gallery
from nlkit.figures.style import use_book_style
from nlkit.files import project_root
from nlkit.params import Params, load_params, make_params
from nlkit.training import records
from nlkit.training.runs import Run, run_path

ENCODER = "pre-trained in {seconds:.0f} s, params sha256 {params_sha256:.16}, weights sha256 {weights_sha256:.16}"
PLAIN = (str, int, float, list, dict, type(None))


def parameters(namespace: dict[str, Any]) -> Params[Any]:
    """The parameters that the cells above assign; call it in the first cell after them as `parameters(globals())`.

    Every name that holds plain data is one. `params` names a file below `params/`, without its suffix; all others are
    keys that override the file. Where `paper` or `base` is among them, as when papermill injects a whole parameter
    file, they replace the file altogether. Where a kernel calls it again, names that later cells have assigned since
    are left out. Raises NlkitError for an unknown name or a wrong value.
    """
    use_book_style()
    os.chdir(project_root())
    plain = [name for name, value in namespace.items() if isinstance(value, PLAIN) and not name.startswith("_")]
    first = namespace.setdefault("_first_names", plain)
    names = [name for name in plain if name in first or name in Params.model_fields]
    # `In` and `Out` are IPython's own
    values = {name: namespace[name] for name in names if name not in ("params", "In", "Out")}
    if "paper" in values or "base" in values:
        return make_params(values, {}, source="notebook parameters")
    return load_params(project_root() / "params" / f"{namespace['params']}.yaml", **values)


def committed(run: Run) -> records.Record | None:
    """The committed record of the same parameters, if there is one."""
    folder = project_root() / "results" / run_path(run.params)
    if not (folder / "record.json").exists():
        return None
    record = records.load(folder)
    return record if record.info["params_sha256"] == run.record["params_sha256"] else None


def fresh_and_committed(run: Run) -> pd.DataFrame:
    """This run beside the committed record of the same parameters: accuracies in percent, split, seconds."""
    other = committed(run)
    columns = {"this run": run.record}
    if other is not None and other.folder.resolve() != run.folder.resolve():
        columns["committed record"] = other.info
    return pd.DataFrame({name: _numbers(info) for name, info in columns.items()}).rename_axis(run.params.cell)


def _numbers(info: Mapping[str, Any]) -> dict[str, str]:
    accuracy = info["accuracy"]
    return {
        "last accuracy in %": _number(accuracy["last"], ".2f"),
        "last, one network": _number(accuracy["last_single"], ".2f"),
        "best (selected on the test set)": _number(accuracy["best"], ".2f"),
        **{name: _number(value, ".4f") for name, value in info["split"].items()},
        "seconds of training": f"{info['seconds']:.0f}",
        "made at": info["finished"],
    }


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def verdict(run: Run) -> str:
    """One sentence: whether this run repeats the committed record."""
    other = committed(run)
    if other is None:
        return "There is no committed record of these parameters to compare with."
    if other.folder.resolve() == run.folder.resolve():
        return "These numbers are the committed record's; nothing was trained for this page."
    found = records.differences(records.load(run.folder), other)
    if not found:
        return "This run repeats the committed record bit for bit, times aside."
    gap = run.record["accuracy"]["last"] - other.info["accuracy"]["last"]
    return f"This run differs from the committed record: last accuracy by {gap:+.2f} points (first: {found[0]})."


def box(run: Run, notebook: str) -> HTML:
    """The reproducibility box of a page: what was run, on what, and how to run it again."""
    record, name = run.record, f"{run.params.paper}/{run.params.cell}"
    noise, data, device, network = (record[part] for part in ("noise", "data", "device", "network"))
    rows = {
        "Parameters": f"params/{name}.yaml, seed {run.params.seed}, sha256 {record['params_sha256'][:16]}",
        "Data": f"{data['name']}, {data['train']} training images, sha256 {data['sha256'][:16]}",
        "Labels": f"{noise['kind']}, nominal {_share(noise['nominal'])}, realised {_share(noise['realised'])}, "
        f"sha256 {noise['sha256'][:16]}",
        "Network": f"{network['name']}, {network['parameters']:,} parameters, {record['precision']}",
        "Encoder": ENCODER.format(**record["encoder"]) if record.get("encoder") else "none",
        "Machine": f"{device['name']}, {device['threads']} threads, {record['peak_memory_mb']:.0f} MB at most",
        "Time": f"{record['seconds']:.0f} s of training, finished {record['finished']}",
        "Versions": ", ".join(f"{package} {number}" for package, number in record["versions"].items()),
        "Commit": record["commit"] or "not in a repository",
        "Events": "; ".join(record["events"][:3]) or "none",
        "Check": verdict(run),
    }
    rows |= {f"Warning {i}": text for i, text in enumerate(data["warnings"], start=1)}
    rows = {what: html.escape(text) for what, text in rows.items()}
    again = f"nlkit run params/{name}.yaml -s seed={run.params.seed} --fresh"
    papermill = f"papermill notebooks/{notebook}.ipynb out.ipynb -f params/{name}.yaml"
    rows |= {"Run it again": f"<code>{again}</code>", "As a notebook": f"<code>{papermill}</code>"}
    files = {"Notebook": f"notebooks/{notebook}.ipynb"}
    files["Record"] = f"records/{name.replace('/', '-')}-seed-{run.params.seed}.zip"
    rows |= {what: f'<a href="../../downloads/{path}" download>{path}</a>' for what, path in files.items()}
    items = "".join(f"<dt>{what}</dt><dd>{text}</dd>" for what, text in rows.items())
    return HTML(f'<div class="nlkit-repro"><h4>How this page was made</h4><dl>{items}</dl></div>')


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.2f} %"


def show_gallery(run: Run) -> Figure | HTML:
    """The gallery of a run, or one line where its images are not on this machine."""
    return show_images(gallery, run)


def show_images(draw: Callable[[Run, Images], Figure], run: Run) -> Figure | HTML:
    """A figure that needs the images of a run, or one line where they are not on this machine."""
    try:
        figure = draw(run, run.images())
    except NlkitError as error:
        return HTML(f"<p>The images are not on this machine, so they are not shown: {html.escape(str(error))}</p>")
    plt.close(figure)
    return figure
