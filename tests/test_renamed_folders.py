"""Folders that are renamed by hand: what is stored about the person elsewhere follows, also if no server ran meanwhile."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from recognizer.core import times
from recognizer.core.consent import Consent
from recognizer.core.errors import Busy
from recognizer.enrolment.renamed_folders import renamed
from recognizer.events.event_log import EventLog
from recognizer.service import make_service

from .e2e.homes import event

ONE, TWO, THREE = ("1" * 32, "only"), ("2" * 32, "only"), ("3" * 32, "only")


@pytest.mark.parametrize(
    "gone, there, found",
    [
        ({"Ada": [ONE, TWO]}, {"Bea": [ONE, TWO]}, {"Ada": "Bea"}),
        ({"Ada": [ONE]}, {"Bea": [ONE, TWO]}, {"Ada": "Bea"}),  # moved into the folder of somebody
        ({"Ada": [ONE]}, {"Bea": [ONE, TWO], "Cleo": [ONE]}, {"Ada": "Cleo"}),
        ({"Ada": [ONE]}, {"Bea": [ONE], "Cleo": [ONE]}, {}),  # copied twice: nobody knows which one is meant
        ({"Ada": [ONE]}, {"Bea": [ONE, TWO], "Cleo": [ONE, THREE]}, {}),
        ({"Ada": [ONE, TWO]}, {"Bea": [ONE], "Cleo": [TWO]}, {}),  # split
        ({"Ada": [ONE, TWO]}, {"Bea": [ONE]}, {}),
        ({"Ada": [ONE]}, {"Bea": [(ONE[0], "largest")]}, {}),  # another face of the same photo
        ({"Ada": [ONE], "Bea": [TWO]}, {"Cleo": [ONE], "Dora": [TWO]}, {"Ada": "Cleo", "Bea": "Dora"}),
        ({"Ada": [ONE]}, {}, {}),
    ],
)
def test_who_goes_on_under_another_name(gone, there, found):
    def pairs(people):
        return [(name, photo) for name, photos in people.items() for photo in photos]

    assert renamed(pairs(gone), pairs(there)) == found


@pytest.fixture
def run(settings):
    """Starts a service; the one before is closed first."""
    made = []

    def start():
        for each in made:
            each.close()
        made[:] = [make_service(settings)]
        made[0].start()
        return made[0]

    yield start
    for each in made:
        each.close()


@contextmanager
def events_of(service):
    log = EventLog(service.settings.state_dir / "events", vault=service.vault)
    try:
        yield log
    finally:
        log.close()


def happened(service, *subjects: str) -> None:
    with events_of(service) as log:
        log.append([event(subject=each) for each in subjects], [b"\xff\xd8 a face"] * len(subjects))


def named(service) -> list[str]:
    with events_of(service) as log:
        return [each["subject"] for each in log.read(0, 99)]


def expect_moved(service, old: str, new: str) -> None:
    assert named(service) == [new, "Bob"]
    assert old not in service.audit.names().values() and new in service.audit.names().values()
    line = list(service.audit.lines())[-1]
    assert (line["action"], line["actor"]) == ("rename", "folder")
    assert service.erasures.pending == 0
    assert service.subjects.delete(new)["photos"] == 1
    assert named(service) == [None, "Bob"]


@pytest.fixture
def ada(run, faces):
    service = run()
    service.subjects.enrol("Ada", faces["obama"])
    service.subjects.enrol("Bob", faces["biden"])
    happened(service, "Ada", "Bob")
    return service


def rename(service, old: str, new: str) -> None:
    folder = service.settings.known_faces
    (folder / old).rename(folder / new)


@pytest.mark.parametrize("announced", [["Ada"], ["Zoë"], ["Ada", "Zoë"], None])
def test_a_server_that_runs_follows_whatever_is_announced(ada, announced):
    id_ = ada.groups.default.ids.of("Ada").id
    ada.enrolment.set_consent("Ada", Consent("signed", times.iso_time(4e9)))
    rename(ada, "Ada", "Zoë")
    ada.enrolment.sync(changed=announced)
    ada.enrolment.sync()
    assert ada.enrolment.consent("Zoë").note == "signed" and ada.groups.default.ids.of("Zoë").id == id_
    expect_moved(ada, "Ada", "Zoë")


def test_a_request_that_comes_first_notices_it_too(ada):
    rename(ada, "Ada", "Zoë")
    assert ada.enrolment.catch_up("Ada")
    expect_moved(ada, "Ada", "Zoë")


def test_the_next_server_notices_what_happened_while_none_ran(ada, run):
    rename(ada, "Ada", "Zoë")
    service = run()
    service.enrolment.tidy()  # as a server does when it starts
    expect_moved(service, "Ada", "Zoë")


def test_only_the_case_of_a_name_changes(ada):
    rename(ada, "Ada", "ADA")
    ada.enrolment.sync()
    expect_moved(ada, "Ada", "ADA")


def test_somebody_of_a_group(run, faces):
    service = run()
    group = service.groups.add("staff")
    group.subjects.enrol("Ada", faces["obama"])
    happened(service, "staff/Ada", "Ada")
    folder = group.enrolment.folder.root
    (folder / "Ada").rename(folder / "Zoë")
    group.enrolment.sync()
    assert named(service) == ["staff/Zoë", "Ada"]  # the other Ada is in the default group


def test_a_folder_that_was_deleted_is_nobody_elses(ada):
    for file in (ada.settings.known_faces / "Ada").iterdir():
        file.unlink()
    (ada.settings.known_faces / "Ada").rmdir()
    ada.enrolment.sync()
    assert named(ada) == ["Ada", "Bob"] and "Ada" in ada.audit.names().values()


def test_what_could_not_be_done_is_done_by_the_next_look(ada, monkeypatch):
    rename(ada, "Ada", "Zoë")
    with monkeypatch.context() as patched:
        patched.setattr(type(ada.erasures.holdings), "anything", lambda *_: (_ for _ in ()).throw(Busy("not now")))
        with pytest.raises(Busy):
            ada.enrolment.sync()
    ada.enrolment.sync()
    expect_moved(ada, "Ada", "Zoë")


def test_events_that_are_stuck_are_renamed_later(ada, monkeypatch):
    rename(ada, "Ada", "Zoë")
    with monkeypatch.context() as patched:
        patched.setattr(type(ada.events), "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        ada.enrolment.sync()
    assert named(ada) == ["Ada", "Bob"] and ada.erasures.pending == 1
    assert ada.erasures.finish() == 1
    expect_moved(ada, "Ada", "Zoë")
