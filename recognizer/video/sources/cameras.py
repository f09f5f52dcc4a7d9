"""The cameras of a server: the one that the setting names, and those that were added, which are kept in a file.

What was changed about the setting's camera is kept there too, until the setting names another one.

The file contains passwords: its mode is 0600, and it is replaced in one step, so that it is always complete. Several server
processes may share it: each checks whether it changed before it answers, and changes it under a lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recognizer.core.errors import (
    CameraFixed,
    CameraNotFound,
    InvalidParameter,
    InvalidSource,
    NameTaken,
    RecognizerError,
    StorageError,
    TooManyCameras,
)
from recognizer.core.fair_lock import FairLock
from recognizer.core.files import own_folder, write_durably
from recognizer.core.names import DEFAULT_GROUP
from recognizer.video.sources.camera import Camera
from recognizer.video.sources.reach import Reach
from recognizer.video.sources.source import ONCE, RECORDINGS, CameraSource, parse_source, split_view

#: The id of the camera that the setting names.
DEFAULT = "default"
_DEFAULT_NAME = "Camera"
MOST_CAMERAS = 64
#: Number of names of removed cameras that are stored.
MOST_REMOVED = 256
_LONGEST_NAME = 100
_LOCK_SECONDS = 10
#: Seconds that closing waits for all cameras together.
_CLOSE_SECONDS = 5.0

log = logging.getLogger("recognizer.video")


@dataclass(frozen=True)
class Elsewhere:
    """Who reads a camera that this server does not read.

    Attributes
    ----------
    node : str or None
        The node's id; None if nobody reads the camera now.
    url : str or None
        Where the node is reached; None if it does not say.
    state : dict
        How the node last saw the camera; empty if it did not say yet.
    """

    node: str | None
    url: str | None
    state: dict[str, Any]


@dataclass(frozen=True)
class CameraEntry:
    """One camera as it is listed.

    Attributes
    ----------
    id : str
        Stays the same when the name changes.
    name : str
    source : CameraSource
    always : bool
        Whether it also runs while nobody watches it.
    fixed : bool
        Whether it can only be changed in the setting that names it.
    camera : Camera
        Reads the source; the user of its frames starts it.
    text : str
        The source as it was given.
    group : str or None
        Whose people are named; None for the default group.
    here : bool
        Whether this server reads it, and not another one.
    node : str or None
        Where servers share cameras, the id of the one that reads it; None if none does.
    elsewhere : Elsewhere or None
        Who reads it, if this server does not.
    """

    id: str
    name: str
    source: CameraSource
    always: bool
    fixed: bool
    camera: Camera = field(repr=False, compare=False)
    text: str = field(repr=False, default="")
    group: str | None = None
    here: bool = True
    node: str | None = None
    elsewhere: Elsewhere | None = field(default=None, compare=False)

    @property
    def runs_always(self) -> bool:
        """Whether this server reads it although nobody watches."""
        return self.always and self.here


class Cameras:
    """Keeps the list, and owns the `Camera` of each entry. All methods may be called from any thread.

    Parameters
    ----------
    file : path
        Where added cameras are stored; written when the first one is added.
    default : str or int, optional
        The source of the camera `DEFAULT`, unless that was changed; None or ``"none"`` for no such camera. Any address is
        allowed.
    assumed : bool
        Nobody asked for `default`. It is then listed only if it is attached, as far as that can be seen.
    reach : Reach
        Where the URLs of added cameras may lead.
    files : path, optional
        Folder below which added cameras may name files and folders; None forbids them.

    Raises
    ------
    InvalidSource
        `default` names nothing that can be read.
    """

    #: Whether `DEFAULT` can only be changed in the setting.
    _fixes_default = False
    #: Whether the list was read.
    known = True

    def __init__(
        self,
        file: Path,
        *,
        default: str | int | None = None,
        assumed: bool = False,
        reach: Reach | None = None,
        files: Path | None = None,
    ):
        self._file, self._reach = Path(file), reach or Reach()
        self._folder = None if files is None else Path(files)
        self._lock = threading.RLock()
        self._added: dict[str, CameraEntry] = {}
        self._removed: dict[str, str] = {}
        self._assumed = assumed
        self._stamp: tuple | None = None
        self._broken = False
        self._closed = False
        self._watchers: list[Callable[[str, CameraEntry], None]] = []
        self._setting = hashlib.sha256(str(default).strip().encode()).hexdigest()[:32]
        self._default: CameraEntry | None = None
        if default is not None and str(default).strip().lower() != "none":
            source = parse_source(default)
            camera = Camera(source, reach=Reach.everywhere(), id=DEFAULT, name=_DEFAULT_NAME)
            self._default = CameraEntry(DEFAULT, _DEFAULT_NAME, source, False, self._fixes_default, camera)
        self._set = self._default
        with contextlib.suppress(StorageError):
            self._look()

    # -- reading ------------------------------------------------------------------------------------------------

    def all(self) -> list[CameraEntry]:
        """The default camera first, then the others in the order in which they were added."""
        tell = None
        with self._lock:
            with contextlib.suppress(StorageError):
                tell = self._look()
            entries = [*filter(None, [self._default]), *self._added.values()]
        if tell:
            tell()
        if self._assumed and entries and entries[0] == self._set and not is_attached(self._set.source):
            return entries[1:]
        return entries

    def get(self, id: str) -> CameraEntry:
        """Raises CameraNotFound."""
        entries = self.all()
        if self._default is not None and id == DEFAULT:
            return self._default
        for entry in entries:
            if entry.id == id:
                return entry
        raise CameraNotFound(f"there is no camera {id!r}"[:200])

    def elsewhere(self, id: str) -> Elsewhere | None:
        """Who reads a camera, if this server does not."""
        return None

    def keep(self) -> None:
        """Take cameras from now on, where servers share them: for a server, not for a command."""

    def removed(self) -> dict[str, str]:
        """Id -> last name of the cameras that were removed, which events still mention; the last `MOST_REMOVED` of them."""
        listed = {entry.id for entry in self.all()}
        with self._lock:
            return {id: name for id, name in self._removed.items() if id not in listed}

    def subscribe(self, callback: Callable[[str, CameraEntry], None]) -> Callable[[], None]:
        """Have `callback` called with ("added" | "changed" | "removed", entry); it must not wait.

        A camera whose source changed has a new `Camera`; the old one is stopped, as is a removed camera's. Returns a
        function that ends this.
        """
        with self._lock:
            self._watchers.append(callback)

        def end() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._watchers.remove(callback)

        return end

    # -- changing -----------------------------------------------------------------------------------------------

    def add(self, source: str | int, name: str | None = None, always: bool = False, group: str | None = None) -> CameraEntry:
        """Add a camera; durable on return.

        Raises
        ------
        InvalidSource, AddressRefused
            The source cannot be read, or is not allowed.
        InvalidParameter, NameTaken, TooManyCameras, StorageError
        """
        parsed, text = self._allowed(source)
        with self._change() as entries:
            count = len(entries.keys() - {DEFAULT})
            if count >= MOST_CAMERAS:
                raise TooManyCameras(f"there are {count} cameras; remove one before another is added")
            name = self._free_name(name, None, entries)
            entry = self._entry(_free_id(name, entries), name, parsed, text, bool(always), _group(group))
            entries[entry.id] = entry
        return entry

    def change(
        self,
        id: str,
        *,
        name: str | None = None,
        source: str | int | None = None,
        always: bool | None = None,
        group: str | None = None,
    ) -> CameraEntry:
        """Change the given values; a source for `DEFAULT` makes that camera if there is none.

        Raises the errors of `add`, and CameraNotFound and CameraFixed.
        """
        parsed, text = self._allowed(source) if source is not None else (None, None)
        with self._change() as entries:
            if id == DEFAULT and id not in entries and parsed is not None and text is not None and not self._fixes_default:
                entries[id] = self._entry(id, self._free_name(name, id, entries), parsed, text, False)
            entry = self._changeable(id, entries)
            if name is not None:
                entry = replace(entry, name=self._free_name(name, id, entries))
            if always is not None:
                entry = replace(entry, always=bool(always))
            if parsed is not None and text is not None and text != entry.text:
                entry = self._entry(id, entry.name, parsed, text, entry.always, entry.group)
            if group is not None and _group(group) != entry.group:  # begun anew, since names are others
                entry = self._entry(id, entry.name, entry.source, entry.text, entry.always, _group(group))
            entries[id] = entry
        return entry

    def remove(self, id: str) -> CameraEntry:
        """Remove a camera and stop it; raises CameraNotFound, CameraFixed, StorageError."""
        with self._change() as entries:
            entry = self._changeable(id, entries)
            del entries[id]
        return entry

    def close(self) -> None:
        """Stop every camera. All threads and processes have ended when this returns."""
        with self._lock:
            self._closed = True
            cameras = [entry.camera for entry in (*filter(None, [self._default]), *self._added.values())]
        for camera in cameras:
            camera.stop(timeout=0)
        until = time.monotonic() + _CLOSE_SECONDS
        for camera in cameras:
            camera.stop(timeout=max(0.0, until - time.monotonic()))

    # -- what is allowed ----------------------------------------------------------------------------------------

    def _allowed(self, text: str | int) -> tuple[CameraSource, str]:
        """A source that a client names: how it is read, and how it is stored."""
        text = str(text).strip()
        source = parse_source(text)
        self._reach.check_source(source)
        if source.kind in RECORDINGS:
            return self._file_below(text), text
        if source.kind == "device" and not source.address.isdigit():
            raise InvalidSource("expected a webcam's number; device files are for RECOGNIZER_CAMERA")
        return source, text

    def _file_below(self, text: str) -> CameraSource:
        """A file or folder below the one that the operator allows; the error does not show whether others exist."""
        if self._folder is None:
            raise InvalidSource("files cannot be named here: RECOGNIZER_CAMERA_FILES is not set to the folder they are in")
        said, text = split_view(text)
        once = text.lower().startswith(ONCE)
        path = text[len(ONCE) :].strip() if once else text
        path = path[len("file:") :] if path.lower().startswith("file:") else path
        try:
            root = self._folder.resolve()
            found = (root / path.removeprefix("//")).resolve()
            inside = found.exists() and (found == root or root in found.parents)
        except (OSError, RuntimeError, ValueError):
            inside = False
        if not inside:
            raise InvalidSource("there is no such file or folder below the one of RECOGNIZER_CAMERA_FILES")
        return replace(parse_source(f"{said}file:{found}", loop=not once), root=str(root))

    def _free_name(self, name: str | None, id: str | None, entries: dict[str, CameraEntry]) -> str:
        taken = {_key(entry.name) for entry in entries.values() if entry.id != id}
        if name is None:
            number = 1
            while _key(f"Camera {number}") in taken:
                number += 1
            return f"Camera {number}"
        name = " ".join(unicodedata.normalize("NFC", str(name)).split())
        if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise InvalidParameter(f"name: expected 1 to {_LONGEST_NAME} printable characters")
        if _key(name) in taken:
            raise NameTaken(f"another camera is called {name!r}", name=name)
        return name

    def _entry(
        self, id: str, name: str, source: CameraSource, text: str, always: bool, group: str | None = None
    ) -> CameraEntry:
        set_here = id == DEFAULT and self._set is not None and not text  # where the setting leads is for the operator to say
        reach = Reach.everywhere() if set_here else self._reach
        camera = Camera(source, reach=reach, id=id, name=name)
        return CameraEntry(id, name, source, always, False, camera, text, group)

    def _changeable(self, id: str, entries: dict[str, CameraEntry]) -> CameraEntry:
        if id in entries and entries[id].fixed:
            raise CameraFixed("this camera is set by RECOGNIZER_CAMERA, and can only be changed there")
        if id not in entries:
            raise CameraNotFound(f"there is no camera {id!r}"[:200])
        return entries[id]

    # -- the file -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _change(self) -> Iterator[dict[str, CameraEntry]]:
        """The entries to change: written when the block ends without an error, then in force."""
        news: list[Callable[[], None]] = []
        try:
            with self._lock:
                with self._exclusive():
                    news.append(self._look())
                    if self._broken:
                        raise StorageError("the list of cameras on the disk cannot be read; the server's log says why")
                    entries = self._listed()
                    yield entries
                    default = entries.pop(DEFAULT, None)
                    if entries != self._added or default != self._default:
                        self._write(entries, default)
                news.append(self._take_over(entries, default))
        finally:  # also when the change failed: what another process changed was taken over before
            for tell in news:
                tell()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Within the block, nobody else changes the list."""
        try:
            own_folder(self._file.parent)
            with FairLock(Path(f"{self._file}.lock")).hold(_LOCK_SECONDS):
                yield
        except TimeoutError:
            raise StorageError("another process holds the list of cameras") from None
        except OSError as error:
            raise StorageError(f"the list of cameras cannot be kept: {_why(error)}") from None

    def _listed(self) -> dict[str, CameraEntry]:
        """All cameras by their ids."""
        return {entry.id: entry for entry in (*filter(None, [self._default]), *self._added.values())}

    def _take_over(self, entries: dict[str, CameraEntry], default: CameraEntry | None) -> Callable[[], None]:
        """Make these the entries, and stop the cameras that are no more; returns a function that notifies subscribers."""
        before, self._added, self._default = self._listed(), entries, default
        entries = self._listed()
        news = [("removed", entry) for id, entry in before.items() if id not in entries]
        changed = [entry for id, entry in entries.items() if before.get(id) != entry]
        news += [("changed" if entry.id in before else "added", entry) for entry in changed]
        for entry in changed:
            entry.camera.name = entry.name
        for id, entry in before.items():
            if id not in entries or entries[id].camera is not entry.camera:
                entry.camera.stop(timeout=0)
        watchers = list(self._watchers)

        def tell() -> None:
            for what, entry in news:
                for watcher in watchers:
                    try:
                        watcher(what, entry)
                    except Exception:
                        log.exception("whoever is told of cameras failed")

        return tell

    def _look(self) -> Callable[[], None]:
        """Read the file if it is not the one that was read last; returns a function that notifies subscribers."""

        def nothing() -> None:
            pass

        try:
            status = os.stat(self._file)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        except FileNotFoundError:
            stamp = None
        except OSError as error:
            raise StorageError(f"the list of cameras cannot be read: {_why(error)}") from None
        if stamp == self._stamp or self._closed:
            return nothing
        entries: dict[str, CameraEntry] = {}
        removed: dict[str, str] = {}
        default = self._set
        self._broken = False
        if stamp is not None:
            try:
                kept = json.loads(self._file.read_text("utf-8"))
                removed = {str(id): str(name) for id, name in kept.get("removed", {}).items()}
                for each in kept["cameras"]:
                    entry = self._read(each)
                    if entry is not None:
                        entries[entry.id] = entry
                default = self._changed_default(kept.get(DEFAULT))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                self._broken = True
                what = type(error).__name__
                log.error("%s cannot be read as a list of cameras (%s): mend or remove it", self._file.name, what)
        self._stamp = stamp
        if self._broken:
            return nothing
        self._removed = removed
        return self._take_over(entries, default)

    def _changed_default(self, kept: dict[str, Any] | None) -> CameraEntry | None:
        """The camera `DEFAULT`, of which `kept` says what was changed while the setting was what it is now."""
        if kept is None or kept["setting"] != self._setting:
            return self._set
        if kept.get("removed"):
            return None
        return self._read({"source": "", **kept, "id": DEFAULT})

    def _read(self, kept: dict) -> CameraEntry | None:
        id, name, text, always = str(kept["id"]), str(kept["name"]), str(kept["source"]), bool(kept.get("always", False))
        group = None if kept.get("group") is None else str(kept["group"])
        known = self._listed().get(id)
        if known is not None and known.text == text and known.group == group:
            return replace(known, name=name, always=always)
        if id == DEFAULT and not text:
            return self._set and self._entry(id, name, self._set.source, text, always, group)
        try:
            source = self._file_below(text) if parse_source(text).kind in RECORDINGS else parse_source(text)
        except RecognizerError as error:
            # settings or files changed: it stays listed, with the reason
            log.warning("camera %s: %s", id, error.message)
            source = CameraSource("file", "", True, error.message)
        return self._entry(id, name, source, text, always, group)

    def _write(self, entries: dict[str, CameraEntry], default: CameraEntry | None) -> None:
        gone = [each for each in self._added.values() if each.id not in entries]
        if self._default is not None and default is None:
            gone.append(self._default)
        removed = dict(list((self._removed | {each.id: each.name for each in gone}).items())[-MOST_REMOVED:])
        kept: dict[str, Any] = {"cameras": [plain_camera(each) for each in entries.values()], "removed": removed}
        if default != self._set:
            kept[DEFAULT] = {"setting": self._setting, **({"removed": True} if default is None else plain_camera(default))}
        data = json.dumps(kept, ensure_ascii=False, indent=1).encode() + b"\n"
        write_durably(self._file, data, mode=0o600)
        self._removed = removed
        status = os.stat(self._file)
        self._stamp = (status.st_mtime_ns, status.st_size, status.st_ino)


def plain_camera(entry: CameraEntry) -> dict[str, Any]:
    """A camera of the list as it is stored."""
    kept = {"id": entry.id, "name": entry.name, "source": entry.text, "always": entry.always}
    return kept if entry.group is None else {**kept, "group": entry.group}


def plain_state(entry: CameraEntry) -> dict[str, Any]:
    """The state of a camera as plain data."""
    reader, state = entry.camera, entry.camera.state
    return {
        "state": {"name": state.name, "reason": state.reason or None, "since": round(state.since, 3)},
        "turn_wanted": reader.turn_wanted,
        "fps": round(reader.fps, 1),
        "frames": dict(reader.counts),
    }


def _group(name: str | None) -> str | None:
    """A group as it is stored: None for the default."""
    return None if name in (None, DEFAULT_GROUP) else name


def is_attached(source: CameraSource) -> bool:
    """Whether a source is there, as far as that can be seen without opening it: False only for a webcam that is missing."""
    if source.kind != "device" or not sys.platform.startswith("linux"):
        return True
    return os.path.exists(f"/dev/video{source.address}" if source.address.isdigit() else source.address)


def _key(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _free_id(name: str, entries: dict[str, CameraEntry]) -> str:
    """An id for URLs, derived from the name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40] or "camera"
    id, number = stem, 1
    while id in entries or id == DEFAULT:
        number += 1
        id = f"{stem}-{number}"
    return id


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
