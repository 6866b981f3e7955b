"""Numbers in the book: in prose a setting, or a cited claim; and the list of claims is complete and in range."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from nlkit.params import registry

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


METHODS = {entry.paper for entry in registry.everything() if entry.looks}
BASELINES = {"f_correction", "iterative_cv", "m_correction", "meta_learning", "p_correction", "volminnet"}
BASELINES |= {"c2d", "cc", "co_teaching", "elr_plus", "moit", "pes_semi", "plc", "rrl", "sel_cl_plus", "sop_plus"}
METRICS = {"best", "last", "best_single", "last_single", "selected", "reported"}
METRICS |= {"top1", "top5", "imagenet_top1", "imagenet_top5"}
REQUIRED = {"paper", "cell", "metric", "value", "source", "evidence"}
CELLS = re.compile(
    r"(digits|cifar10|cifar100)-(sym|asym|pmd)-\d\d(-mixmatch)?"
    r"|cifar10n-(aggregate|random[123]|worst)(-laptop)?|cifar100n"
    r"|(webvision|food101n|clothing1m)(-[a-z0-9]+)?"
)
CLAIMS: list[dict[str, Any]] = yaml.safe_load((ROOT / "book" / "claims.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda one: f"{one.get('paper')}-{one.get('cell')}-{one.get('metric')}")
def test_claim_is_well_formed(claim: dict[str, Any]) -> None:
    assert set(claim) - {"std"} == REQUIRED
    assert claim["paper"] in METHODS | BASELINES
    assert claim["metric"] in METRICS
    assert 0 <= claim["value"] <= 100
    assert 0 <= claim.get("std", 0) <= 100
    assert claim["source"].strip() and claim["evidence"].strip()
    assert "recall" not in claim["evidence"]
    assert list(ROOT.glob(f"params/*/{claim['cell']}.yaml")) or CELLS.fullmatch(claim["cell"])


def test_claims_are_unique_and_the_last_never_exceeds_the_best() -> None:
    values = {(claim["paper"], claim["cell"], claim["metric"]): claim["value"] for claim in CLAIMS}
    assert len(values) == len(CLAIMS)
    both = [key[:2] for key in values if key[2] == "last" and (*key[:2], "best") in values]
    assert both and all(values[*key, "last"] <= values[*key, "best"] for key in both)
