from pathlib import Path

import pytest
from pictures import write_images


@pytest.fixture(autouse=True)
def _few_drawings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of the time of a small run; tests of the report and of features draw them."""
    if "report" not in request.node.name and "test_features" not in request.node.nodeid:
        monkeypatch.setattr("nlkit.cleaning.results._figures", lambda result: {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty images in two classes, with correct labels."""
    return write_images(tmp_path, 2, 10)
