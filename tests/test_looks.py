"""Attributes of tracks: decided over good pictures, calm; in events until they are erased, and in tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recognizer.core.answers import AgeAnswer, ExpressionAnswer, FaceAttributes, GenderAnswer
from recognizer.core.errors import InvalidParameter
from recognizer.events.appearances import EventRules, plain
from recognizer.events.event_erasing import EventEraser, Retention
from recognizer.events.event_log import EventLog
from recognizer.events.exporting import event_row, result_rows
from recognizer.photos.quality import Quality
from recognizer.video.output import overlay
from recognizer.video.tracking.looks import EXPRESSION_EVERY, LOOK_EVERY, RARELY, Looks, is_good

from .scenes import BEGIN, Scene, face, frame

GOOD = Quality(80, 0.1, 0, 0, 0, 0, 120, 40, 0, 0.93)
BLURRED = replace(GOOD, sharpness=0.01)
SAID = FaceAttributes({"age": AgeAnswer(25, 41, 0.8), "gender": GenderAnswer("female", 0.97), "expression": None})


def evidence(age: float = 30.0, female: float = 4.0, happy: float = 0.0) -> dict[str, np.ndarray]:
    """Evidence of each attribute; `happy` is how much more than the others a smile weighs."""
    expression = np.zeros(7)
    expression[1] = happy
    return {"age": np.array([age]), "gender": np.array([female, age]), "expression": expression}


def looked(*given: dict[str, np.ndarray], worth: float = 0.8) -> Looks:
    looks = Looks()
    for number, each in enumerate(given):
        looks.take(each, worth, float(number))
    return looks


def test_nothing_is_said_before_enough_good_pictures():
    looks = looked(evidence(), evidence())
    early = looks.attributes(("age", "gender"), GOOD)
    assert early.age is None and early.reasons == {"age": ("undecided",), "gender": ("undecided",)}
    assert looks.attributes(("age",), BLURRED).reasons == {"age": ("blurred",)}
    looks.take(evidence(), 0.8, 2.0)
    said = looks.attributes(("gender", "age"), BLURRED)  # what was decided stays, whatever the newest picture is
    assert said.age.low <= 30 <= said.age.high and said.gender.value == "female" and said.reasons == {}


def test_a_range_that_hardly_moves_stays():
    looks = looked(evidence(30), evidence(30), evidence(30))
    before = looks.attributes(("age",), GOOD).age
    for time in range(3, 8):
        looks.take(evidence(31.0), 0.8, float(time))
        assert looks.attributes(("age",), GOOD).age == before
    for time in range(8, 30):
        looks.take(evidence(60), 0.8, float(time))
    assert looks.attributes(("age",), GOOD).age.low > before.low + 10


def test_a_good_picture_counts_more_than_poor_ones():
    looks = looked(evidence(20), evidence(20), worth=0.05)
    looks.take(evidence(60), 0.9, 2.0)
    assert looks.attributes(("age",), GOOD).age.low > 40


def test_an_expression_that_flickers_is_not_shown():
    smile, blank = evidence(happy=20), evidence(happy=-20)
    looks = looked(smile, smile, smile, smile)
    assert looks.attributes(("expression",), GOOD).expression.value == "happy"
    looks.take(blank, 0.8, 4.0)
    assert looks.attributes(("expression",), GOOD).expression.value == "happy"
    for time in range(5, 9):
        looks.take(blank, 0.8, float(time))
    found = looks.attributes(("expression",), GOOD).expression
    assert found is None or found.value == "other"


def test_a_gender_at_the_limit_does_not_flicker():
    looks = looked(*[evidence(female=2.3)] * 3)
    assert looks.attributes(("gender",), GOOD).gender.value == "female"
    for time, female in ((3.0, 1.6), (4.0, 1.9), (5.0, 1.9)):
        looks.take(evidence(female=female), 0.8, time)
        assert looks.attributes(("gender",), GOOD).gender.value == "female"
    for time in range(6, 20):
        looks.take(evidence(female=-1.0), 0.8, float(time))
    assert looks.attributes(("gender",), GOOD).to_dict() == {"gender": None, "reasons": {"gender": ["uncertain"]}}


def test_children_get_a_reason_and_no_gender():
    said = looked(*[evidence(age=6)] * 3).attributes(("age", "gender"), GOOD)
    assert said.age.high < 16 and said.gender is None and said.reasons == {"gender": ("under_13",)}


def test_faces_are_looked_at_seldom_once_they_are_known():
    looks = looked(*[evidence()] * 3)
    assert not looks.due(2.0 + 0.9 * EXPRESSION_EVERY, ("expression",)) and looks.due(
        2.0 + 1.1 * EXPRESSION_EVERY, ("expression",)
    )
    assert looks.due(2.0 + 1.1 * EXPRESSION_EVERY, ("age", "gender", "expression")) == ("expression",)
    assert not looks.due(2.0 + 0.9 * LOOK_EVERY, ("age",)) and looks.due(2.0 + 1.1 * LOOK_EVERY, ("age",))
    many = looked(*[evidence()] * 20)
    assert not many.due(19 + 0.9 * RARELY, ("age",)) and many.due(19 + 1.1 * RARELY, ("age",))
    assert is_good(GOOD) and not is_good(BLURRED) and not is_good(None)


# -- drawn --------------------------------------------------------------------------------------------------------------


def drawn(layers: str, said: FaceAttributes | None = SAID) -> np.ndarray:
    shown = face(1, "Zoë", size=120)
    shown = replace(shown, seen=replace(shown.seen, attributes=said))
    pixels = np.full((480, 640, 3), 90, np.uint8)
    return overlay.draw(frame(0, shown, pixels=pixels), layers=overlay.parse_layers(layers))


def test_each_attribute_is_a_layer_of_its_own():
    pictures = [drawn(layers) for layers in ("faces", "faces,age", "faces,age,gender", "age", "none")]
    for index, one in enumerate(pictures):
        assert not any(np.array_equal(one, other) for other in pictures[index + 1 :])
    assert np.array_equal(drawn("faces,expression"), drawn("faces"))  # nothing is said
    assert np.array_equal(drawn("faces,age", None), drawn("faces"))
    with pytest.raises(InvalidParameter):
        overlay.parse_layers("faces,ethnicity")


# -- events ------------------------------------------------------------------------------------------------------------


def acted(rules: EventRules) -> Scene:
    scene = Scene(rules)
    shown = face(1, "Zoë")
    shown = replace(shown, seen=replace(shown.seen, attributes=SAID))
    for number in range(12):
        scene.keep(scene.appearances.observe("door", frame(number, shown, time=BEGIN + number / 10), number / 10))
    return scene


def test_events_say_how_somebody_looked_only_if_a_setting_says_so():
    [silent] = acted(EventRules()).events
    assert silent.attributes is None and "attributes" not in plain(silent)
    scene = acted(EventRules(attributes=True))
    scene.keep(scene.appearances.end(BEGIN + 2, "over"))
    for event in scene.events:
        assert plain(event)["attributes"] == {
            "age": {"low": 25, "high": 41, "coverage": 0.8},
            "gender": {"value": "female", "probability": 0.97},
        }


def test_a_person_who_is_erased_while_present_leaves_without_looks():
    scene = acted(EventRules(attributes=True))
    scene.appearances.erase("Zoë")
    [left] = scene.appearances.end(BEGIN + 2, "over")
    assert left.subject is None and "attributes" not in plain(left)


def test_erasing_a_person_takes_the_looks_out_of_stored_events(tmp_path):
    log = EventLog(tmp_path)
    for event in acted(EventRules(attributes=True)).events:
        log.append([plain(event)])
    log.close()
    assert "female" in "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))
    assert EventEraser(tmp_path, Retention(), lambda: BEGIN).erase("Zoë") == 1
    assert "female" not in "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))


# -- tables ------------------------------------------------------------------------------------------------------------


def test_tables_have_columns_for_looks():
    [event] = acted(EventRules(attributes=True)).events
    row = event_row(plain(event))
    assert (row["age_low"], row["age_high"], row["gender"], row["expression"]) == (25, 41, "female", None)
    smile = ExpressionAnswer("happy", 0.9, {"happy": 0.9, "neutral": 0.1})
    shown = {"score": 0.9, "attributes": FaceAttributes({"expression": smile, "age": None}, {"age": ("blurred",)}).to_dict()}
    [row] = result_rows({"faces": [shown]}, BEGIN)
    assert (row["expression"], row["expression_probability"], row["age_low"]) == ("happy", 0.9, None)
