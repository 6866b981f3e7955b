"""The list of claims is complete, unique and in range."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nlkit.params import registry

ROOT = Path(__file__).resolve().parents[2]
METHODS = {entry.paper for entry in registry.everything() if entry.looks}
BASELINES = {"f_correction", "iterative_cv", "m_correction", "meta_learning", "p_correction"}
BASELINES |= {"c2d", "cc", "moit", "plc", "rrl", "sel_cl_plus"}
METRICS = {"best", "last", "best_single", "last_single", "selected", "top1", "imagenet_top1", "reported"}
REQUIRED = {"paper", "cell", "metric", "value", "source", "evidence"}
CELLS = re.compile(
    r"(digits|cifar10|cifar100)-(sym|asym|pmd)-\d\d(-mixmatch)?"
    r"|cifar10n-(aggregate|random[123]|worst)(-laptop)?|cifar100n"
    r"|(webvision|food101n|clothing1m)(-[a-z0-9]+)?"
)
CLAIMS: list[dict[str, Any]] = yaml.safe_load((ROOT / "book" / "claims.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "claim", CLAIMS, ids=lambda claim: f"{claim.get('paper')}-{claim.get('cell')}-{claim.get('metric')}"
)
def test_claim_is_well_formed(claim: dict[str, Any]) -> None:
    assert set(claim) - {"std"} == REQUIRED
    assert claim["paper"] in METHODS | BASELINES
    assert claim["metric"] in METRICS
    assert 0 <= claim["value"] <= 100
    assert 0 <= claim.get("std", 0) <= 100
    assert claim["source"].strip() and claim["evidence"].strip()
    assert "recall" not in claim["evidence"]


@pytest.mark.parametrize("cell", sorted({claim["cell"] for claim in CLAIMS}))
def test_cell_has_parameters_or_a_name_of_the_contract(cell: str) -> None:
    assert list(ROOT.glob(f"params/*/{cell}.yaml")) or CELLS.fullmatch(cell)


def test_claims_are_unique_and_the_last_never_exceeds_the_best() -> None:
    values = {(claim["paper"], claim["cell"], claim["metric"]): claim["value"] for claim in CLAIMS}
    assert len(values) == len(CLAIMS)
    both = [key[:2] for key in values if key[2] == "last" and (*key[:2], "best") in values]
    assert both and all(values[*key, "last"] <= values[*key, "best"] for key in both)
