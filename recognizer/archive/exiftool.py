"""Reads and writes photos' metadata with ExifTool (https://exiftool.org), a program of its own that is called.

It is not a package of Python: `apt install libimage-exiftool-perl`, `brew install exiftool`, or the installer for Windows. It
knows what each photo program writes, and keeps everything in a file that it does not change.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recognizer.core.errors import ExifToolMissing, StorageError

#: Files that are read by one call.
_AT_ONCE = 200
_SECONDS = 600
#: What is read of each file.
_TAGS = ("-RegionInfo", "-RegionInfoMP", "-ImageRegion", "-Orientation", "-ImageWidth", "-ImageHeight")


def program() -> str:
    """The path of ExifTool.

    Raises
    ------
    ExifToolMissing
    """
    found = shutil.which("exiftool")
    if found is None:
        raise ExifToolMissing("names in photos are read and written by ExifTool, which is not installed: see docs/archive.md")
    return found


def read(paths: Sequence[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The regions, the orientation and the size in the metadata of files and sidecars that have any, in their order.

    Raises
    ------
    ExifToolMissing, StorageError
    """
    for start in range(0, len(paths), _AT_ONCE):
        part = paths[start : start + _AT_ONCE]
        called = [program(), "-j", "-struct", "-n", "-q", "-q", "-m", "-fast", "-charset", "filename=utf8", *_TAGS, "-@", "-"]
        names = b"\n".join(os.fsencode(path.absolute()) for path in part)
        done = _run(called, names)
        try:
            rows = json.loads(done.stdout.decode("utf-8", "replace") or "[]")
        except ValueError:
            raise StorageError("ExifTool's answer cannot be read") from None
        by_name = {str(path.absolute()): path for path in part}
        for row in rows:
            path = by_name.get(str(row.get("SourceFile")))
            if path is not None:
                yield path, row


def write_regions(file: Path, info: dict[str, Any], persons: Sequence[str]) -> None:
    """Write regions of the Metadata Working Group, and who is on the photo, into a photo or a sidecar.

    Everything else in the file stays, and so do its times. A sidecar that is not there is made. The file is replaced as a
    whole.

    Raises
    ------
    ExifToolMissing
    StorageError
        It cannot be written, or ExifTool cannot write this format.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "regions.json"
        content = {"SourceFile": "*", "XMP-mwg-rs:RegionInfo": info, "XMP-iptcExt:PersonInImage": list(persons)}
        data.write_text(json.dumps([content]), "utf-8")
        called = [program(), "-q", "-m", "-n", "-P", "-overwrite_original", "-struct", f"-j={data}"]
        called += ["-charset", "filename=utf8", "-@", "-"]
        done = _run(called, os.fsencode(file.absolute()))
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise StorageError(f"ExifTool cannot write the file: {words[-1].split(' - ')[0] if words else 'unknown reason'}")


def _run(command: list[str], names: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, input=names, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StorageError(f"ExifTool cannot be run: {type(error).__name__}") from None
