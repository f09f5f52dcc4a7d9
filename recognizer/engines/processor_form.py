"""Networks as ONNX Runtime has optimised them for this processor, stored beside the weights and mapped into memory.

Optimising a network and copying its weights takes most of the time of loading it, and half of the memory that it then
occupies: ONNX Runtime reads the file, parses it, and writes the weights in another order for its convolutions. The result of
that is stored (`runtime.write_optimised`). Later starts map the file of the weights; its pages are shared by all processes, and
the system may drop them when memory is short. The results are the same to the bit.

The order of the weights depends on the processor's instructions and on the version of ONNX Runtime, so both are part of the
name: a folder that was copied from another machine is not used. As in `engines.prepared`, the hash of what is stored is part of
its name too, and is checked whenever it is read. Where the form cannot be stored, or where the processor's instructions are not
known (only Linux lists them), the network is loaded as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from recognizer.core.errors import ModelError
from recognizer.core.files import PART
from recognizer.engines import runtime
from recognizer.engines.prepared import FOLDER, NOTE_SECONDS, UNUSED_SECONDS, Origin, made_from, prepared
from recognizer.engines.runtime import NetworkSession, release_memory, write_optimised

#: The provider whose networks are stored in this form.
PROVIDER = "cpu"
#: Names of the files: the graph, and the weights.
GRAPH, WEIGHTS = "graph.onnx", "weights.bin"
_ENDING = ".form"
#: Where Linux lists what the processors can do, and the entries on which the choice of instructions depends.
_CPUINFO = Path("/proc/cpuinfo")
_ENTRIES = frozenset(
    {
        *("vendor_id", "cpu family", "model", "flags"),  # x86
        *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"),  # Arm
    }
)
#: Seconds after which an unfinished form was left by a process that ended.
_LEFT_SECONDS = 3600.0
_BLOCK = 1 << 20


def load_network(
    name: str,
    origin: Origin | None,
    modules: Sequence[str],
    make: Callable[[], bytes],
    threads: int = 1,
    provider: str = PROVIDER,
) -> NetworkSession:
    """Load the network that `make` converts: in this processor's form, which is stored by the first start.

    Parameters
    ----------
    name, origin, modules, make
        As for `engines.prepared.prepared`, which stores the network itself.
    threads, provider
        As for `NetworkSession`.

    Raises
    ------
    ModelError, ModelMissing, ModelCorrupt
        Of `make` and of `NetworkSession`.
    """
    processor = _instructions(_CPUINFO)
    if origin is None or provider != PROVIDER or processor is None:
        return _as_it_is(prepared(name, origin, modules, make), threads, provider)
    versions = (processor, runtime.version())
    key = made_from(origin.weights, (*modules, runtime.__file__), versions)
    folder, beginning = origin.folder / FOLDER, f"{name}-{key}-"
    session = _stored(folder, beginning, threads)
    if session is None:
        network = prepared(name, origin, modules, make)
        if _store(network, folder, beginning):
            _remove_unused(folder, name)
            session = _stored(folder, beginning, threads)
        if session is None:
            return _as_it_is(network, threads, provider)
        del network
        release_memory()
    return session


def _as_it_is(network: bytes, threads: int, provider: str) -> NetworkSession:
    session = NetworkSession(network, threads, provider)
    del network
    release_memory()
    return session


@cache
def _instructions(file: Path) -> str | None:
    """What the processors can do, in words; None where the system does not list it."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return None
    entries = {(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)}
    found = sorted(entry for entry in entries if entry[0] in _ENTRIES)
    return repr(found) if {"flags", "Features"} & {key for key, _ in found} else None


def _stored(folder: Path, beginning: str, threads: int) -> NetworkSession | None:
    """The session of the stored form with this beginning of a name; one that is damaged is deleted."""
    for place in _forms(folder, beginning):
        try:
            if _hash(place) == place.name.removeprefix(beginning).removesuffix(_ENDING):
                session = NetworkSession(place / GRAPH, threads, PROVIDER, optimised=True)
                with contextlib.suppress(OSError):
                    if time.time() - place.stat().st_mtime > NOTE_SECONDS:
                        os.utime(place)
                return session
        except (OSError, ModelError):
            pass
        shutil.rmtree(place, ignore_errors=True)
    return None


def _forms(folder: Path, beginning: str) -> list[Path]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(beginning) and name.endswith(_ENDING))
    except OSError:
        return []
    return [folder / name for name in names]


def _hash(place: Path) -> str:
    """The hash of both files of a form.

    Raises
    ------
    OSError
    """
    digest, block = hashlib.sha256(), bytearray(_BLOCK)
    for name in (GRAPH, WEIGHTS):
        with open(place / name, "rb", buffering=0) as file:
            digest.update(str(os.fstat(file.fileno()).st_size).encode())
            while count := file.readinto(block):
                digest.update(memoryview(block)[:count])
    return digest.hexdigest()


def _store(network: bytes, folder: Path, beginning: str) -> bool:
    """Store the form of a network; whether that was possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=PART, dir=folder))
    except OSError:
        return False
    try:
        write_optimised(network, part / GRAPH, WEIGHTS)
        for file in (part / GRAPH, part / WEIGHTS):
            file.chmod(0o644)
        part.chmod(0o755)
        part.rename(folder / f"{beginning}{_hash(part)}{_ENDING}")
    except (OSError, ModelError):  # also if another process has just stored it
        shutil.rmtree(part, ignore_errors=True)
        return bool(_forms(folder, beginning))
    return True


def _remove_unused(folder: Path, name: str) -> None:
    """Delete the forms of other versions and processors that nobody reads any longer, and what killed processes left."""
    now = time.time()
    for pattern, seconds in ((f"{name}-*{_ENDING}", UNUSED_SECONDS), (f"{PART}*", _LEFT_SECONDS)):
        for place in folder.glob(pattern):
            with contextlib.suppress(OSError):
                if place.is_dir() and now - place.stat().st_mtime > seconds:
                    shutil.rmtree(place, ignore_errors=True)
