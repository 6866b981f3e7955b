from __future__ import annotations

import hashlib
import io
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nlkit.data import fetch, get, load_dataset
from nlkit.data.download import Checksum
from nlkit.errors import NlkitError


@pytest.fixture
def offer(site: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, bytes], None]:
    """A function that makes the site the source of a data set."""

    def offer(name: str, file: str, data: bytes) -> None:
        site.content[f"/{file}"] = data
        monkeypatch.setitem(fetch.URLS, name, f"{site.address}/{file}")
        checksums = {name: Checksum("md5", hashlib.md5(data).hexdigest())}
        monkeypatch.setattr(fetch, "checksum", checksums.__getitem__)

    return offer


@pytest.fixture
def archive(tmp_path: Path, write_cifar: Callable[..., Path]) -> bytes:
    folder = write_cifar(tmp_path / "original")
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
    return sorted(str(path.relative_to(root)) for path in root.iterdir()) if root.exists() else []


def test_an_archive_is_brought_unpacked_and_not_brought_again(
    tmp_path: Path, site: Any, offer: Callable[..., None], archive: bytes
) -> None:
    offer("cifar10", "cifar-10-python.tar.gz", archive)
    root = tmp_path / "new" / "root"
    get("cifar10", root)
    assert entries(root) == ["cifar-10-batches-py"]
    assert load_dataset("cifar10", root).sha256 == load_dataset("cifar10", tmp_path / "original").sha256
    get("cifar10", root)
    assert site.ranges == [None]


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_partial_download_is_resumed(
    tmp_path: Path, site: Any, offer: Callable[..., None], archive: bytes, knows_ranges: bool
) -> None:
    offer("cifar10", "cifar-10-python.tar.gz", archive)
    site.knows_ranges = knows_ranges
    (tmp_path / "cifar-10-python.tar.gz.part").write_bytes(archive[:777])
    get("cifar10", tmp_path)
    assert site.ranges == ["bytes=777-"]
    load_dataset("cifar10", tmp_path)


def test_a_broken_connection_keeps_the_part_for_the_next_attempt(
    tmp_path: Path, site: Any, offer: Callable[..., None], archive: bytes
) -> None:
    offer("cifar10", "cifar-10-python.tar.gz", archive)
    site.breaks_after = 5000
    with pytest.raises(NlkitError, match=r"broke off.*run the command again to continue"):
        get("cifar10", tmp_path / "root")
    assert entries(tmp_path / "root") == ["cifar-10-python.tar.gz.part"]
    site.breaks_after = None
    get("cifar10", tmp_path / "root")
    assert site.ranges == [None, "bytes=5000-"]
    assert entries(tmp_path / "root") == ["cifar-10-batches-py"]


def test_a_complete_part_needs_no_network(
    tmp_path: Path, site: Any, offer: Callable[..., None], archive: bytes
) -> None:
    offer("cifar10", "cifar-10-python.tar.gz", archive)
    (tmp_path / "cifar-10-python.tar.gz.part").write_bytes(archive)
    get("cifar10", tmp_path)
    assert site.ranges == []


def test_a_part_that_is_too_long_is_replaced(
    tmp_path: Path, site: Any, offer: Callable[..., None], archive: bytes
) -> None:
    offer("cifar10", "cifar-10-python.tar.gz", archive)
    (tmp_path / "cifar-10-python.tar.gz.part").write_bytes(archive + b"more")
    get("cifar10", tmp_path)
    assert site.ranges == [f"bytes={len(archive) + 4}-", None]


def test_a_wrong_checksum_leaves_nothing(tmp_path: Path, site: Any, offer: Callable[..., None], archive: bytes) -> None:
    offer("cifar10", "cifar-10-python.tar.gz", archive)
    site.content["/cifar-10-python.tar.gz"] = archive[:-1] + b"?"
    with pytest.raises(NlkitError, match=r"md5 \w+ instead of \w+ and was removed; try again, or download .* by hand"):
        get("cifar10", tmp_path / "root")
    assert entries(tmp_path / "root") == []


def test_an_archive_put_there_by_hand(tmp_path: Path, site: Any, offer: Callable[..., None], archive: bytes) -> None:
    offer("cifar10", "cifar-10-python.tar.gz", archive)
    given = tmp_path / "cifar-10-python.tar.gz"
    given.write_bytes(archive[:99])
    with pytest.raises(NlkitError, match=r"cifar-10-python\.tar\.gz: has md5 .* remove or replace it"):
        get("cifar10", tmp_path)
    given.write_bytes(archive)
    get("cifar10", tmp_path)
    assert given.exists() and site.ranges == []
    load_dataset("cifar10", tmp_path)


def test_nothing_but_the_needed_files_leaves_an_archive(
    tmp_path: Path, offer: Callable[..., None], archive: bytes
) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    extra = {"../escaped": b"x", f"{tmp_path}/absolute": b"x", "cifar-10-batches-py/readme.html": b"x"}
    offer("cifar10", "a.tar.gz", pack({**extra, **members}, ("cifar-10-batches-py/link", "/etc/passwd")))
    root = tmp_path / "root"
    get("cifar10", root)
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
    ],
)
def test_an_unusable_archive_puts_nothing_in_place(
    tmp_path: Path, offer: Callable[..., None], data: bytes, message: str
) -> None:
    offer("cifar10", "a.tar.gz", data)
    with pytest.raises(NlkitError, match=message):
        get("cifar10", tmp_path)
    assert "cifar-10-batches-py" not in entries(tmp_path)


def test_human_labels_are_brought(
    tmp_path: Path,
    offer: Callable[..., None],
    write_cifar: Callable[..., Path],
    write_human: Callable[..., Path],
) -> None:
    write_cifar(tmp_path)
    clean = load_dataset("cifar10", tmp_path).labels
    data = write_human(tmp_path / "original", "cifar10n", clean, ".pt").read_bytes()
    offer("cifar10n", "CIFAR-10_human.pt", data)
    get("cifar10n", tmp_path)
    assert (tmp_path / "cifar-n" / "CIFAR-10_human.pt").read_bytes() == data


def test_no_network_is_one_clear_line(
    tmp_path: Path, offer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer("cifar10", "cifar-10-python.tar.gz", b"")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setitem(fetch.URLS, "cifar10", f"http://127.0.0.1:{port}/cifar-10-python.tar.gz")
    with pytest.raises(NlkitError) as caught:
        get("cifar10", tmp_path)
    message = str(caught.value)
    assert message.startswith("cannot reach 127.0.0.1 (") and "\n" not in message
    assert "by hand" in message and str(tmp_path) in message
    assert entries(tmp_path) == []


def test_a_refusal_names_the_answer(tmp_path: Path, site: Any, offer: Callable[..., None]) -> None:
    offer("cifar10", "a.tar.gz", b"")
    site.content.clear()
    with pytest.raises(NlkitError, match=r"the server answers 404 \(Not Found\); download"):
        get("cifar10", tmp_path)


def test_what_is_in_the_way_is_left_alone(
    tmp_path: Path, offer: Callable[..., None], write_cifar: Callable[..., Path]
) -> None:
    offer("cifar10", "a.tar.gz", b"")
    folder = write_cifar(tmp_path)
    (folder / "test_batch").unlink()
    with pytest.raises(NlkitError, match=r"not usable as cifar10 \(lacks test_batch\); rename it or remove it first"):
        get("cifar10", tmp_path)
    assert (folder / "data_batch_1").exists()


def test_a_root_that_cannot_be_made(tmp_path: Path, offer: Callable[..., None]) -> None:
    offer("cifar10", "a.tar.gz", b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NlkitError, match="cannot store cifar10"):
        get("cifar10", tmp_path / "file" / "root")


def test_names(tmp_path: Path) -> None:
    get("digits", tmp_path)
    assert entries(tmp_path) == []
    with pytest.raises(NlkitError, match="'svhn' is unknown"):
        get("svhn", tmp_path)


def test_every_download_has_a_checksum() -> None:
    for name in fetch.URLS:
        expected = fetch.checksum(name)
        assert len(expected.value) == {"md5": 32, "sha256": 64}[expected.algorithm]
