"""Named faces in photos' own metadata, as photo programs write them, and as boxes of the upright photo.

Read are the regions of the Metadata Working Group (`mwg-rs`: digiKam, Lightroom, Picasa, PhotoPrism, Apple's and others'), the
people tags of Microsoft (`MP`), the image regions of IPTC (`Iptc4xmpExt`), and Picasa's `.picasa.ini`. Their values come from
ExifTool as plain data; see `exiftool`.

Programs disagree on what a photo with an EXIF orientation is: the Metadata Working Group's guidelines (version 2.0, section
5.9) apply regions to the stored image, and most programs do so; some write them for the upright photo, and some turn the photo
later and leave the regions or their `AppliedToDimensions` as they were. So every region can be had in both ways
(`upright_boxes`), and whoever knows where the faces are decides which is meant (`photo_names`).
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recognizer.core.types import Box

#: MWG's kinds of regions that show a person; a region without a kind may show one.
_FACES = ("Face", "", None)
#: What programs write for a face that has no name.
_NAMELESS = ("", "unknown", "unknown person", "?", "ignored", "unbekannt", "personne inconnue")
_RECT64 = re.compile(r"rect64\(([0-9a-fA-F]{1,16})\),\s*([0-9a-fA-F]+)")


@dataclass(frozen=True, slots=True)
class NamedRegion:
    """A region of a photo with the name of a person.

    Attributes
    ----------
    name : str
    box : tuple of float
        left, top, right, bottom as shares of the image's width and height, 0 to 1.
    source : str
        Where it was found: ``mwg``, ``microsoft``, ``iptc`` or ``picasa``.
    upright : bool
        Whether it is about the upright photo by its format's definition; otherwise about the stored one.
    """

    name: str
    box: tuple[float, float, float, float]
    source: str
    upright: bool = False


def regions_of(fields: Mapping[str, Any]) -> list[NamedRegion]:
    """The named regions in what ExifTool read of a file or sidecar with ``-struct -n``. Those without a name are left out.

    A person who is tagged in several formats at the same place is given once.
    """
    found = [*_mwg(fields.get("RegionInfo")), *_microsoft(fields.get("RegionInfoMP")), *_iptc(fields)]
    kept: list[NamedRegion] = []
    for each in found:
        if not any(each.name == other.name and overlap(each.box, other.box) > 0.6 for other in kept):
            kept.append(each)
    return kept


def _mwg(info: Any) -> Iterable[NamedRegion]:
    """Regions of the Metadata Working Group: a centre and a size, as shares or in pixels of `AppliedToDimensions`."""
    if not isinstance(info, Mapping):
        return
    applied = info.get("AppliedToDimensions") or {}
    for region in _list(info.get("RegionList")):
        area, name = region.get("Area") or {}, text_of(region.get("Name"))
        if not _is_name(name) or region.get("Type") not in _FACES:
            continue
        try:
            x, y = float(area["X"]), float(area["Y"])
            width, height = (
                (2 * float(area["D"]),) * 2 if "D" in area and "W" not in area else (float(area["W"]), float(area["H"]))
            )
            if str(area.get("Unit", "normalized")).lower() == "pixel":
                across, down = float(applied["W"]), float(applied["H"])
                x, y, width, height = x / across, y / down, width / across, height / down
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
        box = _box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        if box is not None:
            yield NamedRegion(name, box, "mwg")


def _microsoft(info: Any) -> Iterable[NamedRegion]:
    """People tags of Microsoft: left, top, width, height."""
    if not isinstance(info, Mapping):
        return
    for region in _list(info.get("Regions")):
        name = text_of(region.get("PersonDisplayName"))
        parts = str(region.get("Rectangle", "")).replace(" ", "").split(",")
        if not _is_name(name) or len(parts) != 4:
            continue
        try:
            left, top, width, height = map(float, parts)
        except ValueError:
            continue
        box = _box(left, top, left + width, top + height)
        if box is not None:
            yield NamedRegion(name, box, "microsoft")


def _iptc(fields: Mapping[str, Any]) -> Iterable[NamedRegion]:
    """Image regions of IPTC (Photo Metadata Standard 2019.1): rectangles and circles, as shares or in pixels."""
    for region in _list(fields.get("ImageRegion")):
        boundary = region.get("RegionBoundary") or {}
        persons = [text_of(each) for each in _list(region.get("PersonInImage"), whole=True)]
        name = next(filter(_is_name, persons), None) or text_of(region.get("Name") or region.get("RegionName"))
        if not _is_name(name):
            continue
        try:
            x, y = float(boundary["RbX"]), float(boundary["RbY"])
            if "RbRx" in boundary:
                reach = float(boundary["RbRx"])
                x, y, width, height = x - reach, y - reach, 2 * reach, 2 * reach
            else:
                width, height = float(boundary["RbW"]), float(boundary["RbH"])
            if str(boundary.get("RbUnit", "relative")).lower() == "pixel":
                across, down = float(fields["ImageWidth"]), float(fields["ImageHeight"])
                x, y, width, height = x / across, y / down, width / across, height / down
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
        box = _box(x, y, x + width, y + height)
        if box is not None:
            yield NamedRegion(name, box, "iptc")


def picasa_regions(ini: str) -> dict[str, list[NamedRegion]]:
    """The named regions of a `.picasa.ini`: name of each photo's file -> its regions, about the upright photo.

    Faces are `rect64(H),C`: H has left, top, right and bottom as 16 bits each, without leading zeros; C is a key of the section
    `Contacts2` or `Contacts`. `ffffffffffffffff` stands for a face without a name.
    """
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys are contacts' ids and keep their case
    try:
        parser.read_string(ini.lstrip("\ufeff"))
    except configparser.Error:
        return {}
    contacts: dict[str, str] = {}
    for section in ("Contacts", "Contacts2"):
        if parser.has_section(section):
            for key, value in parser.items(section):
                contacts[key.lower()] = (value or "").split(";")[0].strip()
    found: dict[str, list[NamedRegion]] = {}
    for section in parser.sections():
        regions = []
        for digits, contact in _RECT64.findall(parser.get(section, "faces", fallback="")):
            whole = digits.rjust(16, "0")
            left, top, right, bottom = (int(whole[at : at + 4], 16) / 65535 for at in range(0, 16, 4))
            name, box = contacts.get(contact.lower(), ""), _box(left, top, right, bottom)
            if _is_name(name) and box is not None:
                regions.append(NamedRegion(name, box, "picasa", upright=True))
        if regions:
            found[section] = regions
    return found


def upright_boxes(region: NamedRegion, orientation: int, width: int, height: int) -> list[Box]:
    """Where a region may be on the upright photo, in its pixels: as its format defines it first, then the other way.

    Parameters
    ----------
    region : NamedRegion
    orientation : int
        Of EXIF, 1 to 8.
    width, height : int
        Of the upright photo.
    """
    as_it_is, turned = region.box, turned_box(region.box, orientation)
    both = [as_it_is] if orientation == 1 else [as_it_is, turned] if region.upright else [turned, as_it_is]
    return [Box(left * width, top * height, right * width, bottom * height) for left, top, right, bottom in both]


def turned_box(box: Sequence[float], orientation: int) -> tuple[float, float, float, float]:
    """A box of the stored photo, in shares, on the upright one."""
    corners = [_TURNS.get(orientation, _TURNS[1])(x, y) for x, y in ((box[0], box[1]), (box[2], box[3]))]
    (x, y), (other_x, other_y) = corners
    return min(x, other_x), min(y, other_y), max(x, other_x), max(y, other_y)


#: Where a point of the stored photo is on the upright one, by EXIF orientation.
_TURNS = {
    1: lambda x, y: (x, y),
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}
#: The orientation that undoes one.
_BACK = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}


def stored_box(box: Box, orientation: int, width: int, height: int) -> tuple[float, float, float, float]:
    """A box in pixels of the upright photo as shares of the stored one; the inverse of `turned_box`."""
    return turned_box((box.left / width, box.top / height, box.right / width, box.bottom / height), _BACK[orientation])


def mwg_info(named: Iterable[tuple[str, Box]], orientation: int, width: int, height: int, before: Any = None) -> dict[str, Any]:
    """The regions of the Metadata Working Group for a photo, as ExifTool takes them.

    Parameters
    ----------
    named : iterable of (str, Box)
        Name and place of each face, in pixels of the upright photo.
    orientation : int
        Of EXIF.
    width, height : int
        Of the upright photo.
    before : mapping, optional
        The regions that the file has. Those of other places and kinds stay as they are, with fields that this program does not
        know; one at a face's place is given its name.
    """
    regions = [dict(region) for region in _list((before or {}).get("RegionList"))]
    for name, box in named:
        left, top, right, bottom = stored_box(box, orientation, width, height)
        area = {
            "X": round((left + right) / 2, 6),
            "Y": round((top + bottom) / 2, 6),
            "W": round(right - left, 6),
            "H": round(bottom - top, 6),
            "Unit": "normalized",
        }
        same = next((each for each in regions if _is_at(each, (left, top, right, bottom))), None)
        if same is None:
            regions.append({"Area": area, "Name": name, "Type": "Face"})
        else:
            same.update(Name=name, Type="Face")
    turned = orientation >= 5
    dimensions = {"W": height if turned else width, "H": width if turned else height, "Unit": "pixel"}
    return {"AppliedToDimensions": (before or {}).get("AppliedToDimensions") or dimensions, "RegionList": regions}


def _is_at(region: Mapping[str, Any], box: tuple[float, float, float, float]) -> bool:
    """Whether a region of the Metadata Working Group is at this place of the stored photo."""
    area = region.get("Area") or {}
    try:
        x, y, width, height = (float(area[name]) for name in ("X", "Y", "W", "H"))
    except (KeyError, TypeError, ValueError):
        return False
    there = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return region.get("Type") in _FACES and overlap(there, box) > 0.3


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    across = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    down = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    whole = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - across * down
    return across * down / whole if whole > 0 else 0.0


def text_of(value: Any) -> str:
    """A text, or the default of one in several languages."""
    if isinstance(value, Mapping):
        value = value.get("x-default") or next(iter(value.values()), "")
    if isinstance(value, (list, tuple)):
        value = value[0] if value else ""
    return "" if value is None else str(value).strip()


def _is_name(name: str) -> bool:
    return name.lower() not in _NAMELESS


def _list(value: Any, whole: bool = False) -> list[Any]:
    """The items of a list that ExifTool may give as its one item; only structures, unless `whole`."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    return items if whole else [each for each in items if isinstance(each, Mapping)]


def _box(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float] | None:
    """The part of a box that is inside the image; None if there is none."""
    box = max(0.0, left), max(0.0, top), min(1.0, right), min(1.0, bottom)
    return box if box[2] - box[0] > 1e-4 and box[3] - box[1] > 1e-4 else None
