"""Bringing the public data sets into the data root."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path
from urllib.parse import urlsplit

from nlkit.data import catalog, cifar, human
from nlkit.data.download import Checksum, download
from nlkit.data.files import MAX_FILE_BYTES
from nlkit.errors import NlkitError

_HUMAN_LABELS = (
    "https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/49df7d8a69e355470c77c1c2f2424916325a394b/data"
)
URLS = {
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "cifar100": "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    "cifar10n": f"{_HUMAN_LABELS}/CIFAR-10_human.pt",
    "cifar100n": f"{_HUMAN_LABELS}/CIFAR-100_human.pt",
}
HUMAN_SHA256 = {
    "cifar10n": "873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310",
    "cifar100n": "bd2d80409754d420292d622e15e25248ba21e37d27429efac49c8da723f44394",
}


def get(name: str, root: Path) -> None:
    """Bring a data set into `root`, or do nothing where it is there already.

    The download is resumed where one was interrupted, checked, and moved into place in one step. A file that was
    put into `root` by hand is used instead. Raises NlkitError for an unknown name, without a network, for a wrong
    checksum, where something unusable is in the way, and, with what to do instead, for a data set that has to come
    from its owners.
    """
    catalog.check_name(name)
    if name == "digits" or _is_there(name, root):
        return
    if name not in URLS:
        raise NlkitError(f"{name} is not downloaded from here: {catalog.how_to_get(name)}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        _bring(name, root)
    except OSError as error:
        raise NlkitError(f"{error.filename or root}: cannot store {name} ({error.strerror or error})") from None


def checksum(name: str) -> Checksum:
    """What the download of a data set must hash to."""
    if name in HUMAN_SHA256:
        return Checksum("sha256", HUMAN_SHA256[name])
    return Checksum("md5", cifar.archive_md5(name))


def _is_there(name: str, root: Path) -> bool:
    found = catalog.status_of(name, root)
    if found.state == "corrupt" or (found.state == "incomplete" and name in URLS):
        raise NlkitError(f"{found.where}: not usable as {name} ({found.note}); rename it or remove it first")
    return found.state == "present"


def _bring(name: str, root: Path) -> None:
    file = Path(urlsplit(URLS[name]).path).name
    given, part = root / file, root / f"{file}.part"
    if given.is_file():
        _check_given(name, given)
        _install(name, given, root)
        return
    by_hand = f"download {URLS[name]} by hand, put {file} in {root} and run `nlkit data get {name}` again"
    download(URLS[name], part, checksum(name), by_hand)
    _install(name, part, root)
    part.unlink(missing_ok=True)


def _check_given(name: str, path: Path) -> None:
    expected = checksum(name)
    found = expected.of(path)
    if found != expected.value:
        raise NlkitError(f"{path}: has {expected.algorithm} {found} instead of {expected.value}; remove or replace it")


def _install(name: str, source: Path, root: Path) -> None:
    if name in human.HUMAN_FILES:
        folder = root / human.HUMAN_FOLDERS[0]
        folder.mkdir(exist_ok=True)
        os.replace(source, folder / human.HUMAN_FILES[name].files[-1])
    else:
        _unpack(source, root, cifar.LAYOUTS[name])


def _unpack(archive: Path, root: Path, layout: cifar.Layout) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{layout.folder}-", dir=root) as temporary:
        folder = Path(temporary) / layout.folder
        folder.mkdir()
        _extract(archive, folder, layout)
        lacking = [file for file in layout.files if not (folder / file).is_file()]
        if lacking:
            raise NlkitError(f"{archive}: lacks {', '.join(f'{layout.folder}/{file}' for file in lacking)}")
        os.rename(folder, root / layout.folder)


def _extract(archive: Path, folder: Path, layout: cifar.Layout) -> None:
    """Copy the files that are needed, and nothing else: no link, no path and no mode of the archive counts."""
    names = {f"{layout.folder}/{file}": file for file in layout.files}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.name in names and member.isreg() and member.size <= MAX_FILE_BYTES:
                    _copy_member(tar, member, folder / names[member.name])
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise NlkitError(f"{archive}: not a readable .tar.gz archive ({error})") from None


def _copy_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = tar.extractfile(member)
    if source is not None:
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
