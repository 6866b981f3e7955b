"""Bytes of files that come from outside: regular files only, of a bounded size."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nlkit.errors import NlkitError

MAX_FILE_BYTES = 600 * 2**20
MAX_ARCHIVE_BYTES = 64 * 2**20

_PLAIN_COMPRESSION = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_bytes(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Content of a regular file of at most `limit` bytes.

    Raises NlkitError for a file that is missing, unreadable, too large, or not a regular file.
    """
    with open_file(path, limit) as file:
        return file.read()


@contextmanager
def open_file(path: Path, limit: int) -> Iterator[BinaryIO]:
    """A regular file of at most `limit` bytes, open for reading.

    Raises NlkitError for a file that is missing, unreadable, too large, or not a regular file.
    """
    try:
        if not path.is_file():
            raise NlkitError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
        size = path.stat().st_size
        if size > limit:
            raise NlkitError(f"{path}: holds {size} bytes; a file of this kind has at most {limit}")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise NlkitError(f"{path}: cannot read the file ({error.strerror})") from None


def is_file(path: Path) -> bool:
    """Whether a regular file is there, and may be looked at."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there, and may be looked at."""
    try:
        return path.is_dir()
    except OSError:
        return False


def zip_members(path: Path, wanted: Callable[[str], bool], right: str) -> dict[str, bytes]:
    """Decompressed members of a zip file whose names are `wanted`; `right` says what the file should be.

    At most MAX_ARCHIVE_BYTES are decompressed. Raises NlkitError for a file that is damaged, encrypted or too large.
    """
    data = read_bytes(path, MAX_ARCHIVE_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if wanted(member.filename)]
            _check_sizes(members)
            return {member.filename: _read_member(archive, member) for member in members}
    except Exception as error:  # a damaged zip file can raise almost anything
        raise NlkitError(f"{path}: not {right} ({reason(error)})") from None


def reason(error: Exception) -> str:
    """Name and shortened text of an exception, for the brackets at the end of a message."""
    text = str(error)[:160]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _check_sizes(members: list[zipfile.ZipInfo]) -> None:
    if sum(member.file_size for member in members) > MAX_ARCHIVE_BYTES:
        raise ValueError(f"its members declare more than {MAX_ARCHIVE_BYTES} bytes")
    for member in members:
        if member.compress_type not in _PLAIN_COMPRESSION:
            raise ValueError(f"compression method {member.compress_type} of {member.filename[:80]!r}")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    # With a bound on the read, zlib stops there, whatever the compressed stream would expand to.
    with archive.open(member) as handle:
        content = handle.read(member.file_size)
    if len(content) != member.file_size:
        raise ValueError(f"{member.filename[:80]!r} is cut short")
    return content
