"""Real photos that the tests rely on: fetched from the package index, trusted for their hash, kept in the user's cache.

They are face_recognition's own test pictures (public figures), its own test file, and scikit-image's astronaut (NASA).
None of them is part of this project. ``TEST_PHOTOS_DIR`` names another folder to keep them in.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from recognizer.weights.manifest import Asset, fetch_assets

_FACE_RECOGNITION = "face_recognition-1.3.0"
_SCIKIT_IMAGE = "scikit_image-0.25.2-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"


def _own(name: str, size: int, sha256: str, folder: str = "tests/test_images") -> Asset:
    """A file of face_recognition's source distribution."""
    return Asset(
        key=name,
        file=name,
        size=size,
        sha256=sha256,
        what="from face_recognition's tests",
        licence="not stated",
        project="face_recognition",
        package=_FACE_RECOGNITION + ".tar.gz",
        member=f"{_FACE_RECOGNITION}/{folder}/{name}",
    )


PHOTOS: dict[str, Asset] = {
    asset.key: asset
    for asset in (
        _own("32bit.png", 887_446, "44dca895a7d635a4aedddd91a4f37af9a8a5b44e66154282a24645a757b5f627"),
        _own("biden.jpg", 353_723, "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c"),
        _own("obama.jpg", 279_922, "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6"),
        _own("obama2.jpg", 184_455, "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6"),
        _own("obama3.jpg", 595_944, "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3"),
        _own("obama_partial_face.jpg", 423_060, "c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117"),
        _own("obama_partial_face2.jpg", 478_346, "9a812347f97633542b8cd9992de22def11b74f79d82056bc3ee830f13878e028"),
        _own(
            "test_face_recognition.py",
            15_215,
            "391b7f08f1ce356d8c7f675d474b8c44aa8e1e636cc4032ed414615d18765c39",
            folder="tests",
        ),
        Asset(
            key="astronaut.png",
            file="astronaut.png",
            size=791_555,
            sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
            what="Eileen Collins, NASA",
            licence="public domain",
            project="scikit-image",
            package=_SCIKIT_IMAGE,
            member="skimage/data/astronaut.png",
        ),
    )
}


def folder() -> Path:
    """Where the photos are kept."""
    default = platformdirs.user_cache_path("recognizer", appauthor=False) / "test-photos"
    return Path(os.environ.get("TEST_PHOTOS_DIR") or default)


def fetch_photos(*names: str) -> dict[str, Path]:
    """The photos of these names, or all of them; name -> path."""
    wanted = [PHOTOS[name] for name in names] or list(PHOTOS.values())
    return dict(zip((asset.key for asset in wanted), fetch_assets(wanted, folder()), strict=True))
