"""Which photos there are at a place, and the bytes of one: from a folder, a bucket or the web, read by the worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from recognizer.core.disk import storage_error
from recognizer.core.errors import (
    DecoderCrashed,
    DecoderTooSlow,
    DecoderUnavailable,
    FetchFailed,
    FetchTimeout,
    ImageTooLarge,
    InvalidParameter,
    RecognizerError,
    UnreadableImage,
)
from recognizer.fetching.fetcher import Fetcher
from recognizer.photos import sources
from recognizer.spark.places import filesystem, is_address, place_errors

#: Photos of a bucket or of the web that a worker reads at once, while it describes others.
READ_AHEAD = 8
#: Errors that may be the network's or the machine's and not the photo's: the next run tries such photos again.
PASSING = (
    *(kind.code for kind in (UnreadableImage, DecoderCrashed, DecoderTooSlow, DecoderUnavailable, FetchFailed, FetchTimeout)),
)


def list_photos(source: str) -> list[str]:
    """The photos at a place, each once.

    Parameters
    ----------
    source : str
        A folder; a URL of a bucket; or a text file with a path or a URL on each line. In a folder photos are recognised by
        their content, in a bucket by their names. Names that begin with a dot are skipped.

    Raises
    ------
    InvalidParameter
        There is no such place, or it is of no such kind.
    StorageError
    """
    if sources.is_url(source):
        raise InvalidParameter("expected a folder, a bucket or a list of URLs; put the URLs into a text file, one on each line")
    if is_address(source):
        files, root = filesystem(source)
        with place_errors("the bucket cannot be listed"):
            found = files.find(root)
        photos = [path for path in found if _is_named(path[len(root) :])]
        return [files.unstrip_protocol(path) for path in sorted(photos)]
    path = Path(source)
    if path.is_dir():
        return list(dict.fromkeys(_photos_below(path)))
    if path.is_file():
        return list(dict.fromkeys(_lines(path)))
    raise InvalidParameter(f"there is no folder or file {path.name!r}")


def _photos_below(folder: Path) -> Iterator[str]:
    for each in sources.expand([str(folder)]):
        if each != str(folder):  # a folder without photos is yielded itself
            yield str(Path(each).absolute())


def _is_named(path: str) -> bool:
    parts = path.strip("/").split("/")
    return parts[-1].lower().endswith(sources.ENDINGS) and not any(part.startswith(".") for part in parts)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise storage_error(f"{path.name} cannot be read", error) from None
    except UnicodeDecodeError:
        raise InvalidParameter(f"{path.name}: expected a text in UTF-8 with a path or a URL on each line") from None
    lines = filter(None, map(str.strip, text.splitlines()))
    return [line if is_address(line) else str(Path(line).absolute()) for line in lines]


def is_far(source: str) -> bool:
    """Whether reading a photo waits for a network."""
    return is_address(source) and not source.startswith("file:")


def read_photo(source: str, fetcher: Fetcher, max_bytes: int) -> bytes:
    """The bytes of a photo: of an http(s) URL under the fetcher's guard, of another URL through fsspec, or of a file.

    Raises
    ------
    ImageError, FetchError, InvalidUrl
    """
    if sources.is_url(source) or not is_address(source):
        return sources.read_source(source, max_bytes=max_bytes, fetch=fetcher.get)
    try:
        files, path = filesystem(source)
        with place_errors("the file cannot be read"):
            data: bytes = files.cat_file(path, start=0, end=max_bytes + 1)
    except RecognizerError as error:
        raise UnreadableImage(error.message) from None
    if len(data) > max_bytes:
        raise ImageTooLarge(f"expected at most {max_bytes} bytes, got more", max_bytes=max_bytes)
    return data


def read_all(photos: Iterable[str], fetcher: Fetcher, max_bytes: int) -> Iterator[tuple[str, bytes | RecognizerError]]:
    """Each photo with its bytes, or with the error of reading it, in order. Those that are far are read ahead, on threads."""

    def read(source: str) -> bytes | RecognizerError:
        try:
            return read_photo(source, fetcher, max_bytes)
        except RecognizerError as error:
            return error

    several = iter(photos)
    ahead = list(islice(several, 1))
    if not ahead or not is_far(ahead[0]):
        yield from ((source, read(source)) for part in (ahead, several) for source in part)
        return
    ahead += islice(several, READ_AHEAD - 1)
    with ThreadPoolExecutor(READ_AHEAD, thread_name_prefix="read") as pool:
        waiting = [(source, pool.submit(read, source)) for source in ahead]
        while waiting:
            source, result = waiting.pop(0)
            waiting += [(more, pool.submit(read, more)) for more in islice(several, 1)]
            yield source, result.result()
