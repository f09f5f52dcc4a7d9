"""Networks in the form in which they are run, stored beside the weights, so that only the first start has to convert them.

Parsing the published files and writing other graphs takes a third of a second, a third of a warm start. A stored network is
found by what it was made from: the trusted hash of the weights, and the bytes of the modules that converted them. Its own hash
is part of its file name and is checked whenever it is read, so a damaged or replaced file is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recognizer.core.files import write_durably

#: Name of the folder below that of the weights.
FOLDER = "prepared"
#: Seconds after which a network that nobody read is deleted when another version of it is stored.
UNUSED_SECONDS = 30 * 86400.0
#: Seconds between two notes that a network is still in use.
NOTE_SECONDS = 86400.0


@dataclass(frozen=True)
class Origin:
    """What a network is made from, and where it is stored.

    Attributes
    ----------
    folder : Path
        Folder of the weights.
    weights : str
        SHA-256 of the published file, in hexadecimal.
    """

    folder: Path
    weights: str


def prepared(name: str, origin: Origin | None, modules: Sequence[str], make: Callable[[], bytes]) -> bytes:
    """The network called `name`: as it is stored, or else made, and stored if the folder can be written.

    Parameters
    ----------
    name : str
        Beginning of the file name.
    origin : Origin, optional
        Without it nothing is read or stored.
    modules : sequence of str
        Files of the modules whose code decides what `make` returns: a change of them leads to another file.
    make : callable
        Converts the published weights. Its errors are raised.

    Returns
    -------
    bytes
        An ONNX model.
    """
    if origin is None:
        return make()
    folder = origin.folder / FOLDER
    beginning = f"{name}-{made_from(origin.weights, modules)}-"
    found = _stored(folder, beginning)
    if found is None:
        found = make()
        with contextlib.suppress(OSError):  # a folder that cannot be written costs each start the conversion
            folder.mkdir(parents=True, exist_ok=True)
            write_durably(folder / f"{beginning}{hashlib.sha256(found).hexdigest()}.onnx", found)
            _remove_unused(folder, name)
    return found


def made_from(weights: str, modules: Sequence[str], versions: Sequence[str] = ()) -> str:
    """A short text that differs when what a network is made from differs: weights, code, and versions of other things.

    Raises
    ------
    OSError
        A module cannot be read.
    """
    digest = hashlib.sha256(weights.encode())
    for version in versions:
        digest.update(version.encode())
    for module in modules:
        digest.update(Path(module).read_bytes())
    return digest.hexdigest()[:16]


def _stored(folder: Path, beginning: str) -> bytes | None:
    """The stored network with this beginning of a name; one that is damaged is deleted."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(beginning) and name.endswith(".onnx"))
    except OSError:
        return None
    for name in names:
        file = folder / name
        with contextlib.suppress(OSError):
            data = file.read_bytes()
            if hashlib.sha256(data).hexdigest() == name.removeprefix(beginning).removesuffix(".onnx"):
                with contextlib.suppress(OSError):
                    if time.time() - file.stat().st_mtime > NOTE_SECONDS:
                        os.utime(file)
                return data
            file.unlink()
    return None


def _remove_unused(folder: Path, name: str) -> None:
    """Delete what other versions of the program stored under this name, once it is no longer read."""
    for file in folder.glob(f"{name}-*.onnx"):
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime > UNUSED_SECONDS:
                file.unlink()
