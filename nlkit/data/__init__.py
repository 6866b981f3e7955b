"""The data sets by name: where they are kept, whether they are there, and whether they are right."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from nlkit.data import cifar
from nlkit.data.dataset import MNISTS, Dataset, load_digits, load_mnist, mnist_paths
from nlkit.errors import NlkitError
from nlkit.files import as_path


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

    needed: the files that must be there; verify: what was found, or NlkitError; origin: how to come by it; survey:
    whether it is complete and a line about it, where `verify` takes too long for a glance.
    """

    needed: Callable[[Path], list[Path]]
    verify: Callable[[Path], str]
    origin: str
    download: Download | None = None
    survey: Callable[[Path], tuple[bool, str]] | None = None

    def missing(self, root: Path) -> list[str]:
        """The needed files that are not there, by their paths below the root."""
        return [str(path.relative_to(root)) for path in self.needed(root) if not os.path.exists(path)]

    def place(self, root: Path) -> str:
        """The files or folders below the root where it is, or belongs."""
        parts = dict.fromkeys(path.relative_to(root).parts[0] for path in self.needed(root))
        return " and ".join(str(root / part) for part in parts) or "comes with scikit-learn"


Sources = dict[str, Source]


@dataclass(frozen=True)
class Status:
    """Whether a data set is there and right: one row of `nlkit data status`."""

    name: str
    state: Literal["present", "missing", "incomplete", "corrupt"]
    where: str
    note: str


def data_root(option: str | Path | None) -> Path:
    """The folder of the data sets: `option`, else the environment variable NLKIT_DATA, else `data`.

    Raises NlkitError for `~name` where there is no such user.
    """
    root = as_path(option or os.environ.get("NLKIT_DATA") or "data", "data")
    try:
        return root.expanduser()
    except RuntimeError:
        raise NlkitError(f"--data {root}: there is no such user") from None


def load_dataset(name: Literal["digits", "cifar10", "cifar100", "mnist", "fashion_mnist"], root: Path) -> Dataset:
    """The data set in memory; raises NlkitError for an unknown name, and for missing, damaged or wrong files."""
    present_source(name, root, IN_MEMORY)
    if name == "digits":
        return load_digits()
    return cifar.load_cifar(name, root) if name in cifar.LAYOUTS else load_mnist(name, root)


def sources() -> Sources:
    """Every data set by name; labels that come without images are in `noise.label_sources`."""
    from nlkit.data.photos.catalog import photo_sources

    return {**IN_MEMORY, **photo_sources()}


def source_of(name: str, known: Sources | None = None) -> Source:
    """The source of that name among all that are known; raises NlkitError where there is none."""
    known = known or sources()
    if name not in known:
        raise NlkitError(f"data set '{name}' is unknown; use one of {', '.join(known)}")
    return known[name]


def present_source(name: str, root: Path, known: Sources | None = None) -> Source:
    """The source of that name; raises NlkitError, with what to do, where some of the needed files are missing."""
    source = source_of(name, known)
    if lacking := source.missing(root):
        remedy = f"{source.origin}, or name the folder that has it with --data DIR or NLKIT_DATA"
        raise NlkitError(f"{name} is missing: {root} lacks {', '.join(lacking)}; {remedy}")
    return source


def verify(name: str, root: Path, known: Sources | None = None) -> str:
    """Counts, hash, noise rates and deviations, in a line or several; raises NlkitError where files are not right."""
    return f"{name}: {present_source(name, root, known).verify(root)}"


def status(root: Path, known: Sources | None = None) -> list[Status]:
    """One row for each data set; files and lists are read, of photographs only a sample is looked for."""
    return [status_of(name, source, root) for name, source in (known or sources()).items()]


def status_of(name: str, source: Source, root: Path) -> Status:
    """State of one data set; its files are read and checked where they are all there."""
    where, lacking = source.place(root), source.missing(root)
    if lacking and len(lacking) == len(source.needed(root)):
        return Status(name, "missing", where, source.origin)
    if lacking:
        return Status(name, "incomplete", where, f"lacks {', '.join(lacking)}")
    try:
        whole, note = source.survey(root) if source.survey is not None else (True, source.verify(root))
        return Status(name, "present" if whole else "incomplete", where, note)
    except NlkitError as error:
        return Status(name, "corrupt", where, str(error))


def _verified(name: str, root: Path) -> str:
    """Counts and hash of a data set in memory, and its warnings."""
    dataset = load_dataset(name, root)  # type: ignore[arg-type]
    counts = (
        f"{len(dataset.images)} training and {len(dataset.test_images)} test images, "
        f"{len(dataset.class_names)} classes, sha256 {dataset.sha256[:16]}"
    )
    return "; ".join((counts, *(dataset.warnings or ["as published"])))


IN_MEMORY = {"digits": Source(lambda root: [], partial(_verified, "digits"), "")}
for _name, _layout in cifar.LAYOUTS.items():
    IN_MEMORY[_name] = Source(
        partial(cifar.cifar_files, _name),
        partial(_verified, _name),
        f"bring it with `nlkit data get {_name}`",
        Download(_layout.url, "md5", _layout.md5, _layout.folder, tuple(_layout.files)),
    )
for _name, _mnist in MNISTS.items():
    IN_MEMORY[_name] = Source(
        partial(mnist_paths, _name),
        partial(_verified, _name),
        f"put the files of torchvision.datasets.{_mnist.folder.split('/')[0]} into {_mnist.folder} of the data root",
    )
