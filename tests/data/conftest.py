"""Small stand-ins for the public data sets, in the official layouts, and for the sites that offer them."""

from __future__ import annotations

import pickle
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlkit.data import cifar, download, human

TRAIN, TEST = 50, 10


@pytest.fixture
def small_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "TRAIN_COUNT", TRAIN)
    monkeypatch.setattr(cifar, "TEST_COUNT", TEST)


@pytest.fixture
def write_cifar(small_counts: None) -> Callable[..., Path]:
    """A function that writes a small CIFAR folder and returns it."""

    def write(root: Path, name: str = "cifar10", protocol: int = 2, seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        layout = cifar.LAYOUTS[name]
        folder = root / layout.folder
        folder.mkdir(parents=True)
        counts = dict.fromkeys(layout.train_files, TRAIN // len(layout.train_files))
        for file, count in {**counts, layout.test_file: TEST}.items():
            rows = rng.integers(0, 256, (count, cifar.ROW_BYTES), dtype=np.uint8)
            labels = rng.integers(0, layout.classes, count).tolist()
            batch = {"batch_label": file, layout.label_key: labels, "data": rows}
            (folder / file).write_bytes(pickle.dumps(batch, protocol=protocol))
        names = {layout.names_key: [f"class {index}" for index in range(layout.classes)]}
        (folder / layout.names_file).write_bytes(pickle.dumps(names, protocol=protocol))
        return folder

    return write


@pytest.fixture
def write_human() -> Callable[..., Path]:
    """A function that writes human labels for given clean labels, as `.npz` or `.pt`, and returns the file."""

    def write(folder: Path, name: str, clean: np.ndarray, ending: str, **changes: Any) -> Path:
        rng = np.random.default_rng(1)
        kept = human.HUMAN_FILES[name]
        arrays: dict[str, Any] = {"clean_label": clean}
        for key in kept.keys.values():
            arrays[key] = np.where(rng.random(len(clean)) < 0.3, rng.integers(0, kept.classes, len(clean)), clean)
        arrays.update(changes)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / next(file for file in kept.files if file.endswith(ending))
        if ending == ".npz":
            np.savez(path, **arrays)
        else:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", pickle.dumps(arrays, protocol=2))
                archive.writestr("archive/version", "3\n")
        return path

    return write


@pytest.fixture
def damaged() -> Callable[..., list[bytes]]:
    """A function that returns damaged copies of some bytes: flipped in one place, or cut short."""

    def copies(data: bytes, flips: int = 100, cuts: int = 20) -> list[bytes]:
        rng = np.random.default_rng(2)
        found = []
        for position in rng.integers(0, len(data), flips):
            copy = bytearray(data)
            copy[position] ^= int(rng.integers(1, 256))
            found.append(bytes(copy))
        return found + [data[: int(cut)] for cut in rng.integers(0, len(data), cuts)]

    return copies


@dataclass
class Site:
    """A local server: the content of each path, the ranges that were asked for, and how it misbehaves."""

    address: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    ranges: list[str | None] = field(default_factory=list)
    knows_ranges: bool = True
    breaks_after: int | None = None


def handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = site.content.get(self.path)
            site.ranges.append(self.headers["Range"])
            if data is None:
                return self.send_error(404)
            start = int((self.headers["Range"] or "bytes=0-")[6:-1]) if site.knows_ranges else 0
            if start >= len(data):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start : site.breaks_after])

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "CHUNK_BYTES", 1000)
    site = Site()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(site)) as server:
        site.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield site
        server.shutdown()
        thread.join()
