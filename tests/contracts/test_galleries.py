"""What every gallery does, tried on each: against a plain dict, against brute force, and from many threads."""

import gc
import itertools
import sys
import threading
from contextlib import closing, contextmanager

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from recognizer.core.errors import EngineMismatch
from recognizer.core.types import Embedding, Template
from recognizer.database.connection import Database
from recognizer.galleries import cohort
from recognizer.galleries.contract import Gallery
from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.postgres.gallery import PostgresGallery

ENGINE, DIM = "test/1", 4
GALLERIES = {"memory": MemoryGallery, "memory with sketches": lambda engine, dim: MemoryGallery(engine, dim, sketch_from=8)}


@pytest.fixture(params=[*GALLERIES, pytest.param("postgres", marks=pytest.mark.network)])
def make(request):
    """A function that makes an empty gallery: ``make(dim)``."""
    if request.param in GALLERIES:

        def in_memory(dim=DIM):
            return GALLERIES[request.param](ENGINE, dim)

        in_memory.tried, in_memory.crowd = (lambda number: number), 4000
        yield in_memory
        return
    with closing(Database(request.getfixturevalue("database_url"))) as database:

        def empty(dim=DIM):
            with database.transaction() as connection:
                connection.execute("truncate subject, photo, template, rule_report, change")
                connection.execute("insert into people_group (id, name, folded) values (7, 'a', 'a') on conflict do nothing")
            gallery = PostgresGallery(database, ENGINE, dim)
            gallery.copy.load()
            vector = np.zeros(dim, np.float32)
            gallery.add([template(name, "other", vector) for name in "abc"])  # of another group: never seen here
            return gallery.of_group(7)

        empty.tried, empty.crowd = (lambda number: max(3, number // 50)), 400  # each change is a transaction
        yield empty


@pytest.fixture(params=GALLERIES)
def make_in_memory(request):
    """The same of galleries that are in memory only: what the others add to those is tried with fewer templates."""
    return lambda dim=DIM: GALLERIES[request.param](ENGINE, dim)


def template(subject: str, photo: str, vector, engine: str = ENGINE) -> Template:
    return Template(subject, photo, Embedding(np.asarray(vector, np.float32), engine))


def axis(i: int, dim: int = DIM, length: float = 1.0) -> np.ndarray:
    vector = np.zeros(dim, np.float32)
    vector[i] = length
    return vector


def found(gallery, probe, k=1) -> list[tuple[str, float, str]]:
    return [(c.subject, c.distance, c.photo) for c in gallery.search(np.asarray(probe, np.float32)[None], k)[0]]


# --- the empty gallery -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_empty_gallery_finds_nobody(make):
    gallery = make()
    assert isinstance(gallery, Gallery)
    assert (gallery.engine, gallery.dim, len(gallery), gallery.subjects()) == (ENGINE, DIM, 0, {})
    assert gallery.search(np.zeros((0, DIM), np.float32)) == []
    assert gallery.search(np.zeros((3, DIM), np.float32), 5) == [[], [], []]
    assert gallery.templates("a") == []
    assert gallery.remove("a") == gallery.remove("a", "p") == gallery.rename("a", "b") == 0
    gallery.add([])
    assert len(gallery) == 0


# --- one thing at a time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probe", "k", "expected"),
    [
        (axis(3), 1, [("ann", np.sqrt(2), "p1")]),
        (axis(0), 1, [("ann", 0, "p1")]),
        (axis(0), 2, [("ann", 0, "p1"), ("bob", np.sqrt(2), "q1")]),
        (axis(1), 9, [("ann", 0, "p2"), ("bob", np.sqrt(2), "q1")]),
        (axis(2, length=3), 2, [("bob", 2, "q1"), ("ann", np.sqrt(10), "p1")]),
    ],
)
def test_search_gives_each_subject_once_with_its_nearest_photo(make, probe, k, expected):
    gallery = make()
    gallery.add([template("ann", "p1", axis(0)), template("ann", "p2", axis(1)), template("bob", "q1", axis(2))])
    result = found(gallery, probe, k)
    assert [(subject, photo) for subject, _, photo in result] == [(subject, photo) for subject, _, photo in expected]
    assert [distance for _, distance, _ in result] == pytest.approx([distance for _, distance, _ in expected])


def test_probes_are_answered_in_their_order(make):
    gallery = make()
    gallery.add([template(str(i), "p", axis(i)) for i in range(DIM)])
    answers = gallery.search(np.eye(DIM, dtype=np.float64)[::-1])
    assert [answer[0].subject for answer in answers] == ["3", "2", "1", "0"]


def test_adding_again_replaces(make):
    gallery = make()
    gallery.add([template("ann", "p", axis(0))])
    gallery.add([template("ann", "p", axis(1))])
    assert len(gallery) == 1 and found(gallery, axis(0)) == [("ann", pytest.approx(np.sqrt(2)), "p")]
    gallery.add([template("ann", "p", axis(2)), template("ann", "p", axis(3))])  # twice in one call: the later one
    assert len(gallery) == 1 and found(gallery, axis(3)) == [("ann", 0, "p")]
    assert [each.embedding.vector.tolist() for each in gallery.templates("ann")] == [axis(3).tolist()]


def test_templates_of_several_subjects_are_those_of_each(make):
    gallery = make()
    gallery.add([template("ann", "p", axis(0)), template("bob", "p", axis(1)), template("ann", "q", axis(2))])
    gallery.add([template("zoe", "p", axis(3))])

    def plain(templates):
        return [(each.subject, each.photo, each.embedding.vector.tolist()) for each in templates]

    asked = ["zoe", "nobody", "ann"]
    found = gallery.templates_of(asked)
    assert {subject: plain(each) for subject, each in found.items()} == {name: plain(gallery.templates(name)) for name in asked}
    assert list(map(len, found.values())) == [1, 0, 2] and gallery.templates_of([]) == {}


def test_one_photo_may_belong_to_two_subjects(make):
    gallery = make()
    gallery.add([template("ann", "p", axis(0)), template("bob", "p", axis(0))])
    assert gallery.subjects() == {"ann": 1, "bob": 1}
    assert gallery.remove("ann", "p") == 1
    assert found(gallery, axis(0), 5) == [("bob", 0, "p")]


def test_remove_tells_how_many_there_were(make):
    gallery = make()
    gallery.add([template("ann", f"p{i}", axis(i)) for i in range(3)])
    assert [gallery.remove("ann", "p1"), gallery.remove("ann", "p1"), gallery.remove("ann", "nothing")] == [1, 0, 0]
    assert gallery.remove("ann") == 2
    assert gallery.subjects() == {} and gallery.search(axis(0)[None], 3) == [[]]


def test_rename_to_a_new_name_to_itself_and_to_somebody(make):
    gallery = make()
    gallery.add([template("ann", "p", axis(0)), template("ann", "q", axis(1)), template("bob", "q", axis(2))])
    assert gallery.rename("ann", "ann") == 0
    assert gallery.rename("nobody", "bob") == 0
    assert gallery.rename("ann", "anna") == 2
    assert gallery.subjects() == {"anna": 2, "bob": 1}
    assert found(gallery, axis(0)) == [("anna", 0, "p")]
    assert gallery.rename("anna", "bob") == 2  # the photo that both had is there once
    assert gallery.subjects() == {"bob": 2}
    assert {each.photo: each.subject for each in gallery.templates("bob")} == {"p": "bob", "q": "bob"}
    assert gallery.remove("bob") == 2 and len(gallery) == 0


@pytest.mark.parametrize("bad", [template("x", "p", axis(0), "test/2"), template("x", "p", np.zeros(DIM + 1))])
def test_templates_of_another_engine_are_refused_and_none_is_added(make, bad):
    gallery = make()
    with pytest.raises(EngineMismatch):
        gallery.add([template("ann", "p", axis(0)), bad])
    assert len(gallery) == 0 and found(gallery, axis(0)) == []


def test_what_comes_out_is_a_copy(make):
    gallery = make()
    vector = axis(0)
    gallery.add([template("ann", "p", vector)])
    vector[:] = 9
    gallery.templates("ann")[0].embedding.vector[:] = 9
    gallery.subjects()["ann"] = 9
    assert found(gallery, axis(0)) == [("ann", 0, "p")] and gallery.subjects() == {"ann": 1}


# --- any sequence of changes, against a dict -------------------------------------------------------------------------

subjects = st.sampled_from(["ann", "bob", "cid", "dee"])
photo_ids = st.sampled_from(["p", "q", "r"])
vectors = st.tuples(*[st.integers(-3, 3)] * DIM)


class Model(RuleBasedStateMachine):
    """The gallery beside a dict of (subject, photo) -> vector that is changed in the same way."""

    make = None

    @initialize()
    def start(self):
        self.gallery, self.truth = type(self).make(), {}

    @rule(items=st.lists(st.tuples(subjects, photo_ids, vectors), max_size=5))
    def add(self, items):
        self.gallery.add([template(*item) for item in items])
        self.truth.update({(subject, photo): vector for subject, photo, vector in items})

    @rule(subject=subjects, photo=photo_ids)
    def remove_photo(self, subject, photo):
        assert self.gallery.remove(subject, photo) == (self.truth.pop((subject, photo), None) is not None)

    @rule(subject=subjects)
    def remove_subject(self, subject):
        gone = [key for key in self.truth if key[0] == subject]
        assert self.gallery.remove(subject) == len(gone)
        for key in gone:
            del self.truth[key]

    @rule(old=subjects, new=subjects)
    def rename(self, old, new):
        moved = {key: vector for key, vector in self.truth.items() if key[0] == old and old != new}
        assert self.gallery.rename(old, new) == len(moved)
        for key, vector in moved.items():
            del self.truth[key]
            self.truth[new, key[1]] = vector

    @rule(probes=st.lists(vectors, max_size=3), k=st.integers(1, 5))
    def search(self, probes, k):
        answers = self.gallery.search(np.array(probes, np.float32).reshape(-1, DIM), k)
        assert len(answers) == len(probes)
        for probe, answer in zip(probes, answers, strict=True):
            distances = {}
            for (subject, _), vector in self.truth.items():
                distance = float(np.linalg.norm(np.subtract(vector, probe)))
                distances[subject] = min(distances.get(subject, np.inf), distance)
            assert [c.distance for c in answer] == pytest.approx(sorted(distances.values())[:k])
            assert len({c.subject for c in answer}) == len(answer)
            for c in answer:
                assert c.distance == pytest.approx(distances[c.subject])
                assert c.distance == pytest.approx(np.linalg.norm(np.subtract(self.truth[c.subject, c.photo], probe)))

    @invariant()
    def holds_what_the_dict_holds(self):
        if not hasattr(self, "gallery"):
            return
        held = {
            (each.subject, each.photo): tuple(each.embedding.vector.tolist())
            for subject in self.gallery.subjects()
            for each in self.gallery.templates(subject)
        }
        assert held == self.truth and len(self.gallery) == len(self.truth)
        assert sum(self.gallery.subjects().values()) == len(self.truth)


@pytest.mark.slow
def test_any_sequence_of_changes_gives_what_a_dict_gives(make):
    machine = type("ModelOfOne", (Model,), {"make": staticmethod(make)})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=min(150, make.tried(600)), stateful_step_count=30, deadline=None),
    )


# --- growing, packing, forgetting ------------------------------------------------------------------------------------


def test_many_removals_and_additions_leave_search_right(make_in_memory):
    gallery, rng = make_in_memory(8), np.random.default_rng(5)
    truth = {}
    for turn in range(12):
        fresh = {(f"s{rng.integers(60)}", f"{turn}-{i}"): rng.normal(size=8).astype(np.float32) for i in range(400)}
        gallery.add([template(*key, vector) for key, vector in fresh.items()])
        truth.update(fresh)
        for key in [key for key in truth if rng.random() < 0.8]:
            assert gallery.remove(*key) == 1
            del truth[key]
        probe = rng.normal(size=8).astype(np.float32)
        best = {}
        for (subject, _), vector in truth.items():
            best[subject] = min(best.get(subject, np.inf), float(np.linalg.norm(vector - probe)))
        assert [(s, round(d, 5)) for s, d, _ in found(gallery, probe, 5)] == [
            (s, round(d, 5)) for s, d in sorted(best.items(), key=lambda item: item[1])[:5]
        ]
        assert len(gallery) == len(truth)


def arrays_within(thing, seen: set) -> list[np.ndarray]:
    """Every array that can be reached from `thing`."""
    if id(thing) in seen or isinstance(thing, (type, type(pytest))):
        return []
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return [thing]
    return [array for part in gc.get_referents(thing) for array in arrays_within(part, seen)]


def holds(gallery, vector) -> bool:
    data = np.array(vector, np.float32).tobytes()
    return any(data in array.tobytes() for array in arrays_within(gallery, set()))


@pytest.mark.parametrize("way", ["photo", "subject", "replaced", "replaced by renaming"])
def test_a_removed_vector_is_gone_from_memory(make_in_memory, way):
    gallery = make_in_memory()
    secret = [0.1234567, -7.654321, 3.1415927, 2.7182817]
    gallery.add([template("ann", "p", secret), template("bob", "p", axis(0)), template("cid", "p", axis(1))])
    assert holds(gallery, secret)
    if way == "photo":
        gallery.remove("ann", "p")
    elif way == "subject":
        gallery.remove("ann")
    elif way == "replaced":
        gallery.add([template("ann", "p", axis(2))])
    else:
        gallery.rename("bob", "ann")
    assert not holds(gallery, secret)


def test_the_name_and_photos_of_the_removed_are_gone_once_the_gallery_is_packed(make_in_memory):
    gallery = make_in_memory()
    name, photo = "".join(["Removed ", "Person"]), "".join(["photo-", "17"])
    gallery.add([template(name, photo, axis(0))])
    gallery.remove(name)
    for i in range(3000):
        gallery.add([template("ann", "p", axis(i % DIM))])
    assert not any(text in repr(part) for part in gc.get_referents(gallery) for text in (name, photo))


@pytest.fixture(scope="module")
def very_many() -> tuple:
    """200,000 vectors, and the templates of them."""
    vectors = np.random.default_rng(1).normal(size=(200_000, 128)).astype(np.float32)
    return vectors, [template(f"s{i // 4}", f"p{i}", vectors[i]) for i in range(len(vectors))]


@pytest.mark.slow
def test_two_hundred_thousand_templates(make_in_memory, very_many):
    gallery, rng = make_in_memory(128), np.random.default_rng(2)
    vectors, templates = very_many
    for part in itertools.batched(templates, 50_000) if sys.version_info >= (3, 12) else [templates]:
        gallery.add(list(part))
    assert len(gallery) == 200_000 and len(gallery.subjects()) == 50_000
    picked = rng.integers(0, len(vectors), 8)
    answers = gallery.search(vectors[picked], 3)
    assert [(c[0].subject, c[0].photo, c[0].distance) for c in answers] == [(f"s{i // 4}", f"p{i}", 0.0) for i in picked]
    assert gallery.remove("s7") == 4 and len(gallery) == 199_996
    assert gallery.search(vectors[28:29])[0][0].subject != "s7"


# --- from many threads: one call is one step for everybody else ------------------------------------------------------


@contextmanager
def meanwhile(*works):
    """Each of `works` over and over in a thread of its own until the block ends; what they raise is raised here."""
    stop, errors = threading.Event(), []

    def again(work):
        try:
            while not stop.is_set():
                work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=again, args=(work,)) for work in works]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        sys.setswitchinterval(before)
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


ROUNDS = 1500


def crowd(make, dim=32):
    """Templates far away, so that a search takes a while."""
    rng = np.random.default_rng(2)
    return [template(f"far{i}", "p", rng.normal(size=dim) + 50) for i in range(make.crowd)]


@pytest.mark.slow
def test_a_template_that_is_replaced_is_never_missing(make):
    gallery = make(32)
    gallery.add([*crowd(make), template("ann", "p", axis(0, 32))])
    with meanwhile(lambda: gallery.add([template("ann", "p", axis(0, 32))])):
        for _ in range(make.tried(ROUNDS)):
            assert found(gallery, axis(0, 32)) == [("ann", 0, "p")]


@pytest.mark.slow
def test_a_template_that_is_removed_is_found_at_its_own_distance_or_not_at_all(make):
    """A row that is cleared while it is compared would be a vector of zeros: near to every short probe."""
    gallery = make(32)
    gallery.add(crowd(make))
    probe, other = axis(0, 32, 0.5), -axis(0, 32, 0.5)
    expected = {("ann", 1.0)}

    def come_and_go():
        gallery.add([template("ann", "p", other)])
        gallery.remove("ann")

    with meanwhile(come_and_go):
        for _ in range(make.tried(ROUNDS)):
            subject, distance, _ = found(gallery, probe)[0]
            assert (subject, distance) in expected or subject.startswith("far")


@pytest.mark.slow
def test_a_subject_that_is_renamed_always_has_one_of_its_names(make):
    gallery = make(32)
    gallery.add([*crowd(make), template("ann", "p", axis(0, 32)), template("ann", "q", axis(1, 32))])

    def rename():
        assert gallery.rename("ann", "anna") == 2
        assert gallery.rename("anna", "ann") == 2

    with meanwhile(rename):
        for _ in range(make.tried(ROUNDS)):
            first, second = found(gallery, axis(0, 32), 2)
            assert first[0] in ("ann", "anna") and first[1] == 0
            assert second[0].startswith("far")  # never under both names at once


@pytest.mark.slow
def test_everything_at_once(make):
    gallery, counter = make(8), itertools.count()
    rng = np.random.default_rng(4)
    gallery.add([template("rock", "p", axis(0, 8, 100))])

    def add():
        i = next(counter)
        gallery.add([template(f"s{i % 50}", f"p{j}", axis(j % 8, 8)) for j in range(i % 7)])

    def remove():
        gallery.remove(f"s{next(counter) % 50}")

    def rename():
        i = next(counter)
        gallery.rename(f"s{i % 50}", f"s{(i * 7) % 50}")

    with meanwhile(add, add, remove, rename):
        for _ in range(make.tried(ROUNDS // 3)):
            assert found(gallery, axis(0, 8, 100)) == [("rock", 0, "p")]
            assert len(gallery) >= 1
            counted = gallery.subjects()
            assert counted["rock"] == 1
            for subject in rng.choice(list(counted), 2):
                assert all(each.subject == subject for each in gallery.templates(subject))
    assert len(gallery) == sum(gallery.subjects().values())
    assert len(gallery) == sum(len(gallery.templates(subject)) for subject in gallery.subjects())


# --- the cohort ------------------------------------------------------------------------------------------------------


def test_the_cohort_is_compared_by_the_first_photo_of_each(make):
    gallery = make()
    assert gallery.cohort(np.zeros((2, DIM))).shape == (2, 0)
    gallery.add([template("ann", "q", axis(0)), template("ann", "p", axis(1)), template("bob", "q", axis(2, length=3))])
    near = gallery.cohort(np.stack([axis(1), axis(2)]))
    assert np.sort(near, axis=1) == pytest.approx(np.array([[0, np.sqrt(10)], [np.sqrt(2), 2]]))


def test_the_cohort_follows_every_change(make):
    gallery = make()
    gallery.add([template(str(i), "p", axis(0, length=i)) for i in range(200)])

    def there():
        return sorted(np.rint(gallery.cohort(np.zeros((1, DIM)))[0]).astype(int).tolist())

    def expected(*people):
        return sorted(int(each) for each in cohort.members(people))

    people = [str(i) for i in range(200)]
    assert there() == expected(*people) and len(there()) == cohort.SIZE
    gone = cohort.members(people)[3]
    gallery.remove(gone)
    people.remove(gone)
    assert there() == expected(*people)
    later = [str(i) for i in range(200, 260)]
    gallery.add([template(each, "p", axis(0, length=int(each))) for each in later])
    assert there() == expected(*people, *later)
    first = cohort.members([*people, *later])[0]
    gallery.add([template(first, "p", axis(0, length=999))])  # the same photo anew
    assert there() == sorted([*(each for each in expected(*people, *later) if each != int(first)), 999])
    gallery.remove(first)
    assert 999 not in there()
