"""Groups of faces: what Chinese whispers makes of neighbours, and how groups grow, merge, stay, and obey."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognizer.engines import make_engine
from recognizer.galleries import clustering, thresholds
from recognizer.galleries.clustering import Group, Groups, limit_for, neighbours, whispers
from recognizer.photos import images

LIMIT = 1.0


def people(number: int, faces: int, spread: float = 0.2, seed: int = 0, dim: int = 16) -> np.ndarray:
    """Vectors (number, faces, dim): each person's within about `spread` of one another, people 2 and more apart."""
    random = np.random.default_rng(seed)
    centres = 4 * np.eye(dim)[:number] if number <= dim else 40 * random.standard_normal((number, dim))
    return (centres[:, None] + spread / np.sqrt(dim) * random.standard_normal((number, faces, dim))).astype(np.float32)


def partition(groups: Groups) -> set[frozenset]:
    return {frozenset(groups.faces(id_)) for id_ in groups.groups()}


# -- neighbours and whispers -------------------------------------------------------------------------------------------


def test_nothing_has_no_neighbours_and_no_groups():
    empty = np.zeros((0, 16), np.float32)
    assert neighbours(empty, empty, LIMIT).shape == (0, 2)
    assert whispers(0, np.zeros((0, 2), int)).tolist() == []
    groups = Groups(LIMIT)
    assert groups.add_faces([], empty) == set() and len(groups) == 0 and groups.groups() == {}


def test_neighbours_are_those_within_the_limit():
    vectors = np.array([[0, 0], [0.5, 0], [3, 0]], np.float32)
    assert neighbours(vectors[:1], vectors, 0.5).tolist() == [[0, 0], [0, 1]]
    assert neighbours(vectors, vectors, 0.4).tolist() == [[0, 0], [1, 1], [2, 2]]


def test_of_many_neighbours_the_nearest_count():
    vectors = np.linspace(0, 1, 200, dtype=np.float32)[:, None]
    found = neighbours(vectors[:1], vectors, 0.9, most=5)
    assert found[:, 1].tolist() == [0, 1, 2, 3, 4]


def test_more_rows_than_a_block_are_all_looked_at(monkeypatch):
    vectors = people(8, 5).reshape(40, -1)
    whole = neighbours(vectors, vectors, LIMIT)
    monkeypatch.setattr(clustering, "_BLOCK", 7)
    assert neighbours(vectors, vectors, LIMIT).tolist() == whole.tolist()


@pytest.mark.parametrize("distances", [1 << 23, 100])
def test_neighbours_are_those_of_a_plain_search(monkeypatch, distances):
    monkeypatch.setattr(clustering, "_DISTANCES", distances)
    vectors = np.random.default_rng(3).standard_normal((60, 4)).astype(np.float32)
    apart = np.linalg.norm(vectors[:, None].astype(float) - vectors[None], axis=2)
    for limit, most in ((0.01, 5), (1.2, 5), (1.2, 60), (9.0, 7)):
        found = neighbours(vectors, vectors, limit, most)
        plain = [
            (row, int(other))
            for row in range(60)
            for other in sorted(np.argsort(apart[row])[:most].tolist())
            if apart[row, other] <= limit
        ]
        assert [tuple(pair) for pair in found.tolist()] == plain, (limit, most)


def test_many_edges_are_whispered_in_parts_that_are_not_connected(monkeypatch):
    chance = np.random.default_rng(5)
    number, parts = 300, np.split(np.random.default_rng(4).permutation(300), [2, 50, 51, 140, 290])
    chains = [np.stack([part[:-1], part[1:]], axis=1) for part in parts if len(part) > 1]  # as far across as can be
    edges = np.concatenate([*chains, *[each[:, ::-1] for each in chains]])
    edges = edges[chance.permutation(len(edges))]
    for most in (10**6, 300, 1):
        monkeypatch.setattr(clustering, "_EDGES", most)
        made = list(clustering._connected_parts(number, edges))
        assert sorted(map(tuple, np.concatenate(made).tolist())) == sorted(map(tuple, edges.tolist()))
        assert len(made) == {10**6: 1, 300: 2, 1: 5}[most]
        vertices = [set(each.ravel().tolist()) for each in made]
        assert sum(map(len, vertices)) == len(set().union(*vertices))
    full = np.concatenate([[(a, b) for a in part for b in part] for part in parts])
    labels = whispers(number, full)
    assert all(len(set(labels[part].tolist())) == 1 for part in parts) and len(set(labels.tolist())) == len(parts)
    assert list(clustering._connected_parts(number, edges[:0])) == []


def test_whispers_put_neighbours_together_and_leave_others_alone():
    edges = np.array([[0, 1], [1, 2], [2, 0], [4, 5], [3, 3]])
    labels = whispers(7, edges)
    assert len({*labels[[0, 1, 2]]}) == 1 and labels[4] == labels[5]
    assert len(set(labels.tolist())) == 4
    assert whispers(7, edges).tolist() == labels.tolist()


def test_the_limit_falls_as_faces_grow_in_number():
    curve = thresholds.Curve([0.9, 1.2, 1.5], [1e-6, 1e-4, 1e-2])
    limits = [limit_for(number, curve.distance) for number in (1, 300, 3000, 5000, 30_000, 1_000_000, 2_000_000)]
    assert limits[0] == limits[1] > limits[2] > limits[3] > limits[4] > limits[5] == limits[6] > 0
    for number, limit in zip((3000, 30_000, 1_000_000), (limits[2], limits[4], limits[5]), strict=True):
        assert curve.rate(limit) == pytest.approx(clustering.FALSE_NEIGHBOURS / number)


# -- growing -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 8), st.randoms(use_true_random=False))
def test_however_faces_come_people_are_the_groups(number, faces, parts, random):
    vectors = people(number, faces).reshape(number * faces, -1)
    order = list(range(len(vectors)))
    random.shuffle(order)
    groups = Groups(LIMIT)
    for part in np.array_split(order, parts):
        groups.add_faces(part.tolist(), vectors[part])
    assert partition(groups) == {frozenset(range(i * faces, (i + 1) * faces)) for i in range(number)}


def test_a_group_keeps_its_id_while_it_grows_and_only_what_changed_is_told():
    vectors = people(3, 4)
    groups = Groups(LIMIT)
    first = groups.add_faces(["a0", "b0"], vectors[:2, 0])
    assert len(first) == 2
    a, b = groups.group_of("a0"), groups.group_of("b0")
    assert groups.add_faces(["a1", "a2"], vectors[0, 1:3]) == {a}
    assert groups.add_faces(["c0"], vectors[2, :1]) == {groups.group_of("c0")}
    assert groups.faces(a) == ["a0", "a1", "a2"] and groups.faces(b) == ["b0"]


def test_groups_merge_when_faces_between_them_come_and_the_larger_ones_id_stays():
    line = np.array([[0.0], [0.3], [0.6], [2.4], [2.7]], np.float32)
    groups = Groups(1.0)
    groups.add_faces([0, 1, 2], line[:3])
    groups.add_faces([3, 4], line[3:])
    large, small = groups.group_of(0), groups.group_of(3)
    assert large != small
    changed = groups.add_faces([5, 6], np.array([[1.2], [1.6]], np.float32))
    assert groups.group_of(4) == groups.group_of(6) == large and small not in groups
    assert changed == {large, small}


def test_faces_go_and_empty_groups_with_them():
    vectors = people(2, 2)
    groups = Groups(LIMIT)
    groups.add_faces(["a0", "a1", "b0"], vectors.reshape(4, -1)[:3])
    a, b = groups.group_of("a0"), groups.group_of("b0")
    assert groups.remove_faces(["a0", "b0"]) == {a, b}
    assert groups.faces(a) == ["a1"] and b not in groups
    assert groups.add_faces(["b1"], vectors[1, 1:]) and groups.group_of("b1") != a
    with pytest.raises(KeyError):
        groups.group_of("a0")


def test_a_face_that_is_there_already_is_refused():
    vectors = people(1, 2)[0]
    groups = Groups(LIMIT)
    groups.add_faces(["a"], vectors[:1])
    for keys in (["a"], ["b", "b"], ["b"]):
        with pytest.raises(ValueError, match="new faces"):
            groups.add_faces(keys, vectors if len(keys) == 1 and keys != ["a"] else vectors[: len(keys)])
    assert partition(groups) == {frozenset("a")}


def test_what_is_kept_goes_on_as_if_it_had_never_stopped():
    vectors = people(3, 6)
    keys = [[f"{person}{face}" for face in range(6)] for person in range(3)]
    whole, groups = Groups(LIMIT), Groups(LIMIT)
    for start in (0, 3):
        for person in range(3):
            part = keys[person][start : start + 3], vectors[person, start : start + 3]
            whole.add_faces(*part)
            groups.add_faces(*part)
            groups = Groups(LIMIT, groups.groups())
    assert {id_: groups.faces(id_) for id_ in groups.groups()} == {id_: whole.faces(id_) for id_ in whole.groups()}


# -- what people say ---------------------------------------------------------------------------------------------------


def test_joined_groups_stay_one_though_they_are_far_apart():
    vectors = people(3, 4)
    groups = Groups(LIMIT)
    groups.add_faces(["a0", "a1", "b0"], np.stack([vectors[0, 0], vectors[0, 1], vectors[1, 0]]))
    a, b = groups.group_of("a0"), groups.group_of("b0")
    assert groups.join(a, b) == {a, b}
    groups = Groups(LIMIT, groups.groups())
    groups.add_faces(["a2", "b1", "c0"], np.stack([vectors[0, 2], vectors[1, 1], vectors[2, 0]]))
    assert set(groups.faces(a)) == {"a0", "a1", "a2", "b0", "b1"} and groups.group_of("c0") != a


def test_split_groups_never_meet_again_and_new_faces_go_to_the_nearer():
    near = np.array([[0.0], [0.1], [0.5], [0.6]], np.float32)
    groups = Groups(1.0)
    groups.add_faces([0, 1, 2, 3], near)
    old = groups.group_of(0)
    new = groups.split([2, 3])
    assert groups.faces(old) == [0, 1] and groups.faces(new) == [2, 3]
    groups = Groups(1.0, groups.groups(), count(100).__next__)
    groups.add_faces([4, 5, 6], np.array([[-0.1], [0.7], [0.29]], np.float32))
    assert groups.group_of(4) == old and groups.group_of(5) == new and groups.group_of(0) == old and groups.group_of(2) == new
    assert groups.groups()[old].apart == {new} and groups.groups()[new].apart == {old}


def test_a_split_group_split_again_keeps_all_three_apart():
    near = np.linspace(0, 0.5, 6, dtype=np.float32)[:, None]
    groups = Groups(1.0)
    groups.add_faces(list(range(6)), near)
    one = groups.group_of(0)
    two = groups.split([2, 3, 4, 5])
    three = groups.split([4, 5])
    groups.add_faces([6], np.array([[0.25]], np.float32))
    assert {frozenset(groups.faces(each)) - {6} for each in (one, two, three)} == {
        frozenset({0, 1}),
        frozenset({2, 3}),
        frozenset({4, 5}),
    }
    assert groups.groups()[three].apart == {one, two}


def test_joining_what_was_split_is_the_last_word():
    groups = Groups(1.0)
    groups.add_faces([0, 1, 2], np.array([[0.0], [0.1], [0.2]], np.float32))
    old = groups.group_of(0)
    groups.join(old, groups.split([2]))
    groups.add_faces([3], np.array([[0.1]], np.float32))
    assert groups.faces(old) == [0, 1, 2, 3] and groups.groups()[old].apart == frozenset()


@pytest.mark.parametrize("keys", [[], [0, 1], [0, 2], [2]])
def test_only_some_of_one_groups_faces_can_be_split(keys):
    groups = Groups(1.0, {1: Group({0: np.float32([0]), 1: np.float32([0.1])}), 2: Group({2: np.float32([9])})})
    with pytest.raises(ValueError, match="some of one group's faces"):
        groups.split(keys)
    assert partition(groups) == {frozenset({0, 1}), frozenset({2})}


# -- real faces --------------------------------------------------------------------------------------------------------


def test_real_photos_are_grouped_by_person(photos, models_dir):
    engine = make_engine("yunet", "dlib+sface", models_dir=models_dir)
    found = {}
    for name in ("obama.jpg", "biden.jpg", "obama2.jpg", "astronaut.png", "obama3.jpg"):
        image = images.decode(photos[name].read_bytes(), max_bytes=10**8, max_pixels=10**8)
        faces = engine.find(image)
        found[name] = engine.describe(image, faces.select([0]))[0]
    points = engine.info.calibration
    groups = Groups(limit_for(len(found), thresholds.Curve(points.distances, points.rates).distance))
    for name, vector in found.items():
        groups.add_faces([name], vector[None])
    assert partition(groups) == {
        frozenset({"obama.jpg", "obama2.jpg", "obama3.jpg"}),
        frozenset({"biden.jpg"}),
        frozenset({"astronaut.png"}),
    }


def test_faces_near_which_strangers_are_expected_are_neighbours_only_where_they_are_nearer():
    vectors = np.array([[0, 0], [0, 0.5], [0, 0.9], [3, 0], [3, 0.9]], np.float32)
    lowered = np.array([0.4, 0, 0, 0, 0], np.float32)
    pairs = {(int(one), int(other)) for one, other in neighbours(vectors, vectors, 1.0, lowered=(lowered, lowered))}
    assert {(i, i) for i in range(5)} <= pairs and {(0, 1), (1, 0), (1, 2), (2, 1), (3, 4), (4, 3)} <= pairs
    assert not {(0, 2), (2, 0)} & pairs  # 0.9 apart: too far for the first, whose limit is 0.6
    groups = Groups(1.0, lowered=lambda those: np.where(those[:, 0] > 2, 0.2, 0.0).astype(np.float32))
    groups.add_faces("ab", np.array([[0, 0], [0, 0.9]], np.float32))
    groups.add_faces("cd", np.array([[3, 0], [3, 0.9]], np.float32))
    assert groups.group_of("a") == groups.group_of("b") and groups.group_of("c") != groups.group_of("d")
    stored = Groups(1.0, groups.groups(), lowered=lambda those: np.where(those[:, 0] > 2, 0.2, 0.0).astype(np.float32))
    stored.add_faces("e", np.array([[3, 1.5]], np.float32))
    assert stored.group_of("e") == stored.group_of("d") != stored.group_of("c")


def test_a_face_whose_limit_is_lowered_to_nothing_stays_its_own_neighbour():
    vectors = np.random.default_rng(1).normal(size=(50, 256)).astype(np.float32)
    vectors *= 1.5 / np.linalg.norm(vectors, axis=1, keepdims=True)
    lowered = np.full(50, 2.0, np.float32)
    assert len(neighbours(vectors, vectors, 1.0, lowered=(lowered, lowered))) == 50
