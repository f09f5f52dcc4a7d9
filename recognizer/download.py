"""Getting one large file over a line that may break: what has arrived is kept, and the rest is asked for."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from .errors import FetchFailed, FetchTimeout
from .package_index import PackageIndex, file_path

#: called with the bytes that are there and the bytes in all (None: not told)
Progress = Callable[[int, "int | None"], None]

_CHUNK = 1 << 14
_ATTEMPTS = 4
#: seconds before the second try, doubled for each further one
PAUSE = 1.0


def download(index: PackageIndex, url: str, part: Path, progress: Progress | None = None) -> None:
    """Bring `url` into the file `part`, going on from what is there already.

    A try that brought new bytes does not count; after four in a row that brought none, the error is raised. `part` is
    left as it is then, for another day.

    Parameters
    ----------
    index : PackageIndex
        Knows credentials, certificates and proxy.

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
            problem = FetchFailed(f"{urlsplit(url).hostname} ended the transfer early")
        except (FetchFailed, FetchTimeout) as error:
            if error.details.get("final"):
                raise
            # a new one, without the traceback, whose frames would keep the connection open
            problem = type(error)(error.message)
        failures = 0 if _size(part) > before else failures + 1
        if failures >= _ATTEMPTS:
            raise problem
        if failures:
            time.sleep(PAUSE * 2 ** (failures - 1))


def _attempt(index: PackageIndex, url: str, part: Path, progress: Progress | None) -> bool:
    """One request; True when `part` is whole."""
    import requests

    start = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with index.get(url, headers, stream=True) as answer:
        host = urlsplit(url).hostname
        if answer.status_code == 416:  # nothing lies beyond what is there: whole, or not the same file
            if _total(answer) == start:
                return True
            part.unlink()
            return False
        if answer.status_code not in (200, 206):
            passing = answer.status_code in (408, 425, 429) or answer.status_code >= 500
            raise FetchFailed(f"{host} answered {answer.status_code}", final=not passing)
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
            raise FetchFailed(f"the transfer from {host} broke off ({type(error).__name__})") from None
    return total is None or done == total


def _first(answer) -> int | None:
    """The offset at which the body of a 206 begins."""
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _total(answer) -> int | None:
    """The size of the whole file, by the answer's headers."""
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


def _copy(source: Path, part: Path, progress: Progress | None) -> None:
    if not source.is_file():
        raise FetchFailed("the package is not in the folder that the listing names", final=True)
    shutil.copyfile(source, part)
    if progress:
        progress(part.stat().st_size, part.stat().st_size)
