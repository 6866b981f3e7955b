"""What notebooks need beside figures: parameters from their cells, and the box that tells how a page was made."""

import html
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML
from jinja2 import Template
from matplotlib.figure import Figure

from nlkit.errors import NlkitError
from nlkit.figures.images import Images, ShownImages, gallery
from nlkit.figures.style import use_book_style
from nlkit.files import project_root
from nlkit.params import Params, deviation, load_params, make_params
from nlkit.training import records
from nlkit.training.runs import Run

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


def fresh_and_committed(run: Run) -> pd.DataFrame:
    """This run beside the committed record of the same parameters: accuracies in percent, split, seconds."""
    other = records.committed(run.params)
    columns = {"this run": run.record}
    if other is not None and other.folder.resolve() != run.folder.resolve():
        columns["committed record"] = other.info
    return pd.DataFrame({name: _numbers(info) for name, info in columns.items()}).rename_axis(run.params.cell)


def _numbers(info: Mapping[str, Any]) -> dict[str, str]:
    accuracy = info["accuracy"]
    return {
        "last accuracy in %": records.shown(accuracy["last"], ".2f"),
        "last, one network": records.shown(accuracy["last_single"], ".2f"),
        "best (selected on the test set)": records.shown(accuracy["best"], ".2f"),
        **{name: records.shown(value, ".4f") for name, value in info["split"].items()},
        "seconds of training": f"{info['seconds']:.0f}",
        "made at": info["finished"],
    }


def verdict(run: Run) -> str:
    """One sentence: whether this run repeats the committed record."""
    other = records.committed(run.params)
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
    record, name, seed = run.record, f"{run.params.paper}/{run.params.cell}", run.params.seed
    text = Path(__file__).with_name("box.html").read_text(encoding="utf-8")
    page = Template(text, autoescape=True, trim_blocks=True).render(
        {part: record[part] for part in ("noise", "data", "device", "network")},
        record=record,
        name=name,
        seed=seed,
        notebook=f"notebooks/{notebook}.ipynb",
        archive=f"records/{name.replace('/', '-')}-seed-{seed}.tar.xz",
        verdict=verdict(run),
        changed=deviation(run.params),
        percent=_percent,
    )
    return HTML(page)


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.2f} %"


def show_gallery(run: Run) -> Figure | HTML:
    """The gallery of a run, or one line where its images are not on this machine."""
    return show_images(gallery, run)


def show_images(draw: Callable[[Run, Images], Figure], run: Run) -> Figure | HTML:
    """A figure that needs the images of a run, or one line where they are not on this machine."""
    images = ShownImages(run)
    try:
        return draw(run, images)
    except NlkitError as error:
        return HTML(f"<p>The images are not on this machine, so they are not shown: {html.escape(str(error))}</p>")
    finally:
        plt.close()  # or Jupyter shows it once more, and what was drawn before an error
