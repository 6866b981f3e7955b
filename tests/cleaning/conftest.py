from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nlkit.cli import main


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs `nlkit clean` and returns its one line of refusal; no table may have been written."""

    def run(*arguments: str | Path, out: Path) -> str:
        before, _ = out.exists(), capsys.readouterr()
        code = main(["clean", *map(str, arguments), "--out", str(out), "--quiet"])
        output, errors = capsys.readouterr()
        assert (code, output, errors.count("\n"), out.exists()) == (2, "", 1, before)
        assert errors.startswith("nlkit: ")
        return errors

    return run
