"""The data sets by name: where they are kept, whether they are there and right, and how they are brought there."""

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
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tqdm.auto import tqdm

from nlkit.data import cifar
from nlkit.data.dataset import FACTS, Dataset, load_digits, load_mnist, mnist_paths
from nlkit.errors import NlkitError
from nlkit.files import as_path, replaced_file

_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError)


@dataclass(frozen=True)
class Download:
    """A file to bring: address, hash, the file or folder that it becomes below the data root, members to unpack."""

    url: str
    algorithm: Literal["md5", "sha256"]
    checksum: str
    place: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A data set, or a file of labels, below a data root.

    needed: the files that must be there; check: whether it is complete, and what was found, or NlkitError; origin: how
    to come by it.
    """

    needed: Callable[[Path], list[Path]]
    check: Callable[[Path], tuple[bool, str]]
    origin: str
    download: Download | None = None

    def missing(self, root: Path) -> list[str]:
        """The needed files that are not there, by their paths below the root."""
        return [str(path.relative_to(root)) for path in self.needed(root) if not os.path.exists(path)]


Sources = dict[str, Source]


@dataclass(frozen=True)
class Status:
    """Whether a data set is there and right: one row of `nlkit data status`."""

    name: str
    state: Literal["present", "missing", "incomplete", "corrupt"]
    where: str
    note: str


def data_root(option: str | Path | None) -> Path:
    """The data root: `option`, else $NLKIT_DATA, else `data`; raises NlkitError for `~name` without such a user."""
    root = as_path(option or os.environ.get("NLKIT_DATA") or "data", "data")
    try:
        return root.expanduser()
    except RuntimeError:
        raise NlkitError(f"--data {root}: there is no such user") from None


def load_dataset(name: str, root: Path) -> Dataset:
    """The data set in memory; raises NlkitError for missing, damaged or wrong files."""
    present_source(name, root, IN_MEMORY)
    if name == "digits":
        return load_digits()
    return cifar.load_cifar(name, root) if name in cifar.LAYOUTS else load_mnist(name, root)


def sources() -> Sources:
    """Every data set by name; labels that come without images are in `noise.label_sources`."""
    from nlkit.data.photos.catalog import SOURCES

    return IN_MEMORY | SOURCES


def source_of(name: str, known: Sources) -> Source:
    """The source of that name; raises NlkitError where there is none."""
    if name not in known:
        raise NlkitError(f"data set '{name}' is unknown; use one of {', '.join(known)}")
    return known[name]


def present_source(name: str, root: Path, known: Sources) -> Source:
    """The source of that name; raises NlkitError, with what to do, where some of the needed files are missing."""
    source = source_of(name, known)
    if lacking := source.missing(root):
        remedy = f"{source.origin}, or name the folder that has it with --data DIR or NLKIT_DATA"
        raise NlkitError(f"{name} is missing: {root} lacks {', '.join(lacking)}; {remedy}")
    return source


def verify(name: str, root: Path, known: Sources | None = None) -> str:
    """Counts, hash, noise rates and deviations in a line; raises NlkitError where files are missing or not right."""
    return f"{name}: {present_source(name, root, known or sources()).check(root)[1]}"


def status(root: Path, known: Sources | None = None) -> list[Status]:
    """One row for each data set; files and lists are read, of photographs only a sample is looked for."""
    return [status_of(name, source, root) for name, source in (known or sources()).items()]


def status_of(name: str, source: Source, root: Path) -> Status:
    """State of one data set; its files are read and checked where they are all there."""
    needed, lacking = source.needed(root), source.missing(root)
    folders = dict.fromkeys(str(root / path.relative_to(root).parts[0]) for path in needed)
    where = " and ".join(folders) or "comes with scikit-learn"
    if lacking and len(lacking) == len(needed):
        return Status(name, "missing", where, source.origin)
    if lacking:
        return Status(name, "incomplete", where, f"lacks {', '.join(lacking)}")
    try:
        whole, note = source.check(root)
        return Status(name, "present" if whole else "incomplete", where, note)
    except NlkitError as error:
        return Status(name, "corrupt", where, str(error))


def get(name: str, root: Path, known: Sources) -> None:
    """Bring a data set into `root`, from a file that was put there by hand or a download, unless it is there already.

    Raises NlkitError for an unknown name, without a network, for a wrong checksum, where something unusable is in the
    way, and, with what to do instead, for a data set that has to come from its owners.
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
        with urllib.request.urlopen(url, timeout=30) as response, replaced_file(target) as temporary:
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


def _check(name: str, root: Path) -> tuple[bool, str]:
    """Counts and hash of a data set in memory, and its warnings."""
    dataset = load_dataset(name, root)
    counts = f"{len(dataset.images)} training and {len(dataset.test_images)} test images"
    about = f"{counts}, {len(dataset.class_names)} classes, sha256 {dataset.sha256[:16]}"
    return True, "; ".join((about, *(dataset.warnings or ["as published"])))


IN_MEMORY = {"digits": Source(lambda root: [], partial(_check, "digits"), "")}
for _name, _layout in cifar.LAYOUTS.items():
    _origin = f"bring it with `nlkit data get {_name}`"
    _archive = Download(_layout.url, "md5", _layout.md5, _layout.folder, tuple(_layout.files))
    IN_MEMORY[_name] = Source(partial(cifar.cifar_files, _name), partial(_check, _name), _origin, _archive)
for _name, _facts in FACTS["mnist"].items():
    _folder = _facts["folder"]
    _official = f"torchvision.datasets.{_folder.split('/')[0]}"
    _origin = f"put the files of {_official} into {_folder} of the data root"
    IN_MEMORY[_name] = Source(partial(mnist_paths, _name), partial(_check, _name), _origin)
