"""Downloading one file: resumable, of a known checksum, with one clear line when it fails."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal
from urllib.parse import urlsplit

from tqdm import tqdm

from nlkit.data.files import MAX_FILE_BYTES
from nlkit.errors import NlkitError

TIMEOUT_SECONDS = 30
CHUNK_BYTES = 2**18


@dataclass(frozen=True)
class Checksum:
    """What a file must hash to."""

    algorithm: Literal["md5", "sha256"]
    value: str

    def of(self, path: Path) -> str:
        """The checksum of a file, in hexadecimal digits."""
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest()

    def matches(self, path: Path) -> bool:
        """Whether the file is there and hashes to the value."""
        return path.is_file() and self.of(path) == self.value


def download(url: str, part: Path, checksum: Checksum, by_hand: str) -> None:
    """Bring `url` to the file `part`, continuing what an interrupted attempt has left there.

    `by_hand` ends a message with what the reader can do instead. Raises NlkitError without a network, for a
    refusal, a broken connection (`part` is kept) and a wrong checksum (`part` is removed), and OSError where `part`
    cannot be written.
    """
    if checksum.matches(part):
        return
    _transfer(url, part, by_hand)
    found = checksum.of(part)
    if found != checksum.value:
        part.unlink()
        raise NlkitError(
            f"{url}: the download has {checksum.algorithm} {found} instead of {checksum.value} and was removed; "
            f"try again, or {by_hand}"
        )


def _transfer(url: str, part: Path, by_hand: str) -> None:
    start = part.stat().st_size if part.is_file() else 0
    with _open(url, start, by_hand) as response:
        offset = start if response.status == http.client.PARTIAL_CONTENT else 0
        with part.open("ab" if offset else "wb") as file:
            _copy(response, file, offset)


def _open(url: str, start: int, by_hand: str) -> http.client.HTTPResponse:
    """The response to a request for `url` from byte `start` on, or for all of it where that cannot be had."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if start and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _open(url, 0, by_hand)
        raise NlkitError(f"{url}: the server answers {error.code} ({error.reason}); {by_hand}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NlkitError(f"cannot reach {urlsplit(url).hostname} ({_cause(error)}); {by_hand}") from None
    partial = response.status == http.client.PARTIAL_CONTENT
    if partial and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        response.close()
        return _open(url, 0, by_hand)
    return response


def _copy(response: http.client.HTTPResponse, file: BinaryIO, offset: int) -> None:
    total = None if response.length is None else offset + response.length
    title = Path(file.name).name.removesuffix(".part")
    with tqdm(total=total, initial=offset, unit="B", unit_scale=True, desc=title, disable=None) as progress:
        done = offset
        while chunk := _read(response):
            done += len(chunk)
            if done > MAX_FILE_BYTES:
                raise NlkitError(f"{response.url}: sends more than {MAX_FILE_BYTES} bytes; this is another file")
            file.write(chunk)
            progress.update(len(chunk))
    if total is not None and done < total:
        raise NlkitError(_broken(response, f"after {done} of {total} bytes"))


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise NlkitError(_broken(response, _cause(error))) from None


def _broken(response: http.client.HTTPResponse, cause: str) -> str:
    return f"{response.url}: the connection broke off ({cause}); run the command again to continue"


def _cause(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(cause) or type(cause).__name__
