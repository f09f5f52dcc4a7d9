"""The names of the folders, kept while they are current, and looks at what changed only."""

from __future__ import annotations

import os
import time

import pytest

from recognizer.enrolment.folder import FolderMark, KnownFaces
from recognizer.enrolment.folder_index import FolderIndex

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
    def test_a_change_in_the_same_tick_is_seen_after_it(self, root):
        index = FolderIndex(root)
        index.refresh()
        (root / "late").mkdir()
        os.utime(root, ns=(time.time_ns(), index._mark[2]))  # the mark that the index knows
        time.sleep(0.025)
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
