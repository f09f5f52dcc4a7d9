"""Where bulk work reads and writes tables: a folder that every worker sees, or a bucket through fsspec.

Files are written by the Python workers, not by Spark: what pip installs of Spark knows no buckets. A file appears only when it
is complete, and a task that is tried again writes the same files once more.
"""

from __future__ import annotations

import importlib.util
import io
import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recognizer.core.disk import storage_error
from recognizer.core.errors import InvalidParameter, StorageError
from recognizer.core.files import write_durably

if TYPE_CHECKING:
    import pyarrow as pa

HOW = "pip install -r requirements-spark.txt"
_SUFFIX = ".parquet"


def is_address(text: str) -> bool:
    """Whether a text is a URL rather than a path."""
    return "://" in text


def filesystem(address: str) -> tuple[Any, str]:
    """The file system of fsspec for a URL, and the path in it. Listings are not cached.

    Raises
    ------
    InvalidParameter
        A package is missing, or the scheme is unknown.
    """
    scheme = address.partition("://")[0]
    if importlib.util.find_spec("fsspec") is None:
        raise InvalidParameter(f"{scheme}:// needs fsspec, which is not installed: {HOW}")
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(address, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise InvalidParameter(f"{scheme}:// cannot be used: {error}") from None


@contextmanager
def place_errors(what: str) -> Iterator[None]:
    """Turn the errors of file systems into one sentence without secrets."""
    try:
        yield
    except OSError as error:
        raise storage_error(what, error) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("botocore", "aiohttp", "s3fs", "gcsfs", "adlfs", "azure", "fsspec"):
            raise StorageError(f"{what}: {type(error).__name__}") from None
        raise


@dataclass(frozen=True, slots=True)
class TablePlace:
    """A folder, or a URL that fsspec knows, with Parquet files in it. It is sent to workers as its address.

    Attributes
    ----------
    address : str
    """

    address: str

    @classmethod
    def at(cls, address: str) -> TablePlace:
        """The place of a URL, or of a path as this process sees it: workers may have another current folder."""
        return cls(address if is_address(address) else str(Path(address).absolute()))

    def _remote(self) -> tuple[Any, str] | None:
        return filesystem(self.address.rstrip("/")) if is_address(self.address) else None

    def tables(self, below: str = "") -> list[str]:
        """The names of the Parquet files, sorted; names of folders that begin with a dot or an underscore are skipped.

        Raises
        ------
        InvalidParameter, StorageError
        """
        remote = self._remote()
        with place_errors("the tables cannot be listed"):
            if remote is None:
                root = Path(self.address, below)
                names = [file.relative_to(self.address).as_posix() for file in root.rglob(f"*{_SUFFIX}") if file.is_file()]
            else:
                files, root_path = remote
                try:
                    found = files.find(posixpath.join(root_path, below))
                except FileNotFoundError:
                    found = []
                start = len(root_path.rstrip("/")) + 1
                names = [path[start:] for path in found if path.endswith(_SUFFIX)]
        return sorted(name for name in names if not any(part[0] in "._" for part in name.split("/")))

    def has(self, name: str) -> bool:
        """Whether there is such a file.

        Raises
        ------
        InvalidParameter, StorageError
        """
        remote = self._remote()
        with place_errors("the tables cannot be listed"):
            if remote is None:
                return Path(self.address, name).is_file()
            files, root = remote
            return bool(files.exists(posixpath.join(root, name)))

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A table, or some of its columns.

        Raises
        ------
        InvalidParameter
            It is no Parquet file, or lacks a column.
        StorageError
        """
        import pyarrow as pa

        remote = self._remote()
        try:
            with place_errors(f"{name} cannot be read"):
                if remote is None:
                    with Path(self.address, name).open("rb") as file:
                        return _table(name, file, columns)
                files, root = remote
                with files.open(posixpath.join(root, name), "rb", block_size=1 << 20, cache_type="readahead") as file:
                    return _table(name, file, columns)
        except pa.ArrowInvalid as error:
            raise InvalidParameter(f"{name}: {str(error).splitlines()[0]}") from None

    def write(self, name: str, table: pa.Table) -> None:
        """Write a table, whole or not at all.

        Raises
        ------
        InvalidParameter, StorageError
        """
        import pyarrow.parquet as pq

        out = io.BytesIO()
        pq.write_table(table, out, compression="zstd")
        remote = self._remote()
        with place_errors(f"{name} cannot be written"):
            if remote is None:
                final = Path(self.address, name)
                final.parent.mkdir(parents=True, exist_ok=True)
                write_durably(final, out.getvalue())
            else:
                files, root = remote
                files.pipe_file(posixpath.join(root, name), out.getvalue())

    def remove(self, name: str) -> None:
        """Remove a file.

        Raises
        ------
        InvalidParameter, StorageError
        """
        remote = self._remote()
        with place_errors(f"{name} cannot be removed"):
            if remote is None:
                Path(self.address, name).unlink(missing_ok=True)
            else:
                files, root = remote
                files.rm_file(posixpath.join(root, name))


def _table(name: str, file: Any, columns: Sequence[str] | None) -> pa.Table:
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(file)
    if missing := set(columns or ()) - set(parquet.schema_arrow.names):
        raise InvalidParameter(f"{name} is no table of faces: it lacks {', '.join(sorted(missing))}")
    return parquet.read(None if columns is None else list(columns))
