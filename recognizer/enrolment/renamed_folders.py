"""Recognises folders that were renamed by hand, by the photos in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

#: Called with the old and the new name of a person whose folder was renamed, while the lock of every write is held.
RenameReporter = Callable[[str, str], object]

#: A photo, and which face of it enrols somebody; see `encodings.Encoding.face`. One photo may enrol several people by their
#: faces.
PhotoOf = tuple[str, str]


def renamed(gone: Iterable[tuple[str, PhotoOf]], there: Iterable[tuple[str, PhotoOf]]) -> dict[str, str]:
    """Find out which of the people whose folders are gone are somebody else in the folder now.

    A person goes on under another name if all of the person's photos, with the same faces, are in one other folder. If they
    are in several, it is the one with nothing else in it; if there is no single one, nothing is concluded.

    Parameters
    ----------
    gone : iterable of (str, PhotoOf)
        The photos of people whose folders are gone, each with the name.
    there : iterable of (str, PhotoOf)
        Those of all people who have a folder.

    Returns
    -------
    dict
        Old name -> new name.
    """
    before: dict[str, set[PhotoOf]] = defaultdict(set)
    for name, photo in gone:
        before[name].add(photo)
    wanted = set().union(*before.values())
    now: dict[str, set[PhotoOf]] = defaultdict(set)
    more: set[str] = set()  # people with other photos as well
    for name, photo in there:
        if photo in wanted:
            now[name].add(photo)
        else:
            more.add(name)
    found = {}
    for old, photos in before.items():
        holders = [name for name, theirs in now.items() if photos <= theirs]
        same = [name for name in holders if name not in more and now[name] == photos]
        for candidates in (same, holders):
            if len(candidates) == 1:
                found[old] = candidates[0]
                break
            if candidates:
                break
    return found
