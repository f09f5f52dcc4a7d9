"""The names of the folders, kept while they are current, and looks at what changed only."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress

import pytest

from recognizer.enrolment import folder_index
from recognizer.enrolment.folder import KnownFaces
from recognizer.enrolment.folder_index import TRASH, FolderIndex
from recognizer.enrolment.folder_look import FolderMark

OLD = 1_700_000_000


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "known"
    folder.mkdir()
    return folder


def put(root, path: str, content: bytes = b"x"):
    file = root / path
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    return file


def age(*places):
    """Let places look as if nothing had changed for long."""
    for place in places:
        os.utime(place, (OLD, OLD))


class TestIndex:
    def test_finds_folders_however_they_are_written(self, root):
        (root / "Zoe\u0308").mkdir()  # decomposed, as macOS writes it
        index = FolderIndex(root)
        index.refresh()
        assert index.folder_of("Zo\u00eb") == "Zoe\u0308" and index.folder_of("Zoe") is None

    def test_knows_names_that_differ_only_in_case(self, root):
        (root / "ada").mkdir()
        index = FolderIndex(root)
        index.refresh()
        assert index.clash("Ada") == "ada" and index.clash("ada") is None

    def test_sees_what_comes_and_goes_at_once(self, root):
        index = FolderIndex(root)
        for turn in range(20):
            (root / f"person {turn}").mkdir()
            time.sleep(0.021 if turn % 5 == 0 else 0)  # within the clock's tick and after it
        time.sleep(0.021)
        index.refresh()
        assert len(dict(index.subjects())) == 20
        (root / "person 3").rmdir()
        time.sleep(0.021)
        index.refresh()
        assert index.folder_of("person 3") is None and index.folder_of("person 4") == "person 4"

    @pytest.mark.file_times
    def test_a_change_in_the_same_tick_is_seen_after_it(self, root, monkeypatch):
        now = time.time_ns() // 1_000_000_000 * 1_000_000_000 + 123_456_789
        monkeypatch.setattr(time, "time_ns", lambda: now)
        os.utime(root, ns=(now, now))
        index = FolderIndex(root)
        index.refresh()
        (root / "late").mkdir()
        os.utime(root, ns=(now, now))  # the mark that the index knows
        monkeypatch.setattr(time, "time_ns", lambda: now + 25_000_000)
        index.refresh()
        assert index.folder_of("late") == "late"

    def test_names_that_are_not_listed_again_cost_no_listing(self, root, monkeypatch):
        (root / "ada").mkdir()
        age(root)
        index = FolderIndex(root)
        index.refresh()
        monkeypatch.setattr(os, "scandir", lambda path: pytest.fail("listed again"))
        index.refresh()
        assert index.folder_of("ada") == "ada"

    def test_files_links_and_bad_names_are_not_in_it(self, root):
        put(root, "a file")
        (root / "to").symlink_to(root)
        (root / ".hidden").mkdir()
        (root / "ends with a dot.").mkdir()
        index = FolderIndex(root)
        index.refresh()
        assert dict(index.subjects()) == {}


class Listings:
    """Counts how often a folder is listed."""

    def __init__(self, root, monkeypatch):
        self.count, listed = 0, os.scandir

        def scandir(path="."):
            self.count += str(path) == str(root)
            return listed(path)

        monkeypatch.setattr(os, "scandir", scandir)


@pytest.fixture
def never_verified(monkeypatch):
    """What may have been overlooked at the moment of an own change is not looked for again."""
    monkeypatch.setattr(folder_index, "_VERIFY_AT_LATEST", 1_000_000_000)
    monkeypatch.setattr(folder_index, "_VERIFY_AFTER", 1_000_000_000)


@pytest.fixture
def clock(monkeypatch):
    """A clock of modification times that has moved on after every change, as `time.sleep` would let it."""
    monkeypatch.setattr(folder_index, "_clock_of_files", lambda: time.time_ns() + 10**9)


@pytest.mark.file_times
class TestOwnChanges:
    def test_are_known_without_listing_the_names(self, root, monkeypatch, never_verified, clock):
        (root / "ada").mkdir()
        age(root)
        index = FolderIndex(root)
        index.refresh()
        listings = Listings(root, monkeypatch)
        with index.own_change(new=["Zo\u00eb"]):
            (root / "Zo\u00eb").mkdir()
        index.settle()
        with index.own_change(gone=["ada"], new=["Grace"]):
            (root / "ada").rename(root / "Grace")
        index.settle()
        index.refresh()
        assert index.clash("zo\u00eb") == "Zo\u00eb" and index.folder_of("Grace") == "Grace" and index.folder_of("ada") is None
        with index.own_change(gone=["Grace"]):
            (root / "Grace").rmdir()
        index.settle()
        index.refresh()
        assert [name for name, _ in index.subjects()] == ["Zo\u00eb"] and listings.count == 0

    def test_that_go_on_for_long_are_known_without_listing_the_names(self, root, monkeypatch, never_verified, clock):
        age(root)
        index = FolderIndex(root)
        index.refresh()
        listings = Listings(root, monkeypatch)
        with index.own_change(new=[".deleted-1"]):
            (root / ".deleted-1").mkdir()
        time.sleep(0.025)  # what is put into it is being written
        with index.own_change(gone=[".deleted-1"], new=["ada"]):
            (root / ".deleted-1").rename(root / "ada")
        index.settle()
        time.sleep(0.025)
        index.refresh()
        assert index.folder_of("ada") == "ada" and index.left_over == [] and listings.count == 0

    def test_do_not_hide_what_others_changed_before(self, root, never_verified, clock):
        index = FolderIndex(root)
        age(root)
        index.refresh()
        (root / "theirs").mkdir()
        with index.own_change(new=["ours"]):
            (root / "ours").mkdir()
        index.settle()
        index.refresh()
        assert {name for name, _ in index.subjects()} == {"ours", "theirs"}

    def test_do_not_hide_what_others_changed_afterwards(self, root, never_verified, clock):
        index = FolderIndex(root)
        age(root)
        index.refresh()
        with index.own_change(new=["ours"]):
            (root / "ours").mkdir()
        index.settle()
        time.sleep(0.021)  # the clock of a file system may stand still for as long
        (root / "theirs").mkdir()
        index.refresh()
        assert {name for name, _ in index.subjects()} == {"ours", "theirs"}

    @pytest.mark.parametrize("verify", [True, False])
    def test_what_happened_at_the_very_same_moment_is_found_soon(self, root, monkeypatch, verify, clock):
        monkeypatch.setattr(folder_index, "_VERIFY_AFTER" if verify else "_VERIFY_AT_LATEST", 0)
        monkeypatch.setattr(folder_index, "_VERIFY_AT_LATEST" if verify else "_VERIFY_AFTER", 1_000_000_000)
        age(root)
        index = FolderIndex(root)
        index.refresh()
        with index.own_change(new=["ours"]):
            (root / "ours").mkdir()
            (root / "theirs").mkdir()
        index.settle()
        time.sleep(0.025)
        index.refresh(verify=verify)
        assert {name for name, _ in index.subjects()} == {"ours", "theirs"}
        listings = Listings(root, monkeypatch)
        index.refresh(verify=verify)
        assert not listings.count  # found once, it is not looked for again

    def test_somebody_who_follows_the_folder_finds_it_at_once(self, root, never_verified, clock):
        known = KnownFaces(root)
        known.names()
        age(root)
        known.names()
        with known._index.own_change():
            put(root, "theirs/1.jpg")
        known._index.settle()
        assert known.names() == []
        look = known.look({}, ["theirs"])
        assert look.folders == {"theirs"} and known.names() == ["theirs"]

    def test_a_look_at_everything_finds_it(self, root, never_verified, clock):
        known = KnownFaces(root)
        age(root)
        known.names()
        with known._index.own_change():
            put(root, "theirs/1.jpg")
        known._index.settle()
        known.look({})
        assert known.names() == ["theirs"]

    def test_a_listing_from_before_an_own_change_does_not_undo_it(self, root, never_verified, clock):
        age(root)
        index = FolderIndex(root)
        index.refresh()
        begun = index.begin()
        with index.own_change(new=["ours"]):
            (root / "ours").mkdir()
        index.settle()
        index.take(begun, [])
        assert [name for name, _ in index.subjects()] == ["ours"]

    def test_while_the_clock_stands_still_the_names_are_listed_again(self, root, monkeypatch, never_verified):
        monkeypatch.setattr(folder_index, "_clock_of_files", lambda: 0)
        age(root)
        index = FolderIndex(root)
        index.refresh()
        with index.own_change(new=["ours"]):
            (root / "ours").mkdir()
        (root / "theirs").mkdir()
        os.utime(root, ns=(time.time_ns(), index._mark[2]))
        index.settle()
        index.refresh()
        assert {name for name, _ in index.subjects()} == {"ours", "theirs"}

    def test_on_a_file_system_that_counts_seconds_the_names_are_listed_again(self, root, monkeypatch, never_verified, clock):
        age(root)
        index = FolderIndex(root)
        index.refresh()
        with index.own_change(new=["ours"]):
            (root / "ours").mkdir()
            (root / "theirs").mkdir()
            os.utime(root, (OLD + 1, OLD + 1))
        index.settle()
        index.refresh()
        assert {name for name, _ in index.subjects()} == {"ours", "theirs"}

    def test_a_change_that_failed_is_not_taken_over(self, root, never_verified, clock):
        put(root, "ada/1.jpg")
        age(root)
        index = FolderIndex(root)
        index.refresh()
        with suppress(OSError), index.own_change(gone=["ada"]):
            (root / "ada").rmdir()
        index.refresh()
        assert index.folder_of("ada") == "ada"

    def test_a_folder_in_the_place_of_another_is_listed(self, root, tmp_path, never_verified, clock):
        (tmp_path / "other" / "theirs").mkdir(parents=True)
        age(root)
        index = FolderIndex(root)
        index.refresh()
        with index.own_change(new=["ours"]):
            root.rename(tmp_path / "before")
            (tmp_path / "other").rename(root)
        index.settle()
        index.refresh()
        assert [name for name, _ in index.subjects()] == ["theirs"]


@pytest.mark.file_times
class TestKnownFacesChanges:
    @pytest.fixture
    def known(self, root, never_verified, clock):
        for name in ("ada", "bob", "eve"):
            put(root, f"{name}/1.jpg")
        age(root)
        known = KnownFaces(root)
        known.names()
        return known

    def test_cost_no_listing(self, root, known, monkeypatch):
        listings = Listings(root, monkeypatch)
        known.add("Grace", "photo", "jpg", b"x")
        known.rename_subject("ada", "Ada")
        known.rename_subject("bob", "Ada", merge=True)
        known.make_folder("empty")
        known.remove_folder_without_files("empty")
        known.remove_subject("eve")
        known.remove_files(["Grace/photo.jpg"])
        known.sweep("Ada")
        assert known.names() == ["Ada"] and known.subject_folder("grace") is None
        assert listings.count == 0
        assert sorted(os.listdir(root)) == ["Ada"] and len(os.listdir(root / "Ada")) == 2

    def test_what_is_undone_is_known_as_well(self, root, known, monkeypatch):
        listings = Listings(root, monkeypatch)
        for change in (known.subject_set_aside("eve"), known.subject_renamed("eve", "Grace")):
            with pytest.raises(RuntimeError), change:
                assert "eve" not in known.names()
                raise RuntimeError
            assert sorted(known.names()) == ["ada", "bob", "eve"]
        assert listings.count == 0

    @pytest.mark.parametrize("method", ["_mark_now", "_refresh"])
    def test_what_the_disk_refuses_the_index_loses_no_folder(self, root, known, monkeypatch, method):
        usual = getattr(FolderIndex, method)

        def refuse(index, *given):
            if any(name.startswith(TRASH) for name in os.listdir(root)):
                raise OSError(5, "Input/output error")
            return usual(index, *given)

        monkeypatch.setattr(FolderIndex, method, refuse)
        with pytest.raises(RuntimeError), known.subject_set_aside("bob"):
            raise RuntimeError
        known.remove_subject("eve")
        assert sorted(os.listdir(root)) == ["ada", "bob"] and sorted(known.names()) == ["ada", "bob"]

    def test_nothing_of_a_name_is_known_within_an_erasure(self, known):
        with known.subject_set_aside("eve"):
            assert known.subject_folder("eve") is None and known.clash("EVE") is None and not known.has_folder_named("eve")

    def test_sweeping_finds_what_another_process_left(self, root, known, monkeypatch):
        put(root, ".deleted-1/2.jpg")
        put(root, ".part-1")
        (root / ".deleted-2").symlink_to(root / "ada")
        put(root, "ada/.part-2")
        put(root, "bob/.part-2")
        known.sweep("ada")
        assert sorted(os.listdir(root)) == ["ada", "bob", "eve"]
        assert os.listdir(root / "ada") == ["1.jpg"] and len(os.listdir(root / "bob")) == 2

    def test_sweeping_finds_what_was_left_right_after_an_own_change(self, root, known):
        known.add("Grace", "photo", "jpg", b"x")
        time.sleep(0.021)
        put(root, ".deleted-1/2.jpg")
        known.sweep("Grace")
        assert sorted(os.listdir(root)) == ["Grace", "ada", "bob", "eve"]

    def test_what_cannot_be_deleted_is_tried_again(self, root, known, monkeypatch):
        put(root, ".deleted-1/2.jpg")
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "rmtree", lambda path, **options: None)
            known.sweep("ada")
        assert (root / ".deleted-1").exists()
        known.sweep("ada")
        assert not (root / ".deleted-1").exists()


class TestLook:
    @pytest.mark.file_times
    def test_a_folder_that_has_its_mark_is_not_read(self, root):
        put(root, "ada/1.jpg")
        put(root, "bob/1.jpg")
        age(root / "ada", root / "bob")
        known = KnownFaces(root)
        first = known.look({})
        assert [photo.path for photo in first.photos] == ["ada/1.jpg", "bob/1.jpg"]
        marks = {name: each.mark for name, each in first.read.items()}
        assert all(isinstance(mark, FolderMark) for mark in marks.values())
        put(root, "bob/2.jpg")
        second = known.look(marks)
        assert [photo.path for photo in second.photos] == ["bob/1.jpg", "bob/2.jpg"] and second.folders == {"ada", "bob"}
        assert second.read["bob"].mark is None  # it changed a moment ago: a change more could leave the same time

    def test_some_names_only(self, root):
        put(root, "ada/1.jpg")
        put(root, "bob/1.jpg")
        known = KnownFaces(root)
        look = known.look({}, ["bob", "gone"])
        assert (look.folders, look.absent, [photo.path for photo in look.photos]) == ({"bob"}, {"gone"}, ["bob/1.jpg"])

    def test_of_two_alike_the_other_counts_when_the_first_is_gone(self, root):
        put(root, "Ada/1.jpg")
        put(root, "ada/1.jpg")
        known = KnownFaces(root)
        look = known.look({}, ["Ada"])
        assert look.folders == {"Ada"} and look.root_problems["ada"].code == "name_taken"
        os.rename(root / "Ada", root / "Grace")
        time.sleep(0.025)
        look = known.look({}, ["Ada", "Grace"])
        assert look.folders == {"ada", "Grace"} and not look.root_problems and look.absent == {"Ada"}
