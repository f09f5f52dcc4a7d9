"""People whom nobody enrolled, kept until somebody says who they are: pictures, grouped by person, and when they were seen.

::

    strangers/
      strangers.lock             held for every change, and every look
      3f9a0c1b72.json            a stranger: when and where seen, and each picture's template
      pictures/8c1d....jpg       pictures, named by their content

A picture is written before the stranger that lists it, and erased after; what an interruption leaves over is erased by the
next `purge`. Any process may change anything: each looks, under the lock, for what others changed.

Where there is a key, both are encrypted with it.

Of somebody who is not to be asked about again ("never") only the templates are kept, so that they are known when they come
again; pictures, places and counts go.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .clustering import Group, Groups
from .encodings import photo_id
from .errors import InvalidParameter, KeyMissing, PictureNotFound, SealBroken, StorageError, StrangerNotFound
from .files import sync_folder, write_durably
from .types import Match
from .vault import Vault, is_sealed

log = logging.getLogger("recognizer.strangers")

#: Seconds within which somebody who is seen again at the same camera never left.
SAME_VISIT = 60.0
_DAY = 86_400.0
_LOCK_SECONDS = 10.0
PICTURES, _LOCK = "pictures", "strangers.lock"
#: Age in seconds from which on a picture that no stranger lists is a leftover.
_LEFTOVER = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A face as it was seen: pixels around it (RGB), when, and what the picture is worth, 0 to 1."""

    pixels: np.ndarray
    time: float
    worth: float


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """Somebody without a name who was seen; told again, with the same `visit`, while they stay.

    Attributes
    ----------
    visit : str
        The same for the same stay.
    camera : str or None
        None for a photo of a request.
    first, last : float
        Seconds since the epoch.
    shots : tuple of Shot
        Since this was told last; may be none.
    named : bool
        It turned out who it is.
    """

    visit: str
    camera: str | None
    first: float
    last: float
    shots: tuple[Shot, ...] = ()
    named: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Fresh:
    """A picture that may be kept: a JPEG, and what the engine made of exactly that."""

    jpeg: bytes
    vector: np.ndarray
    time: float
    quality: float


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture that is kept; `vector` is its template."""

    id: str
    time: float
    camera: str | None
    quality: float
    visit: str
    vector: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Stranger:
    """Somebody whom nobody enrolled.

    Attributes
    ----------
    sightings : int
        How often they came.
    first_seen, last_seen : float
        Seconds since the epoch.
    at : dict
        Camera (None: photos of requests) -> when last seen there.
    pictures : tuple of Picture
        Best first.
    never : bool
        Not to be asked about again: of the pictures there are templates only.
    fixed : bool
    apart : frozenset
        See `clustering.Group`.
    """

    id: str
    sightings: int
    first_seen: float
    last_seen: float
    at: Mapping[str | None, float]
    pictures: tuple[Picture, ...]
    never: bool = False
    fixed: bool = False
    apart: frozenset = frozenset()

    @property
    def cameras(self) -> list[str]:
        """Where they were seen, the latest first."""
        return sorted((camera for camera in self.at if camera is not None), key=lambda camera: -self.at[camera])


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept; the oldest strangers and the worst pictures go.

    Attributes
    ----------
    strangers, never, pictures : int
        Strangers, people not to be asked about, and pictures of each.
    days : float
        After so many days in which they were not seen, strangers are forgotten, asked about or not.
    """

    strangers: int = 300
    never: int = 1000
    pictures: int = 8
    days: float = 30.0


class Strangers:
    """All strangers. Owns their folder, together with other processes that have one too; safe from any thread.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    engine : str
        Id of the engine that makes the templates.
    limit : callable
        Number of faces -> largest distance of neighbours; see `clustering.limit_for`.
    bounds : Bounds
    now : callable
        Seconds since the epoch.
    vault : Vault, optional
        What is kept is encrypted with it.

    Raises
    ------
    StorageError
    """

    def __init__(
        self, folder: Path, engine: str, limit: Callable[[int], float], bounds: Bounds | None = None, *,
        now: Callable[[], float] = time.time, vault: Vault | None = None,
    ):  # fmt: skip
        from filelock import FileLock

        self.folder, self.bounds, self._vault = Path(folder), bounds or Bounds(), vault
        self.counts = dict.fromkeys(("kept", "never", "dropped_strangers", "dropped_pictures", "purged", "recognised"), 0)
        self._engine, self._limit, self._now = engine, limit, now
        self._lock = threading.RLock()
        self._strangers: dict[str, Stranger] = {}
        self._foreign: set[str] = set()  # of another engine
        self._stamps: dict[str, tuple] = {}
        with _disk():
            (self.folder / PICTURES).mkdir(parents=True, exist_ok=True)
        self._file_lock = FileLock(self.folder / _LOCK, timeout=_LOCK_SECONDS, thread_local=False)

    # -- what there is ------------------------------------------------------------------------------------------

    def all(self) -> list[Stranger]:
        """Everybody who may be asked about, whoever was seen last first."""
        with self._held():
            return sorted(self._asked(), key=lambda each: (-each.last_seen, each.id))

    def get(self, id_: str) -> Stranger:
        """One stranger.

        Raises
        ------
        StrangerNotFound
        """
        with self._held():
            return self._get(id_)

    def picture(self, id_: str, picture: str) -> bytes:
        """A JPEG.

        Raises
        ------
        StrangerNotFound, PictureNotFound
        """
        with self._held():
            if all(each.id != picture for each in self._get(id_).pictures):
                raise PictureNotFound(f"the stranger has no picture {picture!r}")
            try:
                return self._jpeg(picture)
            except (OSError, SealBroken, KeyMissing):
                raise PictureNotFound(f"the picture {picture!r} is gone") from None

    def _get(self, id_: str) -> Stranger:
        found = self._strangers.get(id_)
        if found is None or found.never or id_ in self._foreign:
            raise StrangerNotFound(f"there is no stranger {id_!r}, or no longer")
        return found

    def _asked(self) -> list[Stranger]:
        return [each for each in self._strangers.values() if not each.never and each.id not in self._foreign]

    # -- what is seen -------------------------------------------------------------------------------------------

    def keep(self, sighting: Sighting, fresh: Sequence[Fresh]) -> str | None:
        """Take in a sighting; the stranger's id, or None where there is nothing to keep.

        Parameters
        ----------
        fresh : sequence of Fresh
            Of its shots what can be used; none only tells that somebody is still there.

        Raises
        ------
        StorageError
        """
        with self._held():
            known = {picture.id for each in self._strangers.values() for picture in each.pictures}
            jpegs = {photo_id(each.jpeg): each for each in fresh}
            pictures = {
                id_: Picture(id_, each.time, sighting.camera, round(each.quality, 3), sighting.visit, each.vector)
                for id_, each in jpegs.items() if id_ not in known
            }  # fmt: skip
            groups = self._groups()
            changed = groups.add(list(pictures), np.array([each.vector for each in pictures.values()]))
            before = self._of_visit(sighting.visit, jpegs)
            homes = Counter(groups.of(id_) for id_ in (*before, *pictures))
            if not homes:
                return None
            home = homes.most_common(1)[0][0]
            # a visit is one person's: a picture that is like others' is no good one
            strays = [id_ for id_ in pictures if groups.of(id_) != home]
            changed |= groups.remove(strays) | {home}
            pictures = {id_: each for id_, each in pictures.items() if id_ not in strays}
            made = self._regrouped(groups, changed, pictures)
            if made[home].never:
                self.counts["never"] += 1
            made[home] = self._visited(made[home], self._strangers.get(home), sighting)
            left = {each.id for stranger in made.values() if not stranger.never for each in stranger.pictures}
            for id_ in left & pictures.keys():
                _write(self._picture_file(id_), _picture_purpose(id_), jpegs[id_].jpeg, self._vault)
                self.counts["kept"] += 1
            self._save(made)
            self._bound(keep=home)
            return home

    def _of_visit(self, visit: str, pictures: Collection[str]) -> list[str]:
        """Ids of what is kept of a visit, or is the same picture."""
        return [
            each.id for stranger in self._strangers.values() if stranger.id not in self._foreign
            for each in stranger.pictures if each.visit == visit or each.id in pictures
        ]  # fmt: skip

    def _visited(self, stranger: Stranger, before: Stranger | None, sighting: Sighting) -> Stranger:
        """The stranger after a visit, or more of one."""
        if stranger.never:
            return replace(stranger, last_seen=max(stranger.last_seen, sighting.last))
        again = 0
        if before is not None:
            same = before.at.get(sighting.camera, float("-inf")) >= sighting.first - SAME_VISIT
            again = not same and all(each.visit != sighting.visit for each in before.pictures)
        return replace(
            stranger, sightings=stranger.sightings + again, first_seen=min(stranger.first_seen, sighting.first),
            last_seen=max(stranger.last_seen, sighting.last),
            at={**stranger.at, sighting.camera: max(stranger.at.get(sighting.camera, 0.0), sighting.last)},
        )  # fmt: skip

    def forget_visit(self, visit: str) -> None:
        """Erase what was kept of a visit: it turned out who that is."""
        with self._held():
            for stranger in self._asked():
                left = tuple(each for each in stranger.pictures if each.visit != visit)
                if len(left) == len(stranger.pictures):
                    continue
                if left:
                    self._save({stranger.id: replace(stranger, pictures=left, sightings=max(1, stranger.sightings - 1))})
                else:
                    self._save({}, [stranger.id])

    def forget_recognised(self, match: Callable[[np.ndarray], Sequence[Match]]) -> int:
        """Erase everybody who is enrolled by now, as most of their templates say; how many they were."""
        with self._held():
            gone = []
            for stranger in self._strangers.values():
                if stranger.id in self._foreign:
                    continue
                names = Counter(found.subject for found in match(np.array([each.vector for each in stranger.pictures])))
                names.pop(None, None)
                if names and 2 * max(names.values()) > len(stranger.pictures):
                    gone.append(stranger.id)
            self._save({}, gone)
            self.counts["recognised"] += len(gone)
            return len(gone)

    def renew(self, describe: Callable[[bytes], np.ndarray | None]) -> None:
        """Make templates of another engine anew, from the pictures; whoever has none that serves is forgotten."""
        with self._held():
            foreign = list(self._foreign)
        for id_ in foreign:
            with self._held():
                stranger = self._strangers.get(id_)
                if stranger is None or id_ not in self._foreign:
                    continue
                pictures = []
                for each in () if stranger.never else stranger.pictures:
                    with suppress(OSError, SealBroken, KeyMissing):
                        vector = describe(self._jpeg(each.id))
                        if vector is not None:
                            pictures.append(replace(each, vector=vector))
                if pictures:
                    self._save({id_: replace(stranger, pictures=tuple(pictures))})
                else:
                    self._save({}, [id_])

    # -- what people say ----------------------------------------------------------------------------------------

    def join(self, id_: str, other: str) -> Stranger:
        """Two are one person, who keeps the id `id_`; grouping does not part them again.

        Raises
        ------
        StrangerNotFound, InvalidParameter, StorageError
        """
        if id_ == other:
            raise InvalidParameter("other: expected another stranger")
        with self._held():
            self._get(id_), self._get(other)
            groups = self._groups()
            self._save(self._regrouped(groups, groups.join(id_, other), {}))
            return self._get(id_)

    def split(self, id_: str, pictures: Collection[str]) -> Stranger:
        """Some of a stranger's pictures are somebody else, who is returned; grouping does not join the two again.

        Raises
        ------
        StrangerNotFound, PictureNotFound, InvalidParameter, StorageError
        """
        with self._held():
            old = self._get(id_)
            own, wanted = {each.id for each in old.pictures}, set(pictures)
            if wanted - own:
                raise PictureNotFound(f"the stranger has no picture {sorted(wanted - own)[0]!r}")
            if not wanted or wanted == own:
                raise InvalidParameter("pictures: expected some of the stranger's pictures, and not all of them")
            groups = self._groups()
            new = groups.split(wanted)
            made = self._regrouped(groups, {id_, new, *old.apart}, {})
            both = {each.visit for each in made[id_].pictures} & {each.visit for each in made[new].pictures}
            left = max(1, old.sightings - made[new].sightings + len(both))
            self._save({**made, id_: replace(made[id_], sightings=left)})
            return self._strangers[new]

    def dismiss(self, id_: str, never: bool = False) -> None:
        """Forget a stranger; with `never`, keep the templates, so that they are not asked about again.

        Raises
        ------
        StrangerNotFound, StorageError
        """
        with self._held():
            stranger = self._get(id_)
            if never:
                self._save({id_: _silenced(stranger)})
                self._bound(keep=id_)
            else:
                self._save({}, [id_])

    def remove(self, id_: str) -> None:
        """Forget a stranger, if there still is one of that id."""
        with self._held():
            self._save({}, [id_] if id_ in self._strangers else [])

    def purge(self) -> int:
        """Forget whoever was not seen for too long, and erase what was left over; how many strangers went."""
        edge = self._now() - self.bounds.days * _DAY
        with self._held(), _disk():
            old = [each.id for each in self._strangers.values() if each.last_seen < edge]
            self._save({}, old)
            self.counts["purged"] += len(old)
            for file in self.folder.glob("*.json"):
                if file.stem not in self._strangers and file.stat().st_mtime < edge:  # cannot be read
                    file.unlink()
            listed = {each.id for stranger in self._strangers.values() for each in stranger.pictures if not stranger.never}
            for file in (self.folder / PICTURES).iterdir():
                if file.stem not in listed and file.stat().st_mtime < time.time() - _LEFTOVER:
                    file.unlink()
            return len(old)

    # -- grouping -----------------------------------------------------------------------------------------------

    def _groups(self) -> Groups:
        kept = {
            each.id: Group({p.id: p.vector for p in each.pictures}, each.fixed or each.never, each.apart)
            for each in self._strangers.values() if each.id not in self._foreign
        }  # fmt: skip
        limit = self._limit(sum(len(group.faces) for group in kept.values()))
        return Groups(limit, kept, lambda: secrets.token_hex(5))

    def _regrouped(self, groups: Groups, changed: Iterable[str], fresh: Mapping[str, Picture]) -> dict[str, Stranger]:
        """The strangers that these groups are now; those of `changed` that are no more give what they were to their heirs."""
        pictures = {each.id: each for stranger in self._strangers.values() for each in stranger.pictures} | dict(fresh)
        heirs: dict[str, list[Stranger]] = {}
        for id_ in changed:
            if id_ not in groups and id_ in self._strangers:
                gone = self._strangers[id_]
                heir = Counter(groups.of(each.id) for each in gone.pictures).most_common(1)[0][0]
                heirs.setdefault(heir, []).append(gone)
        made = {}
        for id_ in {each for each in changed if each in groups} | heirs.keys():
            group = groups.groups([id_])[id_]
            own = sorted((pictures[key] for key in group.faces), key=lambda each: -each.quality)
            origins = [*([self._strangers[id_]] if id_ in self._strangers else []), *heirs.get(id_, [])]
            made[id_] = self._merged(id_, origins, own, fresh, group)
        return made

    def _merged(self, id_, origins: list[Stranger], own: list[Picture], fresh: Mapping, group: Group) -> Stranger:
        never = any(each.never for each in origins)
        if never:  # of whom nothing new is kept
            own = [each for each in own if each.id not in fresh]
        if len(own) > self.bounds.pictures:
            self.counts["dropped_pictures"] += len(own) - self.bounds.pictures
            own = own[: self.bounds.pictures]
        if origins:
            at: dict[str | None, float] = {}
            for each in origins:
                for camera, when in each.at.items():
                    at[camera] = max(when, at.get(camera, 0.0))
            sightings = sum(each.sightings for each in origins)
            first, last = min(each.first_seen for each in origins), max(each.last_seen for each in origins)
        else:
            at = {}
            for each in own:
                at[each.camera] = max(each.time, at.get(each.camera, 0.0))
            sightings = len({each.visit for each in own})
            first, last = min(each.time for each in own), max(each.time for each in own)
        made = Stranger(id_, sightings, first, last, at, tuple(own), False, group.fixed, group.apart)
        return _silenced(made) if never else made

    def _bound(self, keep: str) -> None:
        """Drop whoever was not seen for the longest where they are too many; `keep` stays."""
        for never, most in ((False, self.bounds.strangers), (True, self.bounds.never)):
            held = sorted((each for each in self._strangers.values() if each.never == never), key=lambda each: each.last_seen)
            gone = [each.id for each in held if each.id != keep][: max(0, len(held) - most)]
            self._save({}, gone)
            self.counts["dropped_strangers"] += len(gone)

    # -- the disk -----------------------------------------------------------------------------------------------

    @contextmanager
    def _held(self) -> Iterator[None]:
        """The lock, and what is on the disk read."""
        with self._lock, _disk(), _alone(self._file_lock):
            self._look()
            yield

    def _look(self) -> None:
        """Read what changed since the last look."""
        stamps = {}
        for entry in os.scandir(self.folder):
            if entry.name.endswith(".json"):
                status = entry.stat()
                stamps[entry.name[:-5]] = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamps == self._stamps:
            return
        for id_ in self._strangers.keys() - stamps.keys():
            self._strangers.pop(id_)
            self._foreign.discard(id_)
        for id_, stamp in stamps.items():
            if self._stamps.get(id_) != stamp:
                self._read_one(id_)
        self._stamps = stamps
        owner: dict[str, str] = {}
        for id_ in sorted(self._strangers, key=lambda id_: stamps[id_], reverse=True):
            # a joining was interrupted: what was written last holds
            held = self._strangers[id_]
            own = tuple(each for each in held.pictures if owner.setdefault(each.id, id_) == id_)
            if not own:
                del self._strangers[id_]
            elif len(own) < len(held.pictures):
                self._strangers[id_] = replace(held, pictures=own)

    def _read_one(self, id_: str) -> None:
        self._foreign.discard(id_)
        try:
            kept = json.loads(_read(self._file(id_), _note_purpose(id_), self._vault))
            self._strangers[id_] = _stranger(id_, kept)
            if kept["engine"] != self._engine:
                self._foreign.add(id_)
        except (OSError, ValueError, KeyError, TypeError, SealBroken, KeyMissing) as error:
            self._strangers.pop(id_, None)
            log.warning("a stranger cannot be read (%s)", type(error).__name__)

    def _save(self, made: Mapping[str, Stranger], gone: Iterable[str] = ()) -> None:
        """Write these strangers, erase those that are `gone` or have no picture of their own any more."""
        claimed = {each.id for stranger in made.values() for each in stranger.pictures}
        gone = set(gone) | {id_ for id_, each in self._strangers.items()
                            if id_ not in made and each.pictures and all(p.id in claimed for p in each.pictures)}  # fmt: skip
        before = {each.id for id_ in (*made, *gone) if id_ in self._strangers for each in self._strangers[id_].pictures}
        for id_, stranger in made.items():
            path = self._file(id_)
            _write(path, _note_purpose(id_), json.dumps(_plain(stranger, self._engine)).encode(), self._vault)
            status = path.stat()
            self._stamps[id_] = (status.st_mtime_ns, status.st_size, status.st_ino)
            self._strangers[id_] = stranger
            self._foreign.discard(id_)
        for id_ in gone:
            self._file(id_).unlink(missing_ok=True)
            self._strangers.pop(id_, None)
            self._stamps.pop(id_, None)
            self._foreign.discard(id_)
        if gone:
            sync_folder(self.folder)
        listed = {each.id for stranger in self._strangers.values() if not stranger.never for each in stranger.pictures}
        for picture in before - listed:
            self._picture_file(picture).unlink(missing_ok=True)

    def _file(self, id_: str) -> Path:
        return self.folder / f"{id_}.json"

    def _jpeg(self, picture: str) -> bytes:
        return _read(self._picture_file(picture), _picture_purpose(picture), self._vault)

    def _picture_file(self, picture: str) -> Path:
        return self.folder / PICTURES / f"{picture}.jpg"


def _silenced(stranger: Stranger) -> Stranger:
    """Somebody not to be asked about: their templates, and when they were last seen."""
    pictures = tuple(replace(each, time=0.0, camera=None, visit="") for each in stranger.pictures)
    last = stranger.last_seen
    return replace(stranger, sightings=0, first_seen=last, at={}, pictures=pictures, never=True)


# -- as bytes ---------------------------------------------------------------------------------------------------------


def _plain(stranger: Stranger, engine: str) -> dict:
    return {
        "engine": engine, "sightings": stranger.sightings, "first_seen": stranger.first_seen,
        "last_seen": stranger.last_seen, "at": list(stranger.at.items()), "never": stranger.never, "fixed": stranger.fixed,
        "apart": sorted(stranger.apart),
        "pictures": [
            {
                "id": each.id, "time": each.time, "camera": each.camera, "quality": each.quality, "visit": each.visit,
                "template": base64.b64encode(np.ascontiguousarray(each.vector, "<f4").tobytes()).decode(),
            }
            for each in stranger.pictures
        ],
    }  # fmt: skip


def _stranger(id_: str, kept: Mapping) -> Stranger:
    pictures = tuple(
        Picture(
            each["id"], each["time"], each["camera"], each["quality"], each["visit"],
            np.frombuffer(base64.b64decode(each["template"]), "<f4"),
        )
        for each in kept["pictures"]
    )  # fmt: skip
    if not pictures:
        raise ValueError("expected pictures")
    return Stranger(
        id_, kept["sightings"], kept["first_seen"], kept["last_seen"], dict(map(tuple, kept["at"])), pictures,
        kept["never"], kept["fixed"], frozenset(kept["apart"]),
    )  # fmt: skip


def _note_purpose(id_: str) -> str:
    """What an encrypted file of a stranger is for."""
    return f"stranger {id_}"


def _picture_purpose(picture: str) -> str:
    return f"picture of a stranger {picture}"


def _read(path: Path, purpose: str, vault: Vault | None) -> bytes:
    data = path.read_bytes()
    if vault is None and is_sealed(data):
        raise SealBroken("what is kept of a stranger is encrypted, and there is no key")
    return data if vault is None else vault.open_or_plain(data, purpose)


def _write(path: Path, purpose: str, data: bytes, vault: Vault | None) -> None:
    write_durably(path, data if vault is None else vault.seal(data, purpose))


# -- all of it ----------------------------------------------------------------------------------------------------------


def sealable(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file that is encrypted where there is a key, and what it is for."""
    for file in sorted(folder.glob("*.json")):
        yield file, _note_purpose(file.stem)
    for file in sorted((folder / PICTURES).glob("*.jpg")):
        yield file, _picture_purpose(file.stem)


@contextmanager
def still(folder: Path) -> Iterator[None]:
    """Nobody changes any stranger inside.

    Raises
    ------
    StorageError
    """
    from filelock import FileLock

    if not folder.is_dir():
        yield
        return
    with _alone(FileLock(folder / _LOCK, timeout=_LOCK_SECONDS)):
        yield


@contextmanager
def _alone(lock) -> Iterator[None]:
    """No other process is inside."""
    from filelock import Timeout

    try:
        with lock:
            yield
    except Timeout:
        raise StorageError("the strangers are in use by another process") from None


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"the strangers cannot be kept: {(error.strerror or type(error).__name__).lower()}") from error
