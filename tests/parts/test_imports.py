"""What is loaded by those who only read records, and by runs on digits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PARTS = Path(__file__).parents[2] / "nlkit" / "parts"
NETWORKS = {"learner", "frozen", "diffusion_learner"}
"""Parts that hold a network."""
DIGITS = """
import torch
from nlkit.params.views import AffineStrongParams, ViewParams
from nlkit.views.strong import strong_view
from nlkit.views.weak import Views
images, given = torch.zeros(3, 8, 8, 1, dtype=torch.uint8), ((0.5,), (0.5,), torch.device("cpu"))
for params in (ViewParams(), ViewParams(rotate=10.0)):
    Views(params, *given).weak(images, torch.Generator())
strong_view(AffineStrongParams(kind="affine"), *given)(images, torch.Generator())
"""


def loaded(code: str) -> set[str]:
    """Modules that an interpreter of its own has after running the code."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_functions_of_parts_and_the_views_of_digits_are_imported_without_torch() -> None:
    parts = sorted({path.stem for path in PARTS.glob("[a-z]*.py")} - NETWORKS)
    found = loaded(f"from nlkit.parts import {', '.join(parts)}\nfrom nlkit.views import strong, weak")
    assert {"nlkit.parts.mixture", "nlkit.parts.contrast", "nlkit.views.strong"} < found and "torch" not in found


def test_views_of_digits_load_nothing_of_photographs() -> None:
    found = loaded(DIGITS)
    assert "nlkit.views.weak" in found
    photographs = {"nlkit.views.photos", "nlkit.views.autoaugment", "nlkit.data.photos.stored", "torchvision", "PIL"}
    assert not found & photographs
