"""The watcher: what happens in the folder is enrolled without being asked, however the system tells of it."""

import os
import shutil
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from recognizer.enrolment import watcher as watcher_module
from recognizer.enrolment.encodings import photo_id
from recognizer.enrolment.folder_watching import NEWS_SECONDS, RepeatedFailures, announced
from recognizer.enrolment.watcher import Watcher

from .enrolling import Home, eventually


@pytest.fixture(params=[False, True], ids=["announced", "polled"])
def watched(request, tmp_path, engine, recipe):
    """A home whose folder is watched, and a function that waits until exactly these photos are enrolled."""
    home = Home(tmp_path, engine, recipe)
    enrolment = home.enrolment()
    enrolment.sync()
    watcher = Watcher(enrolment, poll=request.param)

    def enrolled(expected: dict[str, list[bytes]]) -> bool:
        gallery, wanted = enrolment.gallery, {name: {photo_id(each) for each in data} for name, data in expected.items()}

        def now():
            return {name: {each.photo for each in gallery.templates(name)} for name in gallery.subjects()}

        return eventually(lambda: now() == wanted) or now() == wanted

    yield home, enrolment, enrolled
    watcher.close()
    home.close()


@pytest.mark.slow
def test_dropping_renaming_changing_and_deleting(watched, faces):
    home, enrolment, enrolled = watched
    obama, biden, collins = faces["obama"], faces["biden"], faces["collins"]
    assert enrolled({})
    home.put("Obama/1.jpg", obama)
    assert enrolled({"Obama": [obama]})
    home.put("Biden/1.jpg", biden)
    home.put("Biden/2.jpg", collins)
    assert enrolled({"Obama": [obama], "Biden": [biden, collins]})
    (home.known.root / "Biden").rename(home.known.root / "Joe Biden")
    assert enrolled({"Obama": [obama], "Joe Biden": [biden, collins]})
    (home.known.root / "Joe Biden/2.jpg").unlink()
    assert enrolled({"Obama": [obama], "Joe Biden": [biden]})
    home.put("Obama/1.jpg", collins)
    assert enrolled({"Obama": [collins], "Joe Biden": [biden]})
    shutil.rmtree(home.known.root / "Obama")
    assert enrolled({"Joe Biden": [biden]})


@pytest.mark.slow
def test_a_file_that_cannot_be_used_is_told_and_stops_nothing(watched, faces):
    home, enrolment, enrolled = watched
    home.put("Ann/notes.txt", b"no photo")
    home.put("loose.jpg", faces["obama"])
    home.put("Ann/1.jpg", faces["obama"])
    assert enrolled({"Ann": [faces["obama"]]})
    expected = [("Ann/notes.txt", "unsupported_image"), ("loose.jpg", "not_in_a_folder")]
    assert eventually(lambda: [(problem.path, problem.code) for problem in enrolment.problems()] == expected)


@pytest.mark.slow
def test_a_folder_copied_as_a_whole(watched, faces, tmp_path):
    home, _, enrolled = watched
    source = tmp_path / "source"
    for name, data in faces.items():
        (source / name).mkdir(parents=True)
        (source / name / "1.jpg").write_bytes(data)
    shutil.copytree(source, home.known.root, dirs_exist_ok=True)
    assert enrolled({name: [data] for name, data in faces.items()})


@pytest.mark.slow
def test_the_folder_that_goes_and_comes_back(watched, faces):
    """A network share that is gone for a while, or somebody who moves the folder: nothing stops for good."""
    home, enrolment, enrolled = watched
    home.put("Ann/1.jpg", faces["obama"])
    assert enrolled({"Ann": [faces["obama"]]})
    aside = home.root / "aside"
    home.known.root.rename(aside)
    assert not eventually_after_a_while(enrolment)
    aside.rename(home.known.root)
    home.put("Bob/1.jpg", faces["biden"])
    assert enrolled({"Ann": [faces["obama"]], "Bob": [faces["biden"]]})


def eventually_after_a_while(enrolment) -> bool:
    """Whether anybody was forgotten while the folder could not be read at all."""
    threading.Event().wait(2)
    return len(enrolment.gallery) == 0


@pytest.mark.slow
def test_closing_ends_the_threads_and_what_comes_later_is_not_enrolled(tmp_path, engine, recipe, faces):
    home = Home(tmp_path, engine, recipe)
    enrolment = home.enrolment()
    before = set(threading.enumerate())
    watchers = [Watcher(enrolment), Watcher(enrolment, poll=True)]
    assert len(set(threading.enumerate()) - before) == 5
    for each in watchers:
        each.close()
    assert set(threading.enumerate()) <= before
    home.put("Ann/1.jpg", faces["obama"])
    threading.Event().wait(1.5)
    assert len(enrolment.gallery) == 0
    home.close()


@pytest.mark.slow
def test_without_announcements_the_folder_is_polled(tmp_path, engine, recipe, faces, monkeypatch, caplog):
    """A system that has run out of watches: the real thread, with a listener that fails as watchfiles does then."""
    import watchfiles

    refused = []

    def refuse(*args, **kwargs):
        refused.append(args)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watchfiles, "watch", refuse)
    monkeypatch.setattr(watcher_module, "RETRY", 0.01)
    monkeypatch.setattr(watcher_module, "REGULAR", 3600.0)
    home = Home(tmp_path, engine, recipe)
    enrolment = home.enrolment()
    watcher = Watcher(enrolment)
    try:
        home.put("Ann/1.jpg", faces["obama"])
        assert eventually(lambda: len(enrolment.gallery) == 1 and len(refused) > 3)
        assert sum("are not announced" in each.message for each in caplog.records) == 1
    finally:
        watcher.close()
        home.close()


def test_a_failure_is_news_again_once_it_was_over():
    times = [0, 5, 10, 10 + NEWS_SECONDS - 1, 10 + 3 * NEWS_SECONDS, 15 + 3 * NEWS_SECONDS]
    failures = RepeatedFailures(iter([*times, times[-1]]).__next__)
    told = [failures.news(OSError(28, "No space left on device")) for _ in times]
    assert [each is not None for each in told] == [True, False, False, False, True, False]
    assert told[0] == "[Errno 28] No space left on device"
    assert failures.news(OSError("another")) == "another"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_what_is_said_of_names_that_are_not_unicode_has_no_name(tmp_path):
    failures, said = RepeatedFailures(), []
    for number in b"\xfe\xff":
        begun = False
        with pytest.raises(RuntimeError) as caught:
            for _ in announced(tmp_path, threading.Event()):
                if not begun:
                    (tmp_path / os.fsdecode(b"Ada's " + bytes([number]))).mkdir()
                begun = True
        assert "Ada" in str(caught.value)
        said.append(failures.news(caught.value))
    assert said[0] is not None and "decode" in said[0] and "Ada" not in said[0] and str(tmp_path) not in said[0]
    assert said[1] is None


@pytest.mark.slow
def test_an_error_in_one_look_is_followed_by_another(tmp_path, engine, recipe, faces, monkeypatch):
    home = Home(tmp_path, engine, recipe)
    enrolment = home.enrolment()
    looks, real = [], enrolment.sync

    def fail_twice(**options):
        looks.append(1)
        if len(looks) < 3:
            raise RuntimeError("as a broken disk might")
        return real(**options)

    monkeypatch.setattr(enrolment, "sync", fail_twice)
    monkeypatch.setattr(watcher_module, "REGULAR", 0.1)
    watcher = Watcher(enrolment)
    try:
        home.put("Ann/1.jpg", faces["obama"])
        assert eventually(lambda: len(enrolment.gallery) == 1)
    finally:
        watcher.close()
        home.close()


def test_a_folder_that_is_polled_is_polled_too_while_a_consent_is_about_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(watcher_module, "POLL", 0.01)

    class Expiring:
        """Somebody's consent always ends in an hour."""

        folder = SimpleNamespace(root=tmp_path)
        look_seconds, looks = 0.0, 0

        def next_expiry(self) -> float:
            return time.time() + 3600

        def sync(self, **options) -> bool:
            self.looks += 1
            return False

        def others_changed(self) -> bool:
            return False

        def interrupt(self) -> None:
            pass

    monkeypatch.setattr(watcher_module, "REGULAR", 7200.0)
    enrolment = Expiring()
    watcher = Watcher(enrolment, poll=True)
    try:
        assert eventually(lambda: enrolment.looks >= 3)
    finally:
        watcher.close()
