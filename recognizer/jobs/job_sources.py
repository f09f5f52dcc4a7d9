"""Photos of jobs in folders and buckets that a setting allows, listed and read through fsspec."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from typing import Any

from recognizer.core.errors import ImageTooLarge, InvalidParameter, StorageError, UnreadableImage

#: Endings of files that are no photos, and are left out; everything else is tried.
_OTHERS = frozenset((".txt", ".json", ".md", ".csv", ".xml", ".html", ".xmp", ".mp4", ".mov", ".avi", ".zip", ".db", ".ini"))
MISSING = "buckets and folders need the package fsspec, and s3fs for S3: pip install 'recognizer[postgres]'"


class PrefixFiles:
    """The files below a prefix.

    Parameters
    ----------
    prefix : str
        URL of a folder or of a part of a bucket, such as ``s3://bucket/2026/`` or ``file:///srv/photos``.
    allowed : sequence of str
        The prefixes of the setting: `prefix` has to be one of them or below one.

    Raises
    ------
    InvalidParameter
        It is not allowed, or cannot be a prefix.
    StorageError
        A package is missing.
    """

    def __init__(self, prefix: str, allowed: Sequence[str]):
        self.prefix = checked_prefix(prefix, allowed)
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise StorageError(MISSING) from None
        try:
            self._files, self._root = url_to_fs(self.prefix, use_listings_cache=False)
        except ImportError:
            raise StorageError(MISSING) from None
        except ValueError:
            raise InvalidParameter("prefix: this kind of address is not known") from None
        self._root = self._root.rstrip("/")
        protocol = self._files.protocol
        self._local = "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def paths(self, most: int) -> list[str]:
        """The paths of the photos below the prefix, sorted; at most one more than `most`.

        Raises
        ------
        StorageError
            They cannot be listed.
        """
        try:
            if not self._files.exists(self._root):
                raise FileNotFoundError
            found = self._files.find(self._root)
        except FileNotFoundError:
            raise StorageError("the prefix does not exist") from None
        except Exception as error:  # each provider's packages have exceptions of their own
            raise StorageError(f"the prefix cannot be listed: {type(error).__name__}") from error
        names = sorted(each[len(self._root) :].lstrip("/") for each in found)
        return [each for each in names if _may_be_photo(each)][: most + 1]

    def read(self, path: str, max_bytes: int) -> bytes:
        """The bytes of a photo.

        Raises
        ------
        ImageTooLarge, UnreadableImage
        StorageError
            The bucket cannot be reached: it may be tried again.
        """
        whole = f"{self._root}/{path}"
        if self._local and not _is_inside(whole, self._root):
            raise UnreadableImage("the file is outside the folder")
        try:
            size = self._files.size(whole)
            if size is not None and size > max_bytes:
                raise ImageTooLarge(f"the photo has more than {max_bytes} bytes")
            data: bytes = self._files.cat_file(whole, start=0, end=max_bytes + 1)
        except ImageTooLarge:
            raise
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            raise UnreadableImage("the file is not there, or cannot be read") from None
        except Exception as error:
            raise StorageError(f"the photo cannot be read: {type(error).__name__}") from error
        if len(data) > max_bytes:
            raise ImageTooLarge(f"the photo has more than {max_bytes} bytes")
        return data


def checked_prefix(prefix: str, allowed: Sequence[str]) -> str:
    """A prefix that is one of the allowed ones or below one.

    Raises
    ------
    InvalidParameter
    """
    if not allowed:
        raise InvalidParameter("prefix: no bucket or folder may be read: RECOGNIZER_JOBS_FROM names those that may")
    scheme, separator, rest = prefix.partition("://")
    parts = rest.split("/")
    if not separator or not rest or "::" in prefix or ".." in parts or "." in parts or any(each in rest for each in "*?["):
        raise InvalidParameter("prefix: expected a URL such as s3://bucket/folder, without wildcards and ..")
    plain = f"{scheme.lower()}://{rest}"
    for each in allowed:
        begin = each.rstrip("/")
        if plain.rstrip("/") == begin or plain.startswith(begin + "/"):
            return plain
    raise InvalidParameter("prefix: expected one that is listed in RECOGNIZER_JOBS_FROM, or below it")


def _may_be_photo(path: str) -> bool:
    name = posixpath.basename(path)
    return bool(name) and not name.startswith(".") and posixpath.splitext(name)[1].lower() not in _OTHERS


def _is_inside(path: Any, root: Any) -> bool:
    """Whether a file is in a folder, also where links lead."""
    real, inside = os.path.realpath(path), os.path.realpath(root)
    return real.startswith(inside.rstrip(os.sep) + os.sep)
