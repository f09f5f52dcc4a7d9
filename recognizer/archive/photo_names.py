"""Names that photo programs wrote into photos become names of groups, and names of groups are written for photo programs.

A region is about the face of the index that it covers. Where a photo has an orientation, both readings of its regions are
tried, and the one that covers more faces is taken: programs disagree, see `photo_regions`. A region that covers no face is left
out, as after a photo was cropped.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recognizer.archive import decisions, exiftool
from recognizer.archive.archive_file import ArchiveFile
from recognizer.archive.archive_model import ArchiveFace, ArchivePhoto, real_path, shown_path
from recognizer.archive.photo_index import FaceKey
from recognizer.archive.photo_regions import NamedRegion, mwg_info, overlap, picasa_regions, regions_of, upright_boxes
from recognizer.core.errors import InvalidName, StorageError
from recognizer.core.names import normalise

#: Least intersection over union of a region and the box of a face; programs frame a face, a head, or head and shoulders.
LEAST_OVERLAP = 0.2
PICASA = ".picasa.ini"
#: Largest `.picasa.ini` that is read, in bytes.
_MOST_INI = 10_000_000

Progress = Callable[[int, int], None]


@dataclass
class ImportedNames:
    """What the names in photos' metadata came to.

    Attributes
    ----------
    photos, regions : int
        Photos with named regions, and these regions.
    matched : int
        Regions that cover a face of the index.
    unmatched : list of (str, str)
        File and name of the regions that cover none.
    names : Counter
        Faces by name.
    named : int
        Groups that are given a name.
    moved : int
        Faces that are moved to the group of their name.
    conflicts : list of (int, str, str)
        Groups that a person named differently: id, that name, and the name in the photos. They stay as they are.
    refused : list of str
        Names that are not allowed.
    """

    photos: int = 0
    regions: int = 0
    matched: int = 0
    unmatched: list[tuple[str, str]] = field(default_factory=list)
    names: Counter[str] = field(default_factory=Counter)
    named: int = 0
    moved: int = 0
    conflicts: list[tuple[int, str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def sidecars(photo: Path) -> list[Path]:
    """The sidecars of a photo that are there, by both habits: ``photo.jpg.xmp`` and ``photo.xmp``."""
    names = (photo.name + ".xmp", photo.name + ".XMP", photo.stem + ".xmp", photo.stem + ".XMP")
    return [path for name in dict.fromkeys(names) if (path := photo.with_name(name)).is_file()]


def import_names(file: ArchiveFile, progress: Progress = lambda *_: None, *, dry_run: bool = False) -> ImportedNames:
    """Name groups by the names in the metadata of their photos.

    Parameters
    ----------
    dry_run : bool
        Change nothing, and report what would be done.

    Raises
    ------
    ExifToolMissing, StorageError
    """
    report = ImportedNames()
    found: dict[FaceKey, str] = {}
    photos = _files(file)
    progress(0, len(photos))
    for start in range(0, len(photos), 100):
        part = photos[start : start + 100]
        for id_, path, regions, orientation in _read(part):
            photo = file.photo(id_)
            if photo is None:
                continue
            report.photos += 1
            report.regions += len(regions)
            pairs, rest = match_regions(regions, file.faces_on(photo.id), photo, orientation)
            report.matched += len(pairs)
            report.unmatched += [(shown_path(str(path)), each.name) for each in rest]
            for key, name in pairs:
                try:
                    found.setdefault(key, normalise(name))
                except InvalidName:
                    report.refused.append(name)
        progress(start + len(part), len(photos))
    report.names.update(found.values())
    _name_groups(file, found, report, dry_run)
    return report


def match_regions(
    regions: Sequence[NamedRegion], faces: Sequence[ArchiveFace], photo: ArchivePhoto, orientation: int
) -> tuple[list[tuple[FaceKey, str]], list[NamedRegion]]:
    """The face that each region covers, with its name, and the regions that cover none.

    The regions of one source are read in one way, the one in which they cover faces best.
    """
    width, height = photo.width or 1, photo.height or 1
    pairs: list[tuple[FaceKey, str]] = []
    rest: list[NamedRegion] = []
    for source in dict.fromkeys(each.source for each in regions):
        own = [each for each in regions if each.source == source]
        readings = [_covered([upright_boxes(each, orientation, width, height)[way] for each in own], faces) for way in (0, -1)]
        best = max(readings, key=lambda covered: sum(share for _, share in covered.values()))  # of equal ones the first
        pairs += [(best[number][0], each.name) for number, each in enumerate(own) if number in best]
        rest += [each for number, each in enumerate(own) if number not in best]
    taken = {key for key, _ in pairs}
    return list(dict(reversed(pairs)).items()) if len(taken) < len(pairs) else pairs, rest


def _covered(boxes: Sequence[Any], faces: Sequence[ArchiveFace]) -> dict[int, tuple[FaceKey, float]]:
    """Number of each box that covers a face -> the face and the overlap; each face is covered by one box, the best first."""
    shares = sorted(
        ((overlap(tuple(box), tuple(face.box)), number, face.key) for number, box in enumerate(boxes) for face in faces),
        key=lambda each: -each[0],
    )
    found: dict[int, tuple[FaceKey, float]] = {}
    for share, number, key in shares:
        if share >= LEAST_OVERLAP and number not in found and key not in {each for each, _ in found.values()}:
            found[number] = key, share
    return found


def _files(file: ArchiveFile) -> list[tuple[str, Path]]:
    """Id and path of every photo of the folders that are there. Regions are for photos: a video would need times."""
    videos = file.videos()
    return [
        (each.photo, Path(folder.path, real_path(each.path)))
        for folder in file.folders()
        if folder.state == "present"
        for each in file.files(folder.id).values()
        if each.photo is not None and each.problem is None and each.photo not in videos
    ]


def _read(part: Sequence[tuple[str, Path]]) -> list[tuple[str, Path, list[NamedRegion], int]]:
    """The photos that have named regions, in the file, in sidecars or for Picasa: id, path, regions, orientation."""
    extra = {path: sidecars(path) for _, path in part}
    read = dict(exiftool.read([each for _, path in part for each in (path, *extra[path])]))
    inis: dict[Path, dict[str, list[NamedRegion]]] = {}
    found = []
    for id_, path in part:
        if path.parent not in inis:
            inis[path.parent] = _picasa(path.parent / PICASA)
        regions: list[NamedRegion] = []
        for each in (path, *extra[path]):
            for region in regions_of(read.get(each, {})):
                if not any(region.name == other.name and overlap(region.box, other.box) > 0.6 for other in regions):
                    regions.append(region)
        regions += inis[path.parent].get(path.name, [])
        if regions:
            found.append((id_, path, regions, _orientation(read.get(path, {}))))
    return found


def _picasa(ini: Path) -> dict[str, list[NamedRegion]]:
    try:
        if not ini.is_file() or ini.stat().st_size > _MOST_INI:
            return {}
        return picasa_regions(ini.read_text("utf-8", errors="replace"))
    except OSError:
        return {}


def _name_groups(file: ArchiveFile, found: Mapping[FaceKey, str], report: ImportedNames, dry_run: bool) -> None:
    people = file.people()
    votes: dict[int, Counter[str]] = defaultdict(Counter)
    places = {key: file.place_of(key)[0] for key in found}
    for key, name in found.items():
        group = places[key]
        if group is not None:
            votes[group][name] += 1
    chosen: dict[int, str] = {}
    for group, names in votes.items():
        person, (name, _) = people[group], names.most_common(1)[0]
        if person.decided and person.subject and person.subject not in names:
            report.conflicts.append((group, person.subject, name))
            continue
        chosen[group] = person.subject if person.decided and person.subject else name
        report.named += not (person.decided and person.subject == chosen[group])
    strays = [key for key, name in found.items() if places[key] is None or chosen.get(places[key] or 0, name) != name]
    report.moved = len(strays)
    if dry_run:
        return
    for group, name in chosen.items():
        if people[group].subject != name or not people[group].decided:
            decisions.name_person(file, group, name)
    for key in strays:
        named = file.named(found[key])
        moved = decisions.move(file, [key], named[0] if named else None)
        if not named:
            decisions.name_person(file, moved.id, found[key])


# -- writing ----------------------------------------------------------------------------------------------------------


@dataclass
class ExportedNames:
    """What was written: files, names in them, files that had all of it, and files that could not be written with the reason."""

    written: list[str] = field(default_factory=list)
    names: int = 0
    unchanged: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def export_names(
    file: ArchiveFile,
    progress: Progress = lambda *_: None,
    *,
    into_files: bool = False,
    short_sidecars: bool = False,
    only_decided: bool = False,
    dry_run: bool = False,
) -> ExportedNames:
    """Write the names of groups as regions of the Metadata Working Group.

    Parameters
    ----------
    into_files : bool
        Into the photos themselves; otherwise into sidecars.
    short_sidecars : bool
        A new sidecar is ``photo.xmp`` instead of ``photo.jpg.xmp``. One that is there is used, whatever its name.
    only_decided : bool
        Only names that people gave or accepted, not those that were recognised.
    dry_run : bool
        Write nothing, and report what would be written.

    Raises
    ------
    ExifToolMissing, StorageError
    """
    report = ExportedNames()
    people = {id_: each for id_, each in file.people().items() if each.subject and (each.decided or not only_decided)}
    photos = [(id_, path) for id_, path in _files(file)]
    wanted = []
    for id_, path in photos:
        named = [(people[each.person].subject or "", each.box) for each in file.faces_on(id_) if each.person in people]
        if named:
            wanted.append((id_, path, named))
    progress(0, len(wanted))
    for done, (id_, path, named) in enumerate(wanted, 1):
        photo = file.photo(id_)
        there = sidecars(path)
        default = path.with_name((path.stem if short_sidecars else path.name) + ".xmp")
        target = path if into_files else there[0] if there else default
        try:
            read = dict(exiftool.read([path, *([target] if target != path and target.exists() else [])]))
            own, held = read.get(path, {}), read.get(target, read.get(path, {}))
            orientation = _orientation(own)
            before = held.get("RegionInfo")
            info = mwg_info(named, orientation, (photo and photo.width) or 1, (photo and photo.height) or 1, before)
            if before == info:
                report.unchanged += 1
            else:
                if not dry_run:
                    exiftool.write_regions(target, info, sorted({name for name, _ in named}))
                report.written.append(shown_path(str(target)))
                report.names += len(named)
        except StorageError as error:
            report.failed.append((shown_path(str(target)), error.message))
        progress(done, len(wanted))
    return report


def _orientation(fields: Mapping[str, Any]) -> int:
    value = fields.get("Orientation")
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
