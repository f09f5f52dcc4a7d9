"""Names for the groups of an archive. An archive has thousands of groups, and a name that is wrong spoils everything that is
done with it: so the chance of a wrong name is one of the whole archive, not of one stranger.

A group's distance from an enrolled person is the mean, over its faces, of the distance of the nearest template, or the median
where that is larger: in a group that mixes two people, one of them must not name the other. The distance of a group of
strangers varies less than that of one of their faces, because what differs from picture to picture averages out, while what two
people have in common stays. With a correlation r between the distances of two faces of one group from somebody else, the
variance of the mean of m faces is (1 + (m - 1) r) / m of that of one face (Spearman 1910, Brown 1910; the "design effect" of
cluster samples). The tail of a normal distribution then falls as a power of that of one face:

    rate of a group at a distance = (rate of a face at this distance) ** (m / (1 + (m - 1) r))

A name is given where the expected number of wrong names, over all groups and all templates, is at most `WRONG_NAMES`, and no
other person is nearly as near; what is only likely is a suggestion. benchmarks/archive_names.py measures both, and r.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from recognizer.archive.archive_file import ArchiveFile
from recognizer.archive.archive_model import ArchivePerson
from recognizer.galleries import matching
from recognizer.galleries.clustering import nothing_lowered
from recognizer.galleries.contract import Gallery
from recognizer.galleries.thresholds import Curve

#: Correlation of the distances of two faces of one group from somebody else, on LFW's development view.
CORRELATION = 0.76
#: Faces of a group beyond which more of them are no further evidence.
MOST_EVIDENCE = 8
#: Expected number of wrong names in an archive whose groups all show strangers, if the stranger rate is at its default, and the
#: same for suggestions. A higher or lower stranger rate raises or lowers both in proportion.
WRONG_NAMES, WRONG_SUGGESTIONS = 0.015, 5.0
DEFAULT_STRANGER_RATE = 0.01
#: A suggestion is never less certain than this rate of one stranger's group.
MOST_LIKELY_RATE = 0.02
#: Faces of a group with which candidates are looked for, and how many candidates are compared with all of them.
_LOOKED_UP, _CANDIDATES = 12, 4


@dataclass(frozen=True, slots=True)
class GroupMatch:
    """Whom a group may show.

    Attributes
    ----------
    subject : str
    distance : float
        Mean or median distance of the group's faces from the nearest template, whichever is larger; more where strangers are
        expected to be near.
    rate : float
        Probability that a group of strangers is given any name at this distance.
    margin : float
        How much further the next person is; infinite if there is none.
    """

    subject: str
    distance: float
    rate: float
    margin: float


def evidence(faces: int, correlation: float = CORRELATION) -> float:
    """The exponent by which several faces of one group count more than one; 1 for one face."""
    counted = min(faces, MOST_EVIDENCE)
    return counted / (1 + (counted - 1) * correlation)


def match_group(
    vectors: np.ndarray,
    search: Callable[[np.ndarray, int], Sequence[Sequence]],
    templates: Callable[[str], np.ndarray],
    total: int,
    curve: Curve,
    refused: frozenset[str] = frozenset(),
    lowered: Callable[[np.ndarray], np.ndarray] = nothing_lowered,
) -> GroupMatch | None:
    """The enrolled person who is nearest to a group.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
        Templates of the group's faces, best pictures first.
    search : callable
        Probes (m, d) and k -> the k nearest subjects of each, as `Candidate`s.
    templates : callable
        Subject -> templates (t, d).
    total : int
        Number of templates that were searched.
    curve : Curve
        Of the engine.
    refused : frozenset of str
        Names that are out of the question.
    lowered : callable
        By how much the threshold of each vector is lowered, (m, d) -> (m,); see `engines.crowding`. The group's distance is
        raised by the mean instead.
    """
    votes: Counter[str] = Counter()
    for candidates in search(vectors[:_LOOKED_UP], _CANDIDATES + len(refused)):
        for rank, each in enumerate(candidates):
            votes[each.subject] += _CANDIDATES - min(rank, _CANDIDATES - 1)
    ranked = [subject for subject, _ in votes.most_common(_CANDIDATES + len(refused)) if subject not in refused]
    found = sorted((_group_distance(vectors, templates(subject)), subject) for subject in ranked)
    if not found:
        return None
    distance, subject = found[0]
    margin = found[1][0] - distance if len(found) > 1 else float("inf")
    distance += float(lowered(vectors).mean())
    exponent = evidence(len(vectors))
    rate = min(1.0, total * float(np.exp(exponent * min(0.0, curve.log_rate(distance)))))
    return GroupMatch(subject, distance, rate, margin)


def _group_distance(vectors: np.ndarray, templates: np.ndarray) -> float:
    """The larger of mean and median, over the rows of `vectors`, of the distance of the nearest template."""
    if not len(templates):
        return float("inf")
    nearest = np.min([matching.distances(template, vectors) for template in templates], axis=0)
    return float(max(nearest.mean(), np.median(nearest)))


def limits(groups: int, stranger_rate: float | None) -> tuple[float, float]:
    """The largest rates of a group for a name and for a suggestion, where so many groups are compared.

    Parameters
    ----------
    groups : int
    stranger_rate : float or None
        As the settings have it; None for a fixed threshold, which has none.
    """
    factor = (DEFAULT_STRANGER_RATE if stranger_rate is None else stranger_rate) / DEFAULT_STRANGER_RATE
    name = factor * WRONG_NAMES / max(1, groups)
    return min(name, DEFAULT_STRANGER_RATE * factor), min(
        MOST_LIKELY_RATE, max(name, factor * WRONG_SUGGESTIONS / max(1, groups))
    )


def names_of(
    members: Mapping[int, np.ndarray],
    gallery: Gallery,
    curve: Curve,
    stranger_rate: float | None,
    lowered: Callable[[np.ndarray], np.ndarray] = nothing_lowered,
) -> dict[int, str]:
    """The names of the groups that show enrolled people.

    Parameters
    ----------
    members : mapping
        Id of each group -> templates of its faces, float32 (n, d).
    lowered : callable
        See `match_group`.
    """
    total = len(gallery)
    if not total:
        return {}
    templates = _templates_of(gallery)
    name_limit, likely_limit = limits(len(members), stranger_rate)
    found = {}
    for id_, vectors in members.items():
        match = match_group(vectors, gallery.search, templates, total, curve, lowered=lowered)
        person = decided(ArchivePerson(id_), match, name_limit, likely_limit, curve)
        if person.subject is not None:
            found[id_] = person.subject
    return found


def _templates_of(gallery: Gallery) -> Callable[[str], np.ndarray]:
    """Subject -> templates (t, d), each looked up once."""
    held: dict[str, np.ndarray] = {}

    def templates(subject: str) -> np.ndarray:
        if subject not in held:
            held[subject] = np.array([each.embedding.vector for each in gallery.templates(subject)], np.float32)
        return held[subject]

    return templates


def recognise_groups(
    file: ArchiveFile,
    engine: str,
    gallery: Gallery,
    curve: Curve,
    stranger_rate: float | None,
    lowered: Callable[[np.ndarray], np.ndarray] = nothing_lowered,
    changing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> int:
    """Recognise enrolled people in the groups that no person named, and store names and suggestions; see `match_group`.

    Returns how many groups have a recognised name now. Names that people gave or refused are not touched. A group that was
    changed meanwhile stays as it is, and nobody's name is stored who was erased or renamed meanwhile; the next update has both.

    Parameters
    ----------
    changing : callable
        Within what it returns nobody is enrolled, renamed or erased, and `gallery` knows of all earlier changes, also those of
        other processes.
    """
    people = file.people()
    total = len(gallery)
    members: dict[int, list[tuple[float, np.ndarray]]] = defaultdict(list)
    for face in file.all_faces(engine):
        if face.person in people and face.remarks is None:
            members[face.person].append((face.quality, face.vector))
    templates = _templates_of(gallery)
    name_limit, likely_limit = limits(len(members), stranger_rate)
    made: dict[int, ArchivePerson] = {}
    for id_, person in people.items():
        if person.decided:
            continue
        match = None
        if total and members.get(id_):
            best = sorted(members[id_], key=lambda each: -each[0])
            vectors = np.array([vector for _, vector in best], np.float32)
            match = match_group(vectors, gallery.search, templates, total, curve, refused_for(person, people), lowered)
        made[id_] = decided(person, match, name_limit, likely_limit, curve)
    for id_, after in made.items():
        rivals = [made[other] for other in after.apart if other in made]
        if any(_name(each) == _name(after) and (doubt(each), each.id) < (doubt(after), id_) for each in rivals):
            made[id_] = replace(after, subject=None, rate=None, likely=None, likely_rate=None)
    changed = [after for id_, after in made.items() if after != people[id_]]
    if changed:
        with changing(), file.change():
            now, there = file.people(), {name for name in map(_name, changed) if name is not None and gallery.templates(name)}
            same = (each for each in changed if now.get(each.id) == people[each.id])
            file.put_people([each for each in same if _name(each) is None or _name(each) in there])
    return sum(each.subject is not None and not each.decided for each in file.people().values())


def refused_for(person: ArchivePerson, people: Mapping[int, ArchivePerson]) -> frozenset[str]:
    """The names that a group cannot get: refused ones, and those that people gave to groups which show somebody else."""
    others = (people[other] for other in person.apart if other in people)
    return person.refused | {each.subject for each in others if each.decided and each.subject}


def _name(person: ArchivePerson) -> str | None:
    return person.subject or person.likely


def doubt(person: ArchivePerson) -> float:
    """How uncertain the name or suggestion of a group is: the rate of strangers' groups that get one; 0 if a person gave it."""
    if person.decided:
        return 0.0
    rate = person.rate if person.subject is not None else person.likely_rate
    return 1.0 if rate is None else rate


def decided(
    person: ArchivePerson, match: GroupMatch | None, name_limit: float, likely_limit: float, curve: Curve
) -> ArchivePerson:
    """The group with the name or the suggestion that its match deserves."""
    none = replace(person, subject=None, rate=None, likely=None, likely_rate=None)
    if match is None or match.rate > likely_limit:
        return none
    if match.rate <= name_limit and match.margin >= matching.AMBIGUOUS_SHARE * curve.distance(1e-3):
        return replace(none, subject=match.subject, rate=match.rate)
    return replace(none, likely=match.subject, likely_rate=match.rate)
