"""Fixtures of the book tests: the built pages, a local server and a headless browser."""

import contextlib
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from sphinx_external_toc.parsing import parse_toc_data

from nlbook import contents

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"


@pytest.fixture(scope="module", autouse=True)
def in_the_project() -> Iterator[None]:
    """The current folder is the project, where the code of pages looks for it."""
    with contextlib.chdir(ROOT):
        yield


@functools.cache
def toc_pages() -> list[str]:
    """Every page of the table of contents, without a suffix, in reading order: of the built book where there is one."""
    path = ROOT / "book" / "_generated" / "_toc.yml"
    built = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return list(parse_toc_data(built or contents.table_of_contents(ROOT, contents.run_pages(ROOT))))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `name` runs once for each page of the table of contents."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", toc_pages())


@pytest.fixture(scope="session")
def html() -> Path:
    if not (HTML / "index.html").is_file():
        pytest.skip("the book is not built: run `make book` first")
    return HTML


@pytest.fixture(scope="session")
def site(html: Path) -> Iterator[str]:
    """Address of the built book, served on this machine only."""
    handler, place = http.server.SimpleHTTPRequestHandler, ("127.0.0.1", 0)
    serve = functools.partial(handler, directory=str(html))
    with patch.object(handler, "log_message"), http.server.ThreadingHTTPServer(place, serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def chromium(html: Path) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on this machine: none of " + ", ".join(names))
    with sync_api.sync_playwright() as playwright:
        words = ["--no-sandbox", "--disable-gpu", "--disable-quic"]  # Playwright's own turn off all that calls home
        browser = playwright.chromium.launch(executable_path=path, args=words)
        yield browser
        browser.close()
