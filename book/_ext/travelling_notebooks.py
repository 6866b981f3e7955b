"""A Sphinx extension: a notebook for download runs where nothing of the repository is but the installed package.

It carries the parameter files that it names, and those that these refer to. It has no outputs, which stand in the pages
already. A notebook that reads the records of all runs, or the table of benchmarks, is not offered: the records would
weigh more than the book, and the table is a file of the repository.

Where `repository.url` of `_config.yml` is an address on GitHub, a page of a notebook leads to it on Binder and Colab.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import yaml
from sphinx.application import Sphinx
from sphinx.errors import ConfigError

from nlbook import contents
from nlkit.params import read_tree

NAMED = re.compile(r'^params = "([\w/.-]+)"|\bparams/([\w/.-]+)\.yaml\b', re.MULTILINE)
READS_ALL = re.compile(r"\ball_runs\(|noise_page\.noise_page\(|\btable = \W+benchmarks/")
GITHUB = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?")
LAUNCHERS = {
    "Binder": "https://mybinder.org/v2/gh/{}/{}?urlpath=lab/tree/{}",
    "Colab": "https://colab.research.google.com/github/{}/blob/{}/{}",
}
"""Where a file of a repository and branch is opened; Binder installs what `environment.yml` names, Colab nothing."""
FIRST = """<p class="nlkit-launch">Colab has neither package nor parameters. There, first run these lines in a new cell:
<code>!git clone -q https://github.com/{} clone</code>, <code>!pip install -q "./clone[book]"</code> and
<code>%cd clone</code>.</p>"""
CARRIER = """# The parameter files that this notebook names, for a folder that lacks them.
from nlkit.files import project_root, write_atomically

for _name, _text in {{
{files}
}}.items():
    if not (project_root() / _name).exists():
        write_atomically(project_root() / _name, _text)"""


def carried(code: str, params: Path) -> dict[str, str]:
    """The parameter files below `params` that a text names, and those that these name, without their bases."""
    found: dict[str, str] = {}
    texts = [code]
    while texts:
        for names in NAMED.findall(texts.pop()):
            name = "".join(names)
            path = params / f"{name}.yaml"
            if f"params/{name}.yaml" not in found and path.is_file():
                texts.append(yaml.safe_dump(read_tree(path), sort_keys=False, default_flow_style=None, width=110))
                found[f"params/{name}.yaml"] = texts[-1]
    return found


def pack(path: Path, params: Path) -> None:
    """Strip the outputs of a notebook and put what it needs below its parameters; removes one that needs all."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code = "\n".join(cell.source for cell in cells)
    if READS_ALL.search(code):
        path.unlink()
        return
    for cell in cells:
        cell.update(outputs=[], execution_count=None)
    if CARRIER[:40] not in code and (files := carried(code, params)):
        listed = "\n".join(f'    "{name}": """{text}""",' for name, text in files.items())
        place = notebook.cells.index(cells[0]) + 1
        notebook.cells.insert(place, nbformat.v4.new_code_cell(CARRIER.format(files=listed)))
    nbformat.write(notebook, path)


def pack_all(app: Sphinx, error: Exception | None) -> None:
    """Go over the notebooks of a finished build, and remove downloads of an earlier one."""
    made = Path(app.srcdir, "book", "_generated", "extra")
    for path in Path(app.outdir, "downloads").rglob("*.*") if error is None else ():
        if not (made / path.relative_to(app.outdir)).exists():
            path.unlink()
    for folder in ("_sources", "downloads/notebooks") if error is None else ():
        for path in Path(app.outdir, folder).rglob("*.ipynb"):
            pack(path, Path(app.srcdir, "params"))


def offer(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Leave out the button for a notebook that would not run alone; runs after the theme has made the buttons."""
    source = Path(app.srcdir, f"{page}.ipynb")
    if source.is_file() and READS_ALL.search(source.read_text(encoding="utf-8")):
        for group in context["header_buttons"]:
            group["buttons"] = [one for one in group.get("buttons", []) if ".ipynb" not in one.get("url", "")]


def repository(app: Sphinx) -> tuple[str, str] | None:
    """Owner/name and branch of the repository; None without an address, ConfigError where it is none on GitHub."""
    told = yaml.safe_load(Path(app.srcdir, "_config.yml").read_text(encoding="utf-8"))["repository"]
    found = GITHUB.fullmatch(told["url"])
    if told["url"] and not found:
        raise ConfigError(f"_config.yml: repository.url: {told['url']!r} should be https://github.com/OWNER/NAME")
    return (found[1], told["branch"]) if found else None


def launch(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Add links that open the clean notebook of a page elsewhere; runs after the theme has made the buttons."""
    place = repository(app)
    if place is None or not Path(app.srcdir, f"{page}.ipynb").is_file():
        return
    file = contents.notebook(Path(page).name)
    links = [
        {"type": "link", "text": name, "tooltip": f"Open on {name}", "url": address.format(*place, file)}
        for name, address in LAUNCHERS.items()
    ]
    group = {"type": "group", "tooltip": "Open the notebook elsewhere", "icon": "fas fa-rocket", "buttons": links}
    context["header_buttons"].append(group | {"label": "launch-buttons"})
    context["body"] = context["body"].replace("</h1>", f"</h1>\n{FIRST.format(place[0])}", 1)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", pack_all)
    app.connect("builder-inited", repository)
    app.connect("html-page-context", offer, priority=502)
    app.connect("html-page-context", launch, priority=502)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
