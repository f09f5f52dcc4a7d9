"""`recognizer.open`: recognising, verifying and enrolling from Python, with real photos and weights."""

from __future__ import annotations

import builtins
import io
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import recognizer
from recognizer.core.errors import (
    AddressRefused,
    LooksLikeAnother,
    NoFace,
    SettingsError,
    SubjectNotFound,
    UnreadableImage,
    UnsupportedImage,
)
from recognizer.http import replies
from recognizer.photos import images

from .commands import engines_made_once


@pytest.fixture(scope="module", autouse=True)
def engines():
    with engines_made_once():
        yield


@pytest.fixture
def people(tmp_path, models_dir):
    with recognizer.open(tmp_path / "known", state_dir=tmp_path / "state", models_dir=models_dir) as opened:
        yield opened


@pytest.fixture
def presidents(people, photos):
    people.enroll("Barack Obama", photos["obama.jpg"])
    people.enroll("Joe Biden", photos["biden.jpg"])
    return people


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def subjects(faces) -> list[str | None]:
    return [face.subject for face in faces]


def test_nobody_is_enrolled(people, photos):
    assert len(people) == 0 and list(people) == [] and people.problems() == []
    (face,) = people.recognize(photos["obama.jpg"])
    assert face.subject is None and face.distance is None and face.candidates == ()
    assert face.box.width > 100 and face.score > 0.6


@pytest.mark.slow
def test_paths_bytes_and_arrays_say_the_same(presidents, photos):
    path = photos["obama2.jpg"]
    given = {
        "str": str(path),
        "path": path,
        "bytes": path.read_bytes(),
        "bytearray": bytearray(path.read_bytes()),
        "array": pixels(path),
        "reversed twice": pixels(path)[:, ::-1][:, ::-1],
        "file": io.BytesIO(path.read_bytes()),
        "PIL": Image.open(path),
    }
    for kind, photo in given.items():
        (face,) = presidents.recognize(photo, top_k=2)
        assert face.subject == "Barack Obama", kind
        assert [each.subject for each in face.candidates] == ["Barack Obama", "Joe Biden"], kind
        assert face.distance == face.candidates[0].distance < 1


def test_pil_images_are_turned_upright_and_put_on_white(presidents, photos):
    with Image.open(photos["obama2.jpg"]) as photo:
        lying = photo.convert("RGB").rotate(90, expand=True)  # 90 degrees anticlockwise: orientation 6 undoes it
        lying.getexif()[0x0112] = 6
        clear = photo.convert("RGBA")
        clear.putalpha(Image.new("L", clear.size, 255))
    assert subjects(presidents.recognize(lying)) == subjects(presidents.recognize(clear)) == ["Barack Obama"]
    assert images.from_pillow(Image.new("RGBA", (2, 2), (255, 0, 0, 0))).pixels.tolist() == [[[255] * 3] * 2] * 2


def test_a_file_in_text_mode_or_something_else_is_refused(people, tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with (tmp_path / "a.txt").open() as file, pytest.raises(TypeError, match="binary mode"):
        people.recognize(file)
    with pytest.raises(TypeError, match="expected a path"):
        people.recognize(3)


def test_results_become_plain_data_as_over_http(presidents, photos):
    (face,) = presidents.recognize(photos["obama2.jpg"], top_k=1)
    shown = face.to_dict()
    assert json.loads(json.dumps(shown)) == shown == replies.seen_face(face, candidates=True)
    assert shown["subject"] == "Barack Obama" and set(shown["box"]) == {"left", "top", "right", "bottom"}
    assert set(shown["landmarks"]) >= {"left_eye", "right_eye"} and len(shown["candidates"]) == 1
    same = presidents.verify(photos["obama2.jpg"], subject="Barack Obama").to_dict()
    assert same["same"] is True and json.dumps(same)
    labels = [found.to_dict()["label"] for found in presidents.objects(photos["astronaut.png"])]
    assert "person" in labels


def test_names_membership_and_representation(presidents):
    assert presidents.names() == ["Barack Obama", "Joe Biden"] == [person.name for person in presidents]
    assert "Joe Biden" in presidents and "joe biden" not in presidents.names()
    assert "Ada Lovelace" not in presidents and "" not in presidents and 3 not in presidents
    assert repr(presidents).startswith("<People: 2 enrolled in ") and "dlib+sface" in repr(presidents)


def test_draw_gives_a_picture_of_full_size_with_the_names_on_it(presidents, photos):
    path = photos["obama2.jpg"]
    faces = presidents.recognize(path)
    drawn = presidents.draw(path, faces)
    assert drawn.tobytes() == presidents.draw(path).tobytes()
    plain = pixels(path).astype(int)
    assert drawn.size == plain.shape[1::-1]
    changed = np.abs(np.asarray(drawn, int) - plain).max(axis=2) > 60
    left, top, right, _ = map(round, faces[0].box)
    assert changed[top, left:right].mean() > 0.9 and changed.mean() < 0.2
    assert not (np.abs(np.asarray(presidents.draw(path, ()), int) - plain) > 3).any()


def test_everything_of_the_package_that_its_users_need_is_at_its_top():
    assert recognizer.People.__module__ == "recognizer.people"
    assert issubclass(recognizer.errors.NoFace, recognizer.errors.RecognizerError)
    assert set(recognizer.__all__) <= set(dir(recognizer)) and "open" not in recognizer.__all__
    with pytest.raises(AttributeError, match="no attribute 'peple'"):
        recognizer.peple  # noqa: B018
    namespace: dict = {}
    exec("from recognizer import *", namespace)
    assert namespace["People"] is recognizer.People and not set(namespace) & set(dir(builtins)) - {"__builtins__"}


@pytest.mark.slow
def test_importing_the_package_sets_no_environment_variable():
    code = "import os; before = dict(os.environ); import recognizer, recognizer.people; print(dict(os.environ) == before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_a_stranger_stays_a_stranger(presidents, photos):
    assert subjects(presidents.recognize(photos["astronaut.png"])) == [None]
    assert subjects(presidents.recognize(photos["obama2.jpg"], threshold=0)) == [None]


@pytest.mark.slow
def test_detect_compares_nobody(presidents, photos):
    (face,) = presidents.detect(photos["biden.jpg"], landmarks=68)
    assert face.match is None and face.subject is None
    assert face.landmarks_68.shape == (68, 2)


@pytest.mark.slow
def test_verify(presidents, photos):
    assert presidents.verify(photos["obama2.jpg"], pixels(photos["obama3.jpg"])).same
    assert not presidents.verify(photos["obama2.jpg"], photos["biden.jpg"]).same
    assert presidents.verify(photos["obama2.jpg"], subject="Barack Obama").same
    with pytest.raises(SubjectNotFound):
        presidents.verify(photos["obama2.jpg"], subject="Nobody")
    with pytest.raises(NoFace):
        presidents.verify(np.zeros((64, 64, 3), np.uint8), photos["biden.jpg"])


@pytest.mark.slow
def test_an_array_is_enrolled_without_loss(people, photos, tmp_path):
    done = people.enroll("Barack Obama", pixels(photos["obama.jpg"]))
    assert done.new
    (stored,) = (tmp_path / "known" / "Barack Obama").iterdir()
    assert stored.suffix == ".png"
    assert np.array_equal(pixels(stored), pixels(photos["obama.jpg"]))
    assert not people.enroll("Barack Obama", pixels(photos["obama.jpg"])).new


def test_the_same_face_under_another_name_is_refused(presidents, photos):
    with pytest.raises(LooksLikeAnother):
        presidents.enroll("Somebody", photos["obama2.jpg"])
    assert presidents.enroll("Somebody", photos["obama2.jpg"], force=True).warnings


def test_rename_delete_and_what_a_second_opening_finds(presidents, photos, tmp_path, models_dir):
    presidents.rename("Barack Obama", "44")
    presidents.delete("Joe Biden")
    assert [person.name for person in presidents] == ["44"]
    presidents.close()
    with recognizer.open(tmp_path / "known", state_dir=str(tmp_path / "state"), models_dir=str(models_dir)) as again:
        assert subjects(again.recognize(photos["obama3.jpg"])) == ["44"]


def test_what_is_no_photo(people, tmp_path):
    for photo, error in (
        (tmp_path / "missing.jpg", UnreadableImage),
        ("null\0character.jpg", UnreadableImage),
        (tmp_path, UnsupportedImage),
        (b"", UnsupportedImage),
        (b"text", UnsupportedImage),
        ("http://127.0.0.1:9/photo.jpg", AddressRefused),
        (None, TypeError),
        (np.zeros((4, 4)), TypeError),
        (np.zeros((4, 4), np.uint8), ValueError),
        (np.zeros((0, 4, 3), np.uint8), ValueError),
    ):
        with pytest.raises(error):
            people.recognize(photo)


def test_an_error_does_not_show_the_path(people, tmp_path):
    with pytest.raises(UnreadableImage) as caught:
        people.recognize(tmp_path / "secret-place.jpg")
    assert "secret-place" not in caught.value.message


def test_a_typo_in_a_setting_does_not_pass(tmp_path):
    with pytest.raises(SettingsError, match="detektor"):
        recognizer.open(tmp_path, detektor="hog")
    with pytest.raises(SettingsError, match="expected one of"):
        recognizer.open(tmp_path, detector="eyes")
    assert not list(tmp_path.iterdir())


def test_the_folder_is_followed_only_if_asked_to(people, tmp_path, models_dir):
    assert people.service.settings.watch is False
    with recognizer.open(tmp_path / "k", state_dir=tmp_path / "s", models_dir=models_dir, watch=True) as following:
        assert following.service.settings.watch is True


@pytest.mark.slow
def test_the_cache_of_a_server_with_another_engine_survives(tmp_path, models_dir, photos):
    """Only a service that follows the folder throws away what others made."""
    places = {"state_dir": tmp_path / "state", "models_dir": models_dir}

    def cached() -> list:
        with closing(sqlite3.connect(tmp_path / "state" / "encodings.sqlite")) as cache:
            return cache.execute("SELECT engine, photo FROM encodings").fetchall()

    with recognizer.open(tmp_path / "known", **places) as server:
        server.enroll("Barack Obama", photos["obama.jpg"])
    with recognizer.open(tmp_path / "known", embedder="sface", **places) as other:
        assert subjects(other.recognize(photos["obama2.jpg"])) == ["Barack Obama"]
    with recognizer.open(tmp_path / "elsewhere", **places):
        pass
    assert len(cached()) == 2
    with recognizer.open(tmp_path / "known", watch=True, **places):
        assert len(cached()) == 1


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, recognizer, recognizer.cli; assert recognizer.__version__;"
        "print(sorted({'numpy', 'cv2', 'dlib', 'onnxruntime', 'PIL', 'requests', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
