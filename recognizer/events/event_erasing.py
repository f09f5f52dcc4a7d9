"""Deletion from the event log: old files and old events of unknown people, and everything about a person who is erased."""

from __future__ import annotations

import json
import logging
import math
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recognizer.core.errors import KeyMissing, SealBroken
from recognizer.core.vault import Vault
from recognizer.events import event_links
from recognizer.events.event_files import (
    event_of_picture,
    first_ids,
    lines_file,
    picture_file,
    pictures_folder,
    refused,
    scene_file,
    seconds,
    thumbnail_url,
)
from recognizer.events.event_sealing import decoded_lines, readable_events, replace_lines

log = logging.getLogger("recognizer.events")

_DAY = 86_400.0
_REQUEST = ".forget"
#: Seconds by which the beginning of a visit may differ where it is written to the millisecond.
_SAME_MOMENT = 0.002
#: Seconds around a stay in which a scene may show the person, too, and in which its events may begin.
_AROUND = 2.0
#: The purpose of encrypted requests to another process.
_ERASURE = "event erasure"


@dataclass(frozen=True, slots=True)
class Retention:
    """How many events are stored, and for how long.

    Attributes
    ----------
    max_bytes : int
        Maximum size of all lines. Thumbnails, of 3 to 10 kB each, are not included.
    max_days : float
        A file is deleted when its newest line is older than this.
    file_bytes : int
        Size at which a new file is started; one is also started each day.
    max_files : int
    unknown_days : float or None
        Age at which events of people without a name are deleted, whatever else is in their file.
    """

    max_bytes: int = 16_000_000
    max_days: float = 30.0
    file_bytes: int = 1_000_000
    max_files: int = 400
    unknown_days: float | None = None


class EventEraser:
    """Deletes from the files of a log that this process writes. Not safe to use from several threads.

    Before a method is called, no file may be open for appending. A damaged line of a file that is rewritten is deleted, with
    every picture that no event refers to: nobody can tell whose they are. Every method may raise OSError.

    Parameters
    ----------
    folder : Path
    retention : Retention
    now : callable
        Seconds since 1970.
    vault : Vault, optional

    Attributes
    ----------
    damaged : int
        How many damaged lines were deleted.
    """

    def __init__(self, folder: Path, retention: Retention, now: Callable[[], float], vault: Vault | None = None):
        self._folder, self._rules, self._now, self._vault = folder, retention, now, vault
        self._unknown_since: dict[int, float] = {}  # by file: no event of an unknown person is older
        self.damaged = 0

    # -- retention ----------------------------------------------------------------------------------------------

    def purge_files(self) -> int:
        """Delete the oldest files that exceed the limits, never the newest; how many events were in them."""
        files, rules, purged = first_ids(self._folder), self._rules, 0
        sizes = {begin: lines_file(self._folder, begin).stat().st_size for begin in files}
        while len(files) > 1:
            oldest, following = files[0], files[1]
            too_much = len(files) > rules.max_files or sum(sizes.values()) > rules.max_bytes
            if not too_much and not self.is_expired(oldest):
                break
            lines_file(self._folder, oldest).unlink(missing_ok=True)
            shutil.rmtree(pictures_folder(self._folder, oldest), ignore_errors=True)
            purged += following - oldest
            files.pop(0)
            del sizes[oldest]
        return purged

    def is_expired(self, begin: int) -> bool:
        """Whether a file's newest line is older than events are stored."""
        return self._now() - lines_file(self._folder, begin).stat().st_mtime > self._rules.max_days * _DAY

    def files_to_purge(self) -> list[int]:
        """The files that may hold events of unknown people that are too old: only these have to be read."""
        days = self._rules.unknown_days
        if days is None or days >= self._rules.max_days:
            return []
        files, edge = first_ids(self._folder), self._unknown_edge()
        self._unknown_since = {begin: since for begin, since in self._unknown_since.items() if begin in set(files)}
        return [begin for begin in files if self._unknown_since.get(begin, -math.inf) < edge]

    def purge_unknown(self, files: Sequence[int]) -> int:
        """Delete old events of people without a name from these files; how many."""
        edge, purged, newest = self._unknown_edge(), 0, max(first_ids(self._folder), default=0)
        for begin in files:
            events, damaged = self._readable(begin)
            gone = {each["id"] for each in events if _is_unknown(each) and seconds(each.get("time")) < edge}
            if gone:
                self._forget_scenes(gone)  # they show these people, too
                events, damaged = self._readable(begin)
                events = [each for each in events if each["id"] not in gone]
                self._rewrite(begin, events, damaged, self._pictures(begin, gone))
                purged += len(gone)
            times = [seconds(each.get("time")) for each in events if _is_unknown(each)]
            # what is appended to the newest file later is not older than this moment
            self._unknown_since[begin] = min(times, default=self._now() if begin == newest else math.inf)
        return purged

    def _unknown_edge(self) -> float:
        return self._now() - (self._rules.unknown_days or 0.0) * _DAY

    # -- people -------------------------------------------------------------------------------------------------

    def erase(self, subject: str, also: Iterable[int] = ()) -> int:
        """Remove a person's name, pictures and looks from all events about them; how many events were changed.

        The pictures of scenes at which the person was present go first, also those of other people's events: once the name is
        gone, nobody can tell any more when that was.

        Parameters
        ----------
        also : iterable of int
            Ids of further events that are about the person.
        """
        theirs = event_links.about(subject, self._every_event(), also)

        def anonymised(event: dict) -> bool:
            held = event.get("subject") is not None or event.get("thumbnail") is not None or "attributes" in event
            if event["id"] not in theirs or not held:
                return False
            event.update(subject=None, thumbnail=None)
            event.pop("attributes", None)
            return True

        self._forget_scenes(theirs)
        return self._change(anonymised, self._pictures)

    def _forget_scenes(self, theirs: set[int]) -> None:
        """Delete the picture of every scene at which the people of some events were present."""
        every = list(self._every_event())
        if not any("scene" in event for event in every):
            return
        stays = event_links.stays(theirs, every)

        def shown(event: dict) -> bool:
            if "scene" not in event:
                return False
            time = seconds(event.get("time"))
            near = (begin - _AROUND <= time <= end + _AROUND for begin, end in stays.get(event["camera"], ()))
            if event["id"] not in theirs and not any(near):
                return False
            del event["scene"]
            event.pop("scene_faces", None)
            return True

        self._change(shown, lambda begin, numbers: [scene_file(self._folder, begin, number) for number in numbers])

    def _pictures(self, begin: int, numbers: Iterable[int]) -> list[Path]:
        """Every picture of some events of a file."""
        return [path(self._folder, begin, number) for number in numbers for path in (picture_file, scene_file)]

    def rename(self, old: str, new: str) -> int:
        """Replace a person's name in all events; how many events were changed."""

        def renamed(event: dict) -> bool:
            if event.get("subject") != old:
                return False
            event["subject"] = new
            return True

        return self._change(renamed)

    def name_unknown(self, subject: str, visits: Iterable[str]) -> int:
        """Give a name to the events of an unknown person who was identified later; how many events were changed.

        Parameters
        ----------
        visits : iterable of str
            See `Sighting.visit`: camera, track, and since when, in seconds since 1970.
        """
        wanted: dict[tuple[str, str], list[float]] = {}
        for visit in visits:
            camera, _, rest = visit.partition("/")
            track, _, since = rest.partition("/")
            with suppress(ValueError):
                wanted.setdefault((camera, track), []).append(float(since))

        def named(event: dict) -> bool:
            if not _is_unknown(event) or "since" not in event:
                return False
            since = seconds(event["since"])
            if all(abs(since - each) > _SAME_MOMENT for each in wanted.get((event["camera"], str(event.get("track"))), ())):
                return False
            event["subject"] = subject
            return True

        return self._change(named)

    def correct(self, camera: str, begin: float, end: float, old: str, new: str | None) -> int:
        """Replace a wrong name in the events of one stay at a camera; how many events were changed.

        Parameters
        ----------
        camera : str
        begin, end : float
            When the person was first and last seen, in seconds since 1970.
        old : str
        new : str or None
            None for somebody unknown.
        """

        def corrected(event: dict) -> bool:
            if event.get("subject") != old or event["camera"] != camera:
                return False
            if not begin - _AROUND <= seconds(event.get("since") or event.get("time")) <= end + _AROUND:
                return False
            event["subject"] = new
            return True

        return self._change(corrected)

    def _every_event(self) -> Iterator[dict]:
        for begin in first_ids(self._folder):
            with suppress(OSError):  # `_change` raises it, when the other files are changed
                yield from (event for event in decoded_lines(lines_file(self._folder, begin), self._vault) if event is not None)

    def _change(
        self, changes: Callable[[dict], bool], pictures: Callable[[int, Iterable[int]], Iterable[Path]] = lambda *_: ()
    ) -> int:
        """Change events in place; `changes` returns whether it changed an event. `pictures` says which files go with those: of
        the file of events, and their ids.

        A file that cannot be read or written does not keep the others from being changed.
        """
        count, failure = 0, None
        for begin in reversed(first_ids(self._folder)):
            try:
                events, damaged = self._readable(begin)
                changed = {event["id"] for event in events if changes(event)}
                if changed or damaged:
                    self._rewrite(begin, events, damaged, pictures(begin, changed))
                count += len(changed)
            except OSError as error:
                failure = error
        if failure is not None:
            raise failure
        return count

    def _readable(self, begin: int) -> tuple[list[dict], int]:
        return readable_events(lines_file(self._folder, begin), self._vault)

    def _rewrite(self, begin: int, events: Sequence[dict], damaged: int, pictures: Iterable[Path]) -> None:
        """Replace a file's events. Pictures are deleted first: after a crash, the lines still show that this is not done."""
        gone = set(pictures)
        if damaged:
            kept = {(event["id"], False) for event in events if event.get("thumbnail") == thumbnail_url(event["id"])}
            kept |= {(event["id"], True) for event in events if "scene" in event}
            there = pictures_folder(self._folder, begin).glob("*")
            gone |= {each for each in there if event_of_picture(each) not in kept}
        for picture in gone:
            picture.unlink(missing_ok=True)
        replace_lines(lines_file(self._folder, begin), events, self._vault)
        if damaged:
            self.damaged += damaged
            log.warning("%d damaged lines of the event log were deleted, with their pictures", damaged)


def _is_unknown(event: dict) -> bool:
    """Whether an event is about a person without a name."""
    return event.get("subject") is None and event.get("kind") in ("unknown", "left", "appeared", "entered")


# -- requests to the process that writes ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventRequest:
    """A request to the process that writes events: to erase a person or, with `to`, to rename one.

    Attributes
    ----------
    file : Path
        Where it is stored, until it is fulfilled.
    """

    file: Path
    subject: str
    to: str | None = None


def leave_request(folder: Path, subject: str, to: str | None = None, vault: Vault | None = None) -> None:
    """Ask the process that writes events to erase a person, or to rename one; it looks for requests several times a second.

    Raises
    ------
    StorageError
    """
    part = folder / f"{time.time_ns():020}-{secrets.token_hex(4)}.part"  # requests are fulfilled in this order
    try:
        data = json.dumps({"subject": subject} if to is None else {"subject": subject, "to": to}).encode()
        part.write_bytes(data if vault is None else vault.seal(data, _ERASURE))
        part.rename(part.with_suffix(_REQUEST))
    except OSError as error:
        raise refused(error) from error


def open_requests(folder: Path, vault: Vault | None = None) -> list[EventRequest]:
    """The requests that are to be fulfilled, oldest first. A damaged one is deleted: nobody can tell what it was for."""
    found = []
    for file in sorted(folder.glob(f"*{_REQUEST}")):
        try:
            data = file.read_bytes()
            asked = json.loads(data if vault is None else vault.open_or_plain(data, _ERASURE))
            found.append(EventRequest(file, str(asked["subject"]), asked.get("to")))
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SealBroken):
            log.warning("a damaged request to erase somebody from the events was deleted")
            with suppress(OSError):
                file.unlink(missing_ok=True)
        except (OSError, KeyMissing) as error:
            log.warning("a request to erase somebody from the events cannot be read: %s", error)
    return found
