"""Downloads: whole, checked and put in place at once, or nothing and one line."""

import functools
import hashlib
import io
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fuzzing import refused
from trees import cifar_folder, human_file

from nlkit.data import get, load_dataset, sources
from nlkit.noise import label_sources

Offer = Callable[..., Callable[[Path], None]]


class Handler(SimpleHTTPRequestHandler):
    server: Any

    def copyfile(self, source: Any, outputfile: Any) -> None:
        outputfile.write(source.read(self.server.breaks_after))

    def log_message(self, *_arguments: object) -> None:
        self.server.asked.append(self.path)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A local server of the files in its `folder`: what was asked for, and after how many bytes it breaks off."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path_factory.mktemp("site")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as site:
        vars(site).update(folder=folder, asked=[], breaks_after=None, address=f"http://127.0.0.1:{site.server_port}")
        threading.Thread(target=site.serve_forever, args=(0.01,)).start()
        yield site
        site.shutdown()


@pytest.fixture
def offer(site: Any) -> Offer:
    """A function that makes the site the source of a data set, and returns what gets it into a root."""

    def offer(data: bytes, name: str = "cifar10") -> Callable[[Path], None]:
        (site.folder / "some.tar.gz").write_bytes(data)
        known = sources() | label_sources()
        wanted = known[name].download
        sums = {"algorithm": "md5", "checksum": hashlib.md5(data).hexdigest()}
        known[name] = replace(known[name], download=replace(wanted, url=f"{site.address}/some.tar.gz", **sums))
        return lambda root: get(name, root, known)

    return offer


@pytest.fixture
def archive(tmp_path: Path, small_cifar: None) -> bytes:
    folder = cifar_folder(tmp_path / "original")
    return pack({f"{folder.name}/{file.name}": file.read_bytes() for file in folder.iterdir()})


def pack(members: dict[str, bytes], *links: tuple[str, str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return stream.getvalue()


def entries(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


def test_an_archive_is_brought_once_and_digits_never(tmp_path: Path, site: Any, offer: Offer, archive: bytes) -> None:
    root, bring = tmp_path / "new" / "root", offer(archive)
    bring(root)
    assert entries(root) == ["cifar-10-batches-py"]
    assert load_dataset("cifar10", root).sha256 == load_dataset("cifar10", tmp_path / "original").sha256
    bring(root)
    assert len(site.asked) == 1
    get("digits", tmp_path / "digits", sources())
    assert not (tmp_path / "digits").exists()


@pytest.mark.parametrize("what", ["broken", "wrong", "refused"])
def test_a_failed_download_leaves_no_trace(tmp_path: Path, site: Any, offer: Offer, archive: bytes, what: str) -> None:
    root, bring, offered = tmp_path / "root", offer(archive), site.folder / "some.tar.gz"
    site.breaks_after = 5000 if what == "broken" else None
    if what == "wrong":
        offered.write_bytes(archive[:-1] + b"?")
    elif what == "refused":
        offered.unlink()
    said = "the server answers 404 (File not found); download" if what == "refused" else "was removed; try again, or"
    assert said in refused(lambda: bring(root)) and entries(root) == []
    site.breaks_after = None
    offered.write_bytes(archive)
    bring(root)
    assert entries(root) == ["cifar-10-batches-py"]


def test_an_archive_put_there_is_used_once_it_is_right(tmp_path: Path, site: Any, offer: Offer, archive: bytes) -> None:
    bring, given = offer(archive), tmp_path / "some.tar.gz"
    given.write_bytes(archive[:99])
    refused(lambda: bring(tmp_path), r"some\.tar\.gz: has md5 .* remove or replace it")
    given.write_bytes(archive)
    bring(tmp_path)
    assert given.exists() and site.asked == []
    load_dataset("cifar10", tmp_path)


def test_nothing_but_the_needed_files_leaves_an_archive(tmp_path: Path, offer: Offer, archive: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    extra = {"../escaped": b"x", f"{tmp_path}/absolute": b"x", "cifar-10-batches-py/readme.html": b"x"}
    root = tmp_path / "root"
    offer(pack({**extra, **members}, ("cifar-10-batches-py/link", "/etc/passwd")))(root)
    assert entries(root) == ["cifar-10-batches-py"]
    assert {file.name for file in (root / "cifar-10-batches-py").iterdir()} == {name.split("/")[1] for name in members}
    assert not (tmp_path / "escaped").exists() and not (tmp_path / "absolute").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not an archive", "not a readable"),
        (pack({"cifar-10-batches-py/test_batch": bytes(9)})[:-20], "not a readable"),
        (pack({"cifar-10-batches-py/test_batch": bytes(9)}), "lacks cifar-10-batches-py/data_batch_1"),
        (pack({}, ("cifar-10-batches-py/data_batch_1", "/etc/passwd")), "lacks cifar-10-batches-py/data_batch_1"),
        (pack({}, ("cifar-10-batches-py", "/etc")), "lacks cifar-10-batches-py/data_batch_1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "archive",  # a packed one holds the time
)
def test_an_unusable_archive_puts_nothing_in_place(tmp_path: Path, offer: Offer, data: bytes, message: str) -> None:
    refused(lambda: offer(data)(tmp_path), message)
    assert "cifar-10-batches-py" not in entries(tmp_path)


def test_human_labels_are_brought(tmp_path: Path, small_cifar: None, offer: Offer) -> None:
    cifar_folder(tmp_path)
    data = human_file(tmp_path / "x", "cifar10n", load_dataset("cifar10", tmp_path).labels, ".pt").read_bytes()
    offer(data, "cifar10n")(tmp_path)
    assert (tmp_path / "cifar-n" / "CIFAR-10_human.pt").read_bytes() == data


def test_no_network_is_one_clear_line(tmp_path: Path, site: Any, offer: Offer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        site.address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    message = refused(lambda: offer(b"")(tmp_path))
    assert message.startswith("cannot reach 127.0.0.1 (")
    assert "by hand" in message and str(tmp_path) in message and entries(tmp_path) == []


def test_what_is_in_the_way_is_left_alone(tmp_path: Path, small_cifar: None, offer: Offer) -> None:
    folder = cifar_folder(tmp_path)
    (folder / "test_batch").unlink()
    refused(lambda: offer(b"")(tmp_path), r"not usable as cifar10 \(lacks .*test_batch\); rename it or remove it first")
    assert (folder / "data_batch_1").exists()
    (tmp_path / "file").write_bytes(b"")
    refused(lambda: offer(b"")(tmp_path / "file" / "root"), "cannot store cifar10")
