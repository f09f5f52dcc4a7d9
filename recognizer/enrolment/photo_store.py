"""Where nodes that share a database store photos: a folder on a share, or a bucket. A photo's name is the id of its content.

A photo is written under its name only if nothing is there yet. If something is, it is the same photo, because the name is a
hash of the content. Nothing is ever renamed or changed; who has which photo is in the database.

Beside the photos there is the folder `people`, into which people drop files; see `service.dropped_photos`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from recognizer.core.disk import disk_errors, disk_reason
from recognizer.core.errors import ImageTooLarge, SettingsError, StorageError
from recognizer.core.files import own_folder, remove_erasing, write_durably
from recognizer.core.vault import Vault, most_sealed
from recognizer.enrolment.bucket_notifications import NamedObject

#: Binds an encrypted photo to its purpose; the photo's id follows.
_PURPOSE = "shared photo "
_CHECK = "recognizer-check"
#: The folder or prefix below which files are dropped.
DROPPED = "people"
#: Age in seconds from which a file in a folder counts as completely written.
SETTLED = 2.0


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """A file that somebody put below `people`.

    Attributes
    ----------
    path : str
        Below `people`, with slashes.
    stamp : str
        Another one for other content.
    size : int
        In bytes.
    """

    path: str
    stamp: str
    size: int


class PhotoStore(Protocol):
    """Stores bytes under the id of a photo. Safe from any thread of any node."""

    def put(self, photo: str, data: bytes) -> None:
        """Store a photo, durably; does nothing if it is there.

        Raises
        ------
        StorageError
        """

    def get(self, photo: str) -> bytes:
        """The bytes of a photo.

        Raises
        ------
        FileNotFoundError, StorageError
        """

    def remove(self, photo: str) -> None:
        """Remove a photo, if it is there.

        Raises
        ------
        StorageError
        """

    def photos(self) -> Iterator[str]:
        """The ids of all photos that are stored."""

    def dropped(self, settled: bool = True) -> Iterator[DroppedFile]:
        """The files below `people`; with `settled`, only those that are completely written.

        Raises
        ------
        StorageError
        """

    def find_dropped(self, path: str) -> DroppedFile | None:
        """One of `dropped`, by its path; None if it is not there, or not completely written.

        Raises
        ------
        StorageError
        """

    def dropped_path(self, object: NamedObject) -> str | None:
        """The path below `people` of an object that a bucket's notification names; None for one that is elsewhere."""

    def read_dropped(self, path: str) -> bytes:
        """The bytes of a file below `people`.

        Raises
        ------
        FileNotFoundError, StorageError
        """

    def is_dropped(self, file: DroppedFile) -> bool:
        """Whether a file is there, and has not changed.

        Raises
        ------
        StorageError
        """

    def remove_dropped(self, file: DroppedFile, changed: bool = False) -> None:
        """Remove a file below `people`, if it is there and, unless `changed`, as it was.

        Raises
        ------
        StorageError
        """

    def move_dropped(self, file: DroppedFile, path: str) -> None:
        """Give a file below `people` another path there; a file of that path is replaced.

        Raises
        ------
        StorageError
        """


class FolderPhotos:
    """Photos in a folder, in sub-folders by the first two digits of their ids.

    Parameters
    ----------
    root : path
        Must exist: a share that is not mounted must not be replaced by an empty folder.

    Raises
    ------
    SettingsError
    """

    def __init__(self, root: Path):
        self._root = Path(root)
        if not self._root.is_dir():
            raise SettingsError(f"photos: there is no folder {self._root.name!r}; create it, or mount the share")

    def _path(self, photo: str) -> Path:
        return self._root / photo[:2] / photo

    def put(self, photo: str, data: bytes) -> None:
        with disk_errors("the photo cannot be stored"):
            path = self._path(photo)
            if not path.exists():
                own_folder(path.parent)
                write_durably(path, data)

    def get(self, photo: str) -> bytes:
        try:
            return self._path(photo).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(f"the photo cannot be read: {disk_reason(error)}") from error

    def remove(self, photo: str) -> None:
        with disk_errors("the photo cannot be removed"), contextlib.suppress(FileNotFoundError):
            remove_erasing(self._path(photo))

    def photos(self) -> Iterator[str]:
        with disk_errors("the photos cannot be listed"):
            for path in self._root.glob("??/*"):
                if len(path.name) == 32:
                    yield path.name

    def dropped(self, settled: bool = True) -> Iterator[DroppedFile]:
        root = self._root / DROPPED
        with disk_errors("the dropped photos cannot be listed"):
            for folder, _, files in os.walk(root):
                for name in sorted(files):
                    found = self._dropped(str((Path(folder) / name).relative_to(root)), settled)
                    if found is not None:
                        yield found

    def _dropped(self, path: str, settled: bool = False) -> DroppedFile | None:
        try:
            status = (self._root / DROPPED / path).stat()
        except FileNotFoundError:
            return None
        if settled and 0 <= time.time() - status.st_mtime < SETTLED:
            return None
        return DroppedFile(path.replace(os.sep, "/"), f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}", status.st_size)

    def find_dropped(self, path: str) -> DroppedFile | None:
        with disk_errors("a dropped photo cannot be read"):
            return self._dropped(path, settled=True)

    def dropped_path(self, object: NamedObject) -> str | None:
        return None  # a folder sends no notifications

    def read_dropped(self, path: str) -> bytes:
        try:
            return (self._root / DROPPED / path).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(f"a dropped photo cannot be read: {disk_reason(error)}") from error

    def is_dropped(self, file: DroppedFile) -> bool:
        with disk_errors("a dropped photo cannot be read"):
            return self._dropped(file.path) == file

    def remove_dropped(self, file: DroppedFile, changed: bool = False) -> None:
        path = self._root / DROPPED / file.path
        with disk_errors("a dropped photo cannot be removed"), contextlib.suppress(FileNotFoundError):
            if changed or self._dropped(file.path) == file:
                remove_erasing(path)
                self._remove_empty(path.parent)

    def _remove_empty(self, folder: Path) -> None:
        """Remove the folder of somebody whose last photo was enrolled."""
        with contextlib.suppress(OSError):
            folder.rmdir()

    def move_dropped(self, file: DroppedFile, path: str) -> None:
        old, new = self._root / DROPPED / file.path, self._root / DROPPED / path
        with disk_errors("a dropped photo cannot be moved"), contextlib.suppress(FileNotFoundError):
            new.parent.mkdir(parents=True, exist_ok=True)
            old.replace(new)
            self._remove_empty(old.parent)


class BucketPhotos:
    """Photos in a bucket, through fsspec: S3 by s3fs, and what else fsspec's packages know, such as Azure and Google.

    The listing of the bucket is never used to find a photo, and never cached.

    Parameters
    ----------
    url : str
        Such as ``s3://bucket/prefix``. Credentials are read as the provider's own tools do, for example from the environment.

    Raises
    ------
    SettingsError
        A package is missing, or the bucket cannot be used.
    """

    def __init__(self, url: str):
        try:
            from fsspec.core import url_to_fs

            self._files, self._root = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            reason = error if isinstance(error, ImportError) else "this kind of address is not known"
            raise SettingsError(f"photos: {reason}; see requirements-postgres.txt") from None
        try:  # with a condition, as photos are written
            self._files.pipe_file(f"{self._root}/{_CHECK}", b"recognizer", mode="create")
        except FileExistsError:
            pass
        except Exception as error:
            raise SettingsError(f"photos: the bucket cannot be used: {_bucket_reason(error)}") from None

    def _path(self, photo: str) -> str:
        return f"{self._root}/{photo[:2]}/{photo}"

    def put(self, photo: str, data: bytes) -> None:
        try:
            with _bucket_errors("the photo cannot be stored"), contextlib.suppress(FileExistsError):
                self._files.pipe_file(self._path(photo), data, mode="create")
        except FileNotFoundError:
            raise StorageError("the photo cannot be stored: the bucket is not there") from None

    def get(self, photo: str) -> bytes:
        with _bucket_errors("the photo cannot be read"):
            data: bytes = self._files.cat_file(self._path(photo))
            return data

    def remove(self, photo: str) -> None:
        with _bucket_errors("the photo cannot be removed"), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(photo))

    def photos(self) -> Iterator[str]:
        with _bucket_errors("the photos cannot be listed"):
            for path in self._files.find(self._root):
                *_, folder, name = path.split("/")
                if len(name) == 32 and folder == name[:2]:
                    yield name

    def _dropped_path(self, path: str) -> str:
        return f"{self._root}/{DROPPED}/{path}"

    def dropped(self, settled: bool = True) -> Iterator[DroppedFile]:
        root = self._dropped_path("")
        with _bucket_errors("the dropped photos cannot be listed"):
            found = self._files.find(root.rstrip("/"), detail=True, refresh=True)
        for path, about in sorted(found.items()):
            if path.startswith(root) and not path.endswith("/"):
                yield _as_dropped(path[len(root) :], about)

    def find_dropped(self, path: str) -> DroppedFile | None:
        with _bucket_errors("a dropped photo cannot be read"), contextlib.suppress(FileNotFoundError):
            about = self._files.info(self._dropped_path(path), refresh=True)
            return _as_dropped(path, about) if about.get("type") == "file" else None
        return None

    def dropped_path(self, object: NamedObject) -> str | None:
        full, root = f"{object.bucket}/{object.key}", self._dropped_path("")
        path = full.removeprefix(root)
        if path == full or any(part in ("", ".", "..") for part in path.split("/")):
            return None
        return path

    def read_dropped(self, path: str) -> bytes:
        with _bucket_errors("a dropped photo cannot be read"):
            data: bytes = self._files.cat_file(self._dropped_path(path))
            return data

    def is_dropped(self, file: DroppedFile) -> bool:
        with _bucket_errors("a dropped photo cannot be read"), contextlib.suppress(FileNotFoundError):
            return _as_dropped(file.path, self._files.info(self._dropped_path(file.path), refresh=True)) == file
        return False

    def remove_dropped(self, file: DroppedFile, changed: bool = False) -> None:
        if changed or self.is_dropped(file):
            with _bucket_errors("a dropped photo cannot be removed"), contextlib.suppress(FileNotFoundError):
                self._files.rm_file(self._dropped_path(file.path))

    def move_dropped(self, file: DroppedFile, path: str) -> None:
        with _bucket_errors("a dropped photo cannot be moved"), contextlib.suppress(FileNotFoundError):
            self._files.cp_file(self._dropped_path(file.path), self._dropped_path(path))
            self._files.rm_file(self._dropped_path(file.path))


def _as_dropped(path: str, about: dict[str, Any]) -> DroppedFile:
    """What a listing says of an object: providers' packages call the hash of the content by several names."""
    size = int(about.get("size") or 0)
    hashed = next((about[key] for key in ("ETag", "etag", "md5Hash", "content_md5", "LastModified") if about.get(key)), "")
    return DroppedFile(path, f"{str(hashed).strip(chr(34))}-{size}", size)


@contextlib.contextmanager
def _bucket_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, FileExistsError, StorageError):
        raise
    except Exception as error:  # each provider's packages have exceptions of their own
        raise StorageError(f"{what}: {_bucket_reason(error)}") from error


def _bucket_reason(error: Any) -> str:
    return disk_reason(error) if isinstance(error, OSError) and error.strerror else type(error).__name__


class StoredPhotos:
    """The photos of a store, encrypted where there is a key.

    Parameters
    ----------
    store : PhotoStore or None
        None where photos are not kept.
    vault : Vault, optional
    """

    def __init__(self, store: PhotoStore | None, vault: Vault | None = None):
        self.store, self._vault = store, vault

    def put(self, photo: str, data: bytes) -> bool:
        """Store a photo, durably; False where photos are not kept.

        Raises
        ------
        StorageError
        """
        if self.store is None:
            return False
        self.store.put(photo, data if self._vault is None else self._vault.seal(data, _PURPOSE + photo))
        return True

    def get(self, photo: str, max_bytes: int) -> bytes:
        """A photo as it was received.

        Raises
        ------
        FileNotFoundError, StorageError, SealBroken, KeyMissing, ImageTooLarge
        """
        if self.store is None:
            raise FileNotFoundError(photo)
        data = self.store.get(photo)
        if self._vault is not None and len(data) <= most_sealed(max_bytes):
            data = self._vault.open(data, _PURPOSE + photo)
        if len(data) > max_bytes:
            raise ImageTooLarge(f"the photo has more than {max_bytes} bytes")
        return data

    def remove(self, photo: str) -> None:
        """Remove a photo, if it is there.

        Raises
        ------
        StorageError
        """
        if self.store is not None:
            self.store.remove(photo)


def open_store(place: str) -> PhotoStore:
    """The store of a setting: a folder, or the URL of a bucket.

    Raises
    ------
    SettingsError
    """
    return BucketPhotos(place) if "://" in place else FolderPhotos(Path(place))
