"""Photos that look odd among the enrolled: told, with whom they look like, looked for only when asked, and only once."""

from __future__ import annotations

import numpy as np
import pytest

from recognizer.core.types import Embedding, Template
from recognizer.enrolment import review
from recognizer.enrolment.review import Review
from recognizer.galleries.memory import MemoryGallery

ENGINE = "test/1"


class Enrolled:
    """What `Review` sees of an enrolment; counts what is asked of its gallery."""

    def __init__(self, people: dict[str, dict[str, tuple]]):
        self.gallery, self.revision, self.asked = MemoryGallery(ENGINE, 2), 0, 0
        for subject, photos in people.items():
            for photo, at in photos.items():
                self.add(subject, photo, at)
        inner = self.gallery.templates

        def templates(subject):
            self.asked += 1
            return inner(subject)

        self.gallery.templates = templates

    def add(self, subject, photo, at):
        self.gallery.add([Template(subject, photo, Embedding(np.array(at, np.float32), ENGINE))])
        self.revision += 1


def looked(people, limit=1.0, named=0.5) -> tuple[Review, Enrolled]:
    enrolled = Enrolled(people)
    return Review(enrolled, limit, lambda: named), enrolled


def codes(found) -> dict[str, list[str]]:
    return {photo: [warning["code"] for warning in warnings] for photo, warnings in found.items()}


ANN = {"a1": (0, 0), "a2": (0, 0.5), "a3": (0.5, 0)}

PEOPLE = {
    "nobody": ({}, "ann", {}),
    "one photo": ({"ann": {"a1": (0, 0)}}, "ann", {}),
    "two that differ: either may be wrong": ({"ann": {"a1": (0, 0), "a2": (9, 0)}}, "ann", {}),
    "all alike": ({"ann": ANN}, "ann", {}),
    "one unlike two others": ({"ann": ANN | {"x": (0, 9)}}, "ann", {"x": ["unlike_others"]}),
    "just within": ({"ann": ANN | {"x": (0, 1.5)}}, "ann", {}),
    "somebody else's": (
        {"ann": ANN | {"x": (0, 9)}, "bob": {"b1": (0, 9.5)}},
        "ann",
        {"x": ["unlike_others", "looks_like_another"]},
    ),
    "nearer to its own": ({"ann": ANN, "bob": {"b1": (0, -0.6)}}, "ann", {}),
    "nearer to another, of two": (
        {"ann": {"a1": (0, 0), "a2": (0.9, 0)}, "bob": {"b": (1.2, 0)}},
        "ann",
        {"a2": ["looks_like_another"]},
    ),
    "an only photo that gets another's name": (
        {"ann": {"a1": (0, 0)}, "bob": {"b1": (0, 0.4)}},
        "ann",
        {"a1": ["looks_like_another"]},
    ),
    "an only photo that does not": ({"ann": {"a1": (0, 0)}, "bob": {"b1": (0, 0.6)}}, "ann", {}),
}


@pytest.mark.parametrize("case", PEOPLE)
def test_what_is_odd_is_told_for_one_and_for_all_alike(case):
    people, subject, expected = PEOPLE[case]
    one, _ = looked(people)
    assert codes(one.of(subject)) == expected
    everybody = looked(people)[0].of_all()
    assert everybody.keys() == people.keys()
    for name in people:
        assert everybody[name] == looked(people)[0].of(name)


def test_warnings_say_with_whom_and_how_far():
    people, subject, _ = PEOPLE["somebody else's"]
    unlike, like = looked(people)[0].of(subject)["x"]
    assert (unlike["distance"], unlike["threshold"]) == (8.5, 1.0) and "'ann'" in unlike["message"]
    assert (like["subject"], like["distance"], like["threshold"]) == ("bob", 0.5, 0.5) and "'bob'" in like["message"]


def test_nothing_is_looked_at_before_or_twice():
    made, enrolled = looked({"ann": ANN, "bob": {"b1": (50, 50)}})
    assert enrolled.asked == 0
    made.of("ann")
    made.of("ann")
    assert enrolled.asked == 1
    made.of_all()
    asked = enrolled.asked
    made.of_all()
    made.of("bob")
    assert enrolled.asked == asked
    enrolled.add("ann", "x", (0, 9))
    assert codes(made.of("ann")) == {"x": ["unlike_others"]} and enrolled.asked == asked + 1


def test_too_many_are_looked_at_one_by_one_only(monkeypatch):
    made, _ = looked({"ann": ANN | {"x": (0, 9)}})
    monkeypatch.setattr(review, "MOST_AT_ONCE", 3)
    assert made.of_all() is None and codes(made.of("ann")) == {"x": ["unlike_others"]}


@pytest.mark.slow
def test_many_templates_are_compared_as_one_by_one():
    chance = np.random.default_rng(1)
    people = {
        f"p{i}": {f"{i}-{j}": at for j, at in enumerate(chance.normal(0, 3, 2) + chance.normal(0, 1, (1 + i % 7, 2)))}
        for i in range(150)
    }
    made, enrolled = looked(people)
    everybody = made.of_all()
    assert sum(map(len, everybody.values())) > 50
    for name in people:
        assert everybody[name] == Review(enrolled, 1.0, lambda: 0.5).of(name)
