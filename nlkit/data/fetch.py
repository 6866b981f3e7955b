"""Bringing the public data sets into the data root: downloads that are checked, and put in place at once."""

import gzip
import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from urllib.parse import urlsplit

from tqdm.auto import tqdm

from nlkit.data import Download, Sources, source_of, status_of
from nlkit.errors import NlkitError
from nlkit.files import replaced_file

TIMEOUT_SECONDS = 30

_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError)


def get(name: str, root: Path, known: Sources | None = None) -> None:
    """Bring a data set into `root`, or do nothing where it is there already.

    A file that was put into `root` by hand is used instead of a download. Raises NlkitError for an unknown name,
    without a network, for a wrong checksum, where something unusable is in the way, and, with what to do instead, for
    a data set that has to come from its owners.
    """
    source = source_of(name, known)
    found = status_of(name, source, root)
    if found.state == "corrupt" or (found.state == "incomplete" and source.download is not None):
        raise NlkitError(f"{found.where}: not usable as {name} ({found.note}); rename it or remove it first")
    if found.state == "present":
        return
    if source.download is None:
        raise NlkitError(f"{name} is not downloaded from here: {source.origin}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        _bring(name, source.download, root)
    except OSError as error:
        raise NlkitError(f"{error.filename or root}: cannot store {name} ({error.strerror or error})") from None


def _bring(name: str, wanted: Download, root: Path) -> None:
    file = root / Path(urlsplit(wanted.url).path).name
    by_hand = f"download {wanted.url} by hand, put {file.name} in {root} and run `nlkit data get {name}` again"
    given = file.is_file()
    if not given:
        _download(wanted.url, file, by_hand)
    with file.open("rb") as handle:
        found = hashlib.file_digest(handle, wanted.algorithm).hexdigest()
    wrong = f"has {wanted.algorithm} {found} instead of {wanted.checksum}"
    if found != wanted.checksum and given:
        raise NlkitError(f"{file}: {wrong}; remove or replace it")
    if found != wanted.checksum:
        file.unlink()
        raise NlkitError(f"{wanted.url}: the download {wrong} and was removed; try again, or {by_hand}")
    _install(file, wanted, root)
    if not given:
        file.unlink(missing_ok=True)


def _download(url: str, target: Path, by_hand: str) -> None:
    """Bring `url` to a file, whole or not at all; raises NlkitError without a network and OSError for a full disk."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, replaced_file(target) as temporary:
            size = {"total": response.length, "unit": "B", "unit_scale": True, "unit_divisor": 1024}
            with (
                temporary.open("wb") as file,
                tqdm.wrapattr(response, "read", desc=target.name, disable=None, **size) as stream,
            ):
                shutil.copyfileobj(stream, file)
    except urllib.error.HTTPError as error:
        raise NlkitError(f"{url}: the server answers {error.code} ({error.reason}); {by_hand}") from None
    except _NETWORK_ERRORS as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        why = str(cause) or type(cause).__name__
        raise NlkitError(f"cannot reach {urlsplit(url).hostname} ({why}); try again, or {by_hand}") from None


def _install(file: Path, wanted: Download, root: Path) -> None:
    """Put a checked file in its place, or unpack the needed members of an archive there, and nothing else."""
    target = root / wanted.place
    if not wanted.members:
        target.parent.mkdir(exist_ok=True)
        os.replace(file, target)
        return
    names = [f"{wanted.place}/{member}" for member in wanted.members]
    with tempfile.TemporaryDirectory(prefix=f".{wanted.place}-", dir=root) as temporary:
        try:
            with tarfile.open(file, "r:gz") as tar:
                for member in tar:
                    if member.name in names and member.isreg():
                        tar.extract(member, temporary, filter="data")  # no mode, no owner, nothing outside
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
            raise NlkitError(f"{file}: not a readable .tar.gz archive ({error})") from None
        if lacking := [name for name in names if not os.path.isfile(os.path.join(temporary, name))]:
            raise NlkitError(f"{file}: lacks {', '.join(lacking)}")
        os.rename(os.path.join(temporary, wanted.place), target)
