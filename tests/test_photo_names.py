"""Names in photos' metadata: regions as programs write them, what they mean on a turned photo, and writing them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from recognizer.archive import photo_names
from recognizer.archive.archive_model import ArchivePhoto
from recognizer.archive.photo_index import FaceKey
from recognizer.archive.photo_regions import (
    mwg_info,
    picasa_regions,
    regions_of,
    stored_box,
    turned_box,
    upright_boxes,
)
from recognizer.core.types import Box
from recognizer.photos import images

from .e2e import pictures
from .test_archive import face, filled, names
from .test_cli import Home

needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="ExifTool is not installed (Debian: libimage-exiftool-perl)"
)


def area(x: float, y: float, w: float, h: float, **more) -> dict:
    return {"X": x, "Y": y, "W": w, "H": h, "Unit": "normalized", **more}


MWG = {
    "RegionInfo": {
        "AppliedToDimensions": {"W": 840, "H": 700, "Unit": "pixel"},
        "RegionList": [
            {"Area": area(0.5, 0.4, 0.2, 0.2), "Name": "Ada Lovelace", "Type": "Face"},
            {"Area": area(0.5, 0.4, 0.2, 0.2), "Name": "Rex", "Type": "Pet"},
            {"Area": area(0.1, 0.1, 0.1, 0.1), "Name": "", "Type": "Face"},
            {"Area": {"X": 84, "Y": 70, "W": 84, "H": 70, "Unit": "pixel"}, "Name": "Bob", "Type": "Face"},
            {"Area": {"X": 0.5}, "Name": "Nowhere", "Type": "Face"},
        ],
    }
}


def shown(regions) -> list[tuple[str, str, tuple]]:
    return [(each.source, each.name, tuple(round(edge, 3) for edge in each.box)) for each in regions]


@pytest.mark.parametrize(
    "fields, expected",
    [
        (MWG, [("mwg", "Ada Lovelace", (0.4, 0.3, 0.6, 0.5)), ("mwg", "Bob", (0.05, 0.05, 0.15, 0.15))]),
        (
            {"RegionInfo": {"RegionList": {"Area": area(0.5, 0.5, 0.2, 0.2), "Name": {"x-default": "Zoë", "de": "Z"}}}},
            [("mwg", "Zoë", (0.4, 0.4, 0.6, 0.6))],
        ),
        (
            {
                "RegionInfoMP": {
                    "Regions": [{"PersonDisplayName": "Ada", "Rectangle": "0.25, 0.5, 0.25, 0.125"}, {"Rectangle": "0"}]
                }
            },
            [("microsoft", "Ada", (0.25, 0.5, 0.5, 0.625))],
        ),
        (
            {
                "ImageWidth": 200,
                "ImageHeight": 100,
                "ImageRegion": [
                    {
                        "RegionBoundary": {
                            "RbShape": "rectangle",
                            "RbUnit": "pixel",
                            "RbX": 20,
                            "RbY": 10,
                            "RbW": 40,
                            "RbH": 20,
                        },
                        "PersonInImage": ["Ada"],
                    },
                    {
                        "RegionBoundary": {"RbShape": "circle", "RbUnit": "relative", "RbX": 0.5, "RbY": 0.5, "RbRx": 0.1},
                        "Name": {"en": "Bob"},
                    },
                ],
            },
            [("iptc", "Ada", (0.1, 0.1, 0.3, 0.3)), ("iptc", "Bob", (0.4, 0.4, 0.6, 0.6))],
        ),
        ({"RegionInfo": "none", "RegionInfoMP": 3, "ImageRegion": {"RegionBoundary": None}}, []),
        (
            {**MWG, "RegionInfoMP": {"Regions": [{"PersonDisplayName": "Ada Lovelace", "Rectangle": "0.4, 0.3, 0.2, 0.2"}]}},
            [("mwg", "Ada Lovelace", (0.4, 0.3, 0.6, 0.5)), ("mwg", "Bob", (0.05, 0.05, 0.15, 0.15))],
        ),
    ],
    ids=["mwg", "one-item-languages", "microsoft", "iptc", "broken", "the-same-twice"],
)
def test_regions_as_programs_write_them(fields, expected):
    assert shown(regions_of(fields)) == expected


def test_picasa():
    ini = (
        "\ufeff[Picasa]\nname=x\n[Contacts2]\n7fb8d5c04d8bb3ae=Ada Lovelace;;\n"
        "[a.jpg]\nfaces=rect64(3f845bcb59418507),7fb8d5c04d8bb3ae;rect64(1),ffffffffffffffff\nrotate=rotate(1)\n"
        "[b.jpg]\nfaces=rect64(ccc0ccc33331999),7FB8D5C04D8BB3AE\n[c.jpg]\nstar=yes\n"
    )
    found = picasa_regions(ini)
    assert {name: shown(each) for name, each in found.items()} == {
        "a.jpg": [("picasa", "Ada Lovelace", (0.248, 0.359, 0.349, 0.52))],
        "b.jpg": [("picasa", "Ada Lovelace", (0.05, 0.05, 0.2, 0.1))],
    }
    assert picasa_regions("no ini at all") == {} and picasa_regions("[x\n=") == {}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_the_photo_and_back(orientation):
    stored = np.zeros((60, 100, 3), np.uint8)
    stored[6:18, 20:50] = 255
    turned = images.upright(stored, orientation)
    rows, columns = np.nonzero(turned[..., 0])
    height, width = turned.shape[:2]
    there = (columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height)
    assert turned_box((0.2, 0.1, 0.5, 0.3), orientation) == pytest.approx(there)
    box = Box(there[0] * width, there[1] * height, there[2] * width, there[3] * height)
    assert stored_box(box, orientation, width, height) == pytest.approx((0.2, 0.1, 0.5, 0.3))


def test_the_reading_that_covers_faces_is_taken():
    photo = ArchivePhoto("a", "e", 100, 200, faces=2)
    there = [face("a", 0, [0]), face("a", 1, [1])]  # at 0..8 and 10..18 pixels from the left, 0..8 from the top
    for orientation in (1, 3, 6, 8):
        for written_upright in (False, True):
            info = {"RegionList": []}
            for each, name in zip(there, ("Ada", "Bob"), strict=True):
                info = mwg_info([(name, each.box)], 1 if written_upright else orientation, 100, 200, info)
            pairs, rest = photo_names.match_regions(regions_of({"RegionInfo": info}), there, photo, orientation)
            assert pairs == [(FaceKey("a", 0), "Ada"), (FaceKey("a", 1), "Bob")] and not rest
    away = regions_of({"RegionInfo": mwg_info([("Eve", Box(60, 100, 70, 110))], 1, 100, 200)})
    pairs, rest = photo_names.match_regions(away, there, photo, 6)
    assert not pairs and [each.name for each in rest] == ["Eve"]
    assert len(upright_boxes(away[0], 1, 100, 200)) == 1


def test_writing_keeps_what_is_there():
    before = MWG["RegionInfo"]
    info = mwg_info([("Countess", Box(38, 31, 61, 49)), ("New", Box(80, 80, 90, 90))], 1, 100, 100, before)
    assert [each["Name"] for each in info["RegionList"]] == ["Countess", "Rex", "", "Bob", "Nowhere", "New"]
    assert info["RegionList"][0]["Area"] == before["RegionList"][0]["Area"] and info["AppliedToDimensions"]["W"] == 840
    assert before["RegionList"][0]["Name"] == "Ada Lovelace"
    assert mwg_info([("A", Box(0, 0, 10, 20))], 6, 100, 200)["AppliedToDimensions"] == {"W": 200, "H": 100, "Unit": "pixel"}


@pytest.fixture(scope="module")
def home(tmp_path_factory, models_dir, photos) -> Home:
    root = tmp_path_factory.mktemp("names")
    made = Home(root, models_dir)
    made.known.mkdir()
    shortened = {"obama": "obama.jpg", "obama2": "obama2.jpg", "obama3": "obama3.jpg", "biden": "biden.jpg"}
    small = {short: pictures.smaller(photos[name].read_bytes(), 400) for short, name in shortened.items()}
    small["collins"] = pictures.smaller(photos["astronaut.png"].read_bytes(), 400)
    made.album = filled(made, small)
    made.json("archive", "add", made.album)
    return made


def exiftool(*args) -> None:
    subprocess.run(["exiftool", "-q", "-overwrite_original", *map(str, args)], check=True, timeout=60)


@pytest.mark.slow
@needs_exiftool
def test_names_are_written_beside_photos_and_read_back(home, tmp_path):
    copy = tmp_path / "other"
    shutil.copytree(home.album, copy)
    found = home.json("archive", "search", "--photo", home.album / "obama.jpg", "--limit", "10")
    group = found["faces"][0]["group_id"]
    assert group is not None and len(found["faces"]) == 3
    from recognizer.archive import decisions
    from recognizer.archive.archive_file import ARCHIVE_FILE, ArchiveFile

    index = ArchiveFile(Path(home.environ["RECOGNIZER_STATE_DIR"]) / ARCHIVE_FILE)
    decisions.name_person(index, group, "Barack Zoë Obama")
    index.close()
    stamps = {path: path.stat().st_mtime_ns for path in home.album.rglob("*.jpg")}
    contents = {path: path.read_bytes() for path in stamps}
    exiftool("-XMP-dc:Title=Kept", "-o", home.album / "both.xmp", home.album / "both.jpg")
    dry = home.json("archive", "export-names", "--dry-run")
    assert len(dry["written"]) == 4 and not (home.album / "obama.jpg.xmp").exists()
    done = home.json("archive", "export-names")
    assert sorted(Path(each).name for each in done["written"]) == [
        "both.xmp",
        "copy.jpg.xmp",
        "obama.jpg.xmp",
        "obama2.jpg.xmp",
    ]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert {path: path.read_bytes() for path in stamps} == contents
    assert "Kept" in (home.album / "both.xmp").read_text()
    assert home.json("archive", "export-names")["unchanged"] == 4

    other = Home(tmp_path / "second", Path(home.environ["RECOGNIZER_MODELS_DIR"]))
    other.known.mkdir(parents=True)
    for sidecar in home.album.rglob("*.xmp"):
        shutil.copy(sidecar, copy / sidecar.relative_to(home.album))
    other.json("archive", "add", copy)
    dry = other.json("archive", "import-names")
    assert (dry["regions"], dry["matched"], dry["named"], dry["applied"]) == (4, 4, 1, False)
    assert other.json("archive", "list")["status"]["named"] == 0
    other.json("archive", "import-names", "--apply")
    assert sorted(names(other.json("archive", "search", "--person", "Barack Zoë Obama"))) == [
        "both.jpg",
        "obama.jpg",
        "obama2.jpg",
    ]

    into = other.json("archive", "export-names", "--into-files")
    assert len(into["written"]) == 4
    kept = json.loads(subprocess.check_output(["exiftool", "-j", "-DateTimeOriginal", copy / "obama.jpg"]))[0]
    assert kept["DateTimeOriginal"] == "2020:05:06 07:08:09"
    assert os.stat(copy / "obama.jpg").st_mtime_ns // 10**9 == stamps[home.album / "obama.jpg"] // 10**9
    assert (
        pictures.load((copy / "obama.jpg").read_bytes()).tobytes()
        == pictures.load(contents[home.album / "obama.jpg"]).tobytes()
    )


def test_without_exiftool_that_is_said(home, monkeypatch):
    monkeypatch.setattr("recognizer.archive.exiftool.shutil.which", lambda name: None)
    assert home.json("archive", "import-names", code=1)["error"]["code"] == "exif_tool_missing"
