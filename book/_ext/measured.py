"""What chapters take from records: {measured}`DivideMix, digits-sym-50, last`, and {losses} elr, tcl on digits-sym-50.

The role prints a number: of a method as tables name it, a cell, and a column of the table of who memorises
(`nlbook.tables.memorisation`), or `wrong labels`, their share. It is the mean of the committed records, with the
deviation of their seeds where there are several. The directive puts the losses of runs behind one slider. Another one,
{build} times or {build} packages, lists how long each notebook took, or what is installed. The release of the book is
that of the package.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective, SphinxRole

from nlbook.contest import Rivals, contestants, percent
from nlbook.tables import Source, memorisation
from nlkit.figures.viewer import loss_viewer


@cache
def source(root: Path) -> Source:
    """The records of a project, which are read once a build."""
    return Source(root)


@cache
def measurements(root: Path, cell: str) -> tuple[pd.DataFrame, Rivals]:
    """The table of a cell, and the runs behind it."""
    rivals = contestants(source(root).runs, [cell])[cell]
    table = memorisation(rivals)
    table["wrong labels"] = [percent(runs[0].record["noise"]["realised"]) for runs in rivals.values()]
    return table, rivals


class Measured(SphinxRole):
    """The role; a name that no record knows is an error of the build."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The number as text; the page is made again where one of the records behind it changes."""
        try:
            method, cell, column = map(str.strip, self.text.rsplit(",", 2))  # names of methods have commas, too
            table, rivals = measurements(Path(self.env.srcdir), cell)
            value = table.loc[method, column]
        except (KeyError, ValueError) as error:
            return [], [self.inliner.reporter.error(f"measured: {self.text}: {error}", line=self.lineno)]
        for run in (run for runs in rivals.values() for run in runs):
            self.env.note_dependency(str(run.folder / "record.json"))
        return [nodes.Text(str(value).replace(" ", "\N{NO-BREAK SPACE}"))], []


class Losses(SphinxDirective):
    """The directive; a run without a record ends the build."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """The viewer as raw HTML."""
        papers, cell = self.arguments[0].split(" on ")
        runs = [source(Path(self.env.srcdir)).run(paper.strip(), cell.strip()) for paper in papers.split(",")]
        for run in runs:
            self.env.note_dependency(str(run.folder / "record.json"))
        return [nodes.raw("", loss_viewer(*runs).data, format="html")]


class Build(SphinxDirective):
    """The directive that lists what built the pages: `times` of notebooks, or `packages`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table as raw HTML."""
        table = {"times": self.times, "packages": installed}[self.arguments[0]]()
        text = table.to_html(index=False, border=0, classes="table", formatters={"seconds": "{:.1f}".format})
        return [nodes.raw("", text.replace(' style="text-align: right;"', ""), format="html")]

    def times(self) -> pd.DataFrame:
        """Seconds that the cells of each notebook took, with the loading of its record or its training."""
        found = []
        for page in sorted(one for one in self.env.found_docs if Path(self.env.doc2path(one)).suffix == ".ipynb"):
            self.env.note_dependency(self.env.doc2path(page))
            cells = nbformat.read(self.env.doc2path(page), as_version=4).cells
            spans = [
                one.metadata.execution for one in cells if "shell.execute_reply" in one.metadata.get("execution", {})
            ]
            ends = pd.DataFrame(spans, columns=["iopub.execute_input", "shell.execute_reply"]).apply(pd.to_datetime)
            found.append(
                {"notebook": Path(page).name, "seconds": ends.diff(axis=1).iloc[:, 1].dt.total_seconds().sum()}
            )
        table = pd.DataFrame(found, columns=["notebook", "seconds"])
        return pd.concat([table, pd.DataFrame([{"notebook": "all", "seconds": table["seconds"].sum()}])])


def installed() -> pd.DataFrame:
    """Names and versions of all installed packages."""
    found = {one.name.lower(): one.version for one in distributions()}
    return pd.DataFrame(sorted(found.items()), columns=["package", "version"])


def set_release(app: Sphinx, config: Config) -> None:
    """The book has the version of the code that made it."""
    config["release"] = version("nlkit")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_role("measured", Measured())
    app.add_directive("losses", Losses)
    app.add_directive("build", Build)
    app.connect("config-inited", set_release)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
