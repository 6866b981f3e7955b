"""A number in prose is made from a record: what is typed is a setting, follows from settings, or is a paper's claim."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
FILES = ["README.md", *(f"book/{path.name}" for path in sorted((ROOT / "book").glob("*.md")))]
FILES += [f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
NO_PROSE = re.compile(
    r"^(`{3,})(?!\{admonition\}).*?^\1$"  # code, and what is included
    r"|<!-- (\w+) -->\n.*?<!-- /\2 -->"  # written by a program
    r"|^:[\w-]+:.*?$|`[^`\n]+`"  # options, and roles, among them those of measurements and citations
    r"|\b(a?sym(metric)?|pmd) \d+ %",  # names of cells
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
SETTING = r"[ \u00a0]?%<!-- setting -->"
CLAIM = r"[ \u00a0]?(?:%|(?:percentage )?points)<!-- claim -->"
NUMBER = re.compile(r"\d[\d.,]*[ \u00a0\n]?(?:%|percent\b|(?:percentage )?points?\b)")


def typed(text: str) -> list[str]:
    """Shares and points that are typed and not marked, paragraph by paragraph.

    `<!-- setting -->` marks a share that is chosen, or that follows from choices; `<!-- claim -->` one of a paper,
    which is cited in the same paragraph.
    """
    found = []
    for paragraph in re.split(r"\n\s*\n", NO_PROSE.sub(lambda one: "{cite}" * ("{cite" in one[0]), text)):
        marked = rf"\d[\d.,]*(?:{SETTING}|{CLAIM})" if "{cite" in paragraph else rf"\d[\d.,]*{SETTING}"
        found += NUMBER.findall(re.sub(marked, "", paragraph))
    return found


@pytest.mark.parametrize("file", FILES)
def test_no_share_in_prose_is_typed(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    if file.endswith(".ipynb"):
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert typed(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It gains 2.5 points.", ["2.5 points"]),
        ("It ends at 91.2\u00a0%, above 80\n%.", ["91.2\u00a0%", "80\n%"]),
        ("Of 50 %<!-- setting --> wrong labels it finds 90 %.", ["90 %"]),
        ("95 %<!-- claim --> in the paper.", ["95 %"]),
        ("95 %<!-- claim --> in {cite:t}`li2020dividemix`.", []),
        ("{measured}`ELR, digits-sym-50, last` % under symmetric 50 %", []),
        ("```text\n12 %\n```\n<!-- results -->\n3 %\n<!-- /results -->\n", []),
    ],
)
def test_what_is_typed_is_found(text: str, found: list[str]) -> None:
    assert typed(text) == found
