"""`evaluate --attributes`: labels that are read or refused, rates by age, gender and group, and the command on real photos."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from recognizer.core.answers import AgeAnswer, FaceAttributes, GenderAnswer
from recognizer.core.errors import InvalidParameter
from recognizer.evaluation.attribute_metrics import ReadFace, band, measure_attributes, read_attribute_labels

from .commands import run_command


@pytest.fixture
def folder(tmp_path, faces) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("obama", "biden", "collins"):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(faces[name])
    return tmp_path / "images"


def labels(folder: Path, text: str) -> Path:
    file = folder.parent / "labels.csv"
    file.write_text(text)
    return file


def test_labels_of_any_columns_are_read(folder):
    text = "Photo,age,gender,expression,group\nobama.jpg,47,male,happiness,a\nbiden.jpg,,Female,fear,\n"
    one, other = read_attribute_labels(labels(folder, text), folder)
    assert (one.age, one.gender, one.expression, one.group) == (47.0, "male", "happy", "a")
    assert (other.age, other.gender, other.expression, other.group) == (None, "female", "other", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("photo\nobama.jpg\n", "columns photo and any of age"),
        ("age\n47\n", "columns photo"),
        ("photo,age\n", "got none"),
        ("photo,age\nobama.jpg,old\n", "line 2: expected an age"),
        ("photo,age\nobama.jpg,470\n", "line 2"),
        ("photo,age\n,47\n", "line 2"),
        ("photo,gender\nobama.jpg,m\n", "female or male"),
        ("photo,age\nnobody.jpg,47\n", "1 of 1 photos are not in"),
    ],
)
def test_labels_that_make_no_sense(folder, text, said):
    with pytest.raises(InvalidParameter, match=said):
        read_attribute_labels(labels(folder, text), folder)


def read(low: int, high: int, raw: float, gender: str | None, female: float) -> ReadFace:
    said = None if gender is None else GenderAnswer(gender, 0.95)
    answers = {"age": AgeAnswer(low, high, 0.8), "gender": said}
    return ReadFace(FaceAttributes(answers), {"age": np.array([raw]), "gender": np.array([female, raw])})


def test_rates_by_age_gender_and_group(folder):
    text = "photo,age,gender,group\nobama.jpg,47,male,a\nbiden.jpg,70,male,b\ncollins.jpg,35,female,b\n"
    found = [read(40, 50, 50, "male", -3), read(50, 60, 58, None, -1), read(30, 40, 36, "male", -2.5)]
    report = measure_attributes(read_attribute_labels(labels(folder, text), folder), found)
    age, gender = report["age"], report["gender"]
    assert age["all"]["within"] == pytest.approx(2 / 3) and age["all"]["answered"] == 3
    assert age["all"]["bias"] == pytest.approx((3 - 13 + 1) / 3) and age["all"]["mean_error"] == pytest.approx(17 / 3)
    assert list(age["by_age"]) == ["30-44", "45-59", "60-74"] and age["by_age"]["60-74"]["within"] == 0
    low, high = age["all"]["within_interval"]
    assert 0 < low < 2 / 3 < high < 1
    assert gender["all"]["answered"] == 2 and gender["all"]["right"] == 0.5
    assert gender["all"]["right_if_always_said"] == pytest.approx(2 / 3)
    assert gender["by_gender"]["female"]["right"] == 0 and gender["by_group"]["a"]["right"] == 1
    assert "expression" not in report


def test_bands_of_ages():
    assert [band(age) for age in (0, 2.9, 3, 17, 29, 30, 75, 101)] == [
        "0-2",
        "0-2",
        "3-12",
        "13-17",
        "18-29",
        "30-44",
        "75+",
        "75+",
    ]


def test_the_command_on_real_photos(folder, attribute_weights, models_dir, tmp_path):
    (folder / "nobody.jpg").write_bytes((folder / "obama.jpg").read_bytes()[:3000])
    text = "photo,age,gender\nobama.jpg,47,male\nbiden.jpg,70,male\nnobody.jpg,30,male\n"
    command = ["evaluate", "--attributes", str(labels(folder, text)), "--images", str(folder), "--engine", "yunet+sface"]
    drawn = tmp_path / "looks.png"
    draws = ["--plot", str(drawn)] if importlib.util.find_spec("matplotlib") else []
    environ = {"RECOGNIZER_STATE_DIR": str(tmp_path / "state"), "RECOGNIZER_MODELS_DIR": str(models_dir)}
    done = run_command(environ, *command, "--json", *draws)
    assert done.exit_code == 0, done.stderr
    part = json.loads(done.stdout)["attributes"]
    assert part["faces"] == 2 and part["gender"]["all"]["right"] == 1.0 and len(part["photos_lost"]) == 1
    assert not draws or drawn.read_bytes().startswith(b"\x89PNG")
    done = run_command(environ, *command)
    assert done.exit_code == 0 and "right of answers" in done.stdout and "in the range" in done.stdout
    done = run_command(environ, *command, "--pairs", command[2])
    assert done.exit_code == 2 and "--attributes" in done.stderr
