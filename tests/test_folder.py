"""known_faces/ on disk: what is seen in it, what is written to it, and what a kill leaves."""

import os
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from recognizer.core import consent
from recognizer.core.consent import Consent
from recognizer.core.errors import NameTaken, StorageError, SubjectNotFound
from recognizer.enrolment import folder as folder_module
from recognizer.enrolment.encodings import FileStamp, photo_id
from recognizer.enrolment.folder import KnownFaces

from . import template

ROOT = Path(__file__).resolve().parents[1]
NFC, NFD = "Zo\u00eb", "Zoe\u0308"


@pytest.fixture
def known(tmp_path) -> KnownFaces:
    return KnownFaces(tmp_path / "known_faces")


def put(known: KnownFaces, path: str, data: bytes = b"photo") -> Path:
    file = known.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def seen(known: KnownFaces) -> tuple[list[tuple[str, str]], list[tuple[str | None, str, str]]]:
    photos, problems = known.scan()
    return [(p.subject, p.path) for p in photos], [(p.subject, p.path, p.code) for p in problems]


def all_files(known: KnownFaces) -> set[str]:
    return {str(path.relative_to(known.root)) for path in known.root.rglob("*") if path.is_file()}


# --- scan ------------------------------------------------------------------------------------------------------------


def test_an_empty_folder_is_made_and_holds_nobody(tmp_path):
    known = KnownFaces(tmp_path / "a" / "b" / "known_faces")
    assert known.root.is_dir() and seen(known) == ([], [])
    assert known.subject_folder("ann") is None and known.clash("ann") is None and known.stamp("ann/p.jpg") is None
    known.remove_subject("ann")
    known.remove_files([])
    known.remove_files(["ann/nothing.jpg"])
    (known.root / "Empty Person").mkdir()
    assert seen(known) == ([], [])


@pytest.mark.parametrize(
    ("files", "photos", "problems"),
    [
        ([], [], []),
        (["Ann/a.jpg", "Ann/b.PNG", "Bob/x"], [("Ann", "Ann/a.jpg"), ("Ann", "Ann/b.PNG"), ("Bob", "Bob/x")], []),
        (["Ann/.DS_Store", ".git/config", ".hidden.jpg", "Ann/.part-1", ".deleted-1/a.jpg"], [], []),
        (["README.md", "Thumbs.db", "Ann/Thumbs.db", "Ann/desktop.ini", "Ann/readme.TXT"], [], []),
        (["loose.jpg"], [], [(None, "loose.jpg", "not_in_a_folder")]),
        (["Ann/more/a.jpg"], [], [("Ann", "Ann/more", "nested_folder")]),
        (
            ["Ann/a.jpg", "Ann/more/b.jpg", "Ann/more/deep/c.jpg"],
            [("Ann", "Ann/a.jpg")],
            [("Ann", "Ann/more", "nested_folder")],
        ),
        (["aux/a.jpg"], [], [(None, "aux", "invalid_name")]),
        (["Ann./a.jpg"], [], [(None, "Ann.", "invalid_name")]),
        (["a\u202eb/a.jpg"], [], [(None, "a\u202eb", "invalid_name")]),
        (["Ann\\Bob/a.jpg"], [], [(None, "Ann\\Bob", "invalid_name")]),
        (["A  B/a.jpg"], [("A B", "A  B/a.jpg")], []),
        ([f"{NFC}/a.jpg"], [(NFC, f"{NFC}/a.jpg")], []),
        ([f"{NFD}/{NFD}.jpg"], [(NFC, f"{NFD}/{NFD}.jpg")], []),
        (["Ann/a.jpg", "ann/b.jpg"], [("Ann", "Ann/a.jpg")], [(None, "ann", "name_taken")]),
        ([f"{NFD}/a.jpg", f"{NFC}/b.jpg"], [(NFC, f"{NFC}/b.jpg")], [(None, NFD, "name_taken")]),
        (["x" * 201 + "/a.jpg"], [], [(None, "x" * 201, "invalid_name")]),
    ],
    ids=lambda value: "" if isinstance(value, list) and value and isinstance(value[0], tuple) else None,
)
def test_what_is_seen(known, files, photos, problems):
    for file in files:
        put(known, file)
    assert seen(known) == (photos, problems)
    assert all(problem.message for problem in known.scan()[1])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_are_no_text_are_problems_that_can_be_shown(known):
    root = os.fsencode(known.root)
    os.mkdir(root + b"/caf\xe9")
    os.mkdir(root + b"/Ann")
    for name in (b"/caf\xe9/a.jpg", b"/Ann/\xff.jpg", b"/\xfe.jpg"):
        Path(os.fsdecode(root + name)).write_bytes(b"x")
    photos, problems = seen(known)
    assert photos == []
    assert {code for _, _, code in problems} == {"invalid_name", "not_in_a_folder"}
    for _, path, _ in problems:
        assert "\\" in path and path.encode()


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_symbolic_links_are_not_followed(known, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret.jpg").write_bytes(b"secret")
    put(known, "Ann/a.jpg")
    (known.root / "Bob").symlink_to(elsewhere)
    (known.root / "Ann" / "b.jpg").symlink_to(elsewhere / "secret.jpg")
    (known.root / "Ann" / "dangling.jpg").symlink_to(elsewhere / "nothing")
    (known.root / "Ann" / "c").symlink_to(elsewhere)
    photos, problems = seen(known)
    assert photos == [("Ann", "Ann/a.jpg")]
    assert {(path, code) for _, path, code in problems} == {
        (path, "symbolic_link") for path in ("Bob", "Ann/b.jpg", "Ann/c", "Ann/dangling.jpg")
    }


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_nothing_is_written_or_deleted_through_a_symbolic_link(known, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "theirs.jpg").write_bytes(b"theirs")
    (known.root / "Bob").symlink_to(elsewhere)
    assert known.subject_folder("Bob") is None
    with pytest.raises((StorageError, NameTaken)):
        known.add("Bob", "p", "jpg", b"data")
    with pytest.raises(SubjectNotFound):
        known.rename_subject("Bob", "Rob")
    known.remove_subject("Bob")
    assert [file.name for file in elsewhere.iterdir()] == ["theirs.jpg"]
    assert (known.root / "Bob").is_symlink()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_link_that_takes_a_photos_place_after_the_scan_is_not_followed(known, tmp_path):
    secret = tmp_path / "elsewhere" / "a.jpg"
    secret.parent.mkdir()
    secret.write_bytes(b"secret")
    photo = put(known, "Ann/a.jpg")
    assert known.read("Ann/a.jpg", 100) == b"photo"
    photo.unlink()
    photo.symlink_to(secret)
    with pytest.raises(OSError):
        known.read("Ann/a.jpg", 100)
    photo.unlink()
    (known.root / "Ann").rmdir()
    (known.root / "Ann").symlink_to(secret.parent)
    with pytest.raises(OSError):
        known.read("Ann/a.jpg", 100)
    os.mkfifo(known.root / "pipe.jpg")
    with pytest.raises(OSError):
        known.read("pipe.jpg", 100)


def test_what_is_no_regular_file_is_not_opened(known):
    (known.root / "Ann").mkdir()
    os.mkfifo(known.root / "Ann" / "pipe.jpg")
    assert seen(known) == ([], [("Ann", "Ann/pipe.jpg", "not_a_file")])


def test_a_subject_is_found_however_its_folder_is_written(known):
    put(known, f"{NFD}/a.jpg")
    put(known, "A  B/a.jpg")
    assert known.subject_folder(NFC).name == NFD
    assert known.subject_folder("A B").name == "A  B"
    assert known.add(NFC, "p", "jpg", b"x") == f"{NFD}/p.jpg"
    assert known.add("A B", "p", "jpg", b"x") == "A  B/p.jpg"
    known.remove_subject(NFC)
    assert all_files(known) == {"A  B/a.jpg", "A  B/p.jpg"}


@pytest.mark.parametrize(
    ("there", "wanted", "clash"),
    [
        ([], "Ann", None),
        (["Ann"], "Ann", None),
        (["Ann"], "ann", "Ann"),
        (["STRASSE"], "straße", "STRASSE"),
        ([NFD], NFC, None),
        (["Anna"], "Ann", None),
        (["CON"], "con", None),
    ],
)
def test_clash(known, there, wanted, clash):
    for name in there:
        (known.root / name).mkdir()
    assert known.clash(wanted) == clash


# --- writing ---------------------------------------------------------------------------------------------------------


def test_add_stores_the_very_bytes_under_the_id(known):
    data = bytes(range(256)) * 100
    path = known.add("Ann Lena", photo_id(data), "jpg", data)
    assert path == f"Ann Lena/{photo_id(data)}.jpg"
    assert known.file(path).read_bytes() == data
    assert known.stamp(path) == FileStamp.of(os.stat(known.file(path))) == known.scan()[0][0].stamp
    assert known.add("Ann Lena", photo_id(data), "jpg", data) == path  # again: the same file
    assert all_files(known) == {path}


def test_a_new_folder_appears_together_with_its_first_photo(known, monkeypatch):
    """A killed process leaves no empty folder with a name that nobody would erase."""
    write, shown = folder_module.write_durably, []

    def watched(*given):
        shown.extend(path.name for path in known.root.iterdir() if path.name[0] != ".")
        return write(*given)

    monkeypatch.setattr(folder_module, "write_durably", watched)
    assert known.add("Ada", "0" * 16, "jpg", b"photo") == f"Ada/{'0' * 16}.jpg"
    assert shown == [] and [path.name for path in known.root.iterdir()] == ["Ada"]


def test_a_folder_that_somebody_makes_meanwhile_is_used(known, monkeypatch):
    write = folder_module.write_durably

    def slow(*given):
        (known.root / "Ada").mkdir(exist_ok=True)
        (known.root / "Ada" / "own.jpg").write_bytes(b"another")
        return write(*given)

    monkeypatch.setattr(folder_module, "write_durably", slow)
    assert known.add("Ada", "0" * 16, "jpg", b"photo") == f"Ada/{'0' * 16}.jpg"
    assert sorted(path.name for path in (known.root / "Ada").iterdir()) == [f"{'0' * 16}.jpg", "own.jpg"]
    assert [path.name for path in known.root.iterdir()] == ["Ada"]


def test_add_refuses_a_name_that_some_systems_cannot_tell_apart(known):
    known.add("Ann", "p", "jpg", b"x")
    with pytest.raises(NameTaken) as caught:
        known.add("ANN", "q", "jpg", b"x")
    assert caught.value.details == {"subject": "Ann"}
    assert all_files(known) == {"Ann/p.jpg"}


def test_a_disk_that_refuses_is_a_storage_error_without_a_path_and_leaves_nothing(known):
    put(known, "Bob/a.jpg")
    (known.root / "Bob" / "p.jpg").mkdir()  # a folder where the photo should be
    with pytest.raises(StorageError) as caught:
        known.add("Bob", "p", "jpg", b"x")
    assert str(known.root) not in str(caught.value)
    assert all_files(known) == {"Bob/a.jpg"}


def test_remove_files_and_the_folder_with_the_last(known):
    for name in ("a", "b"):
        put(known, f"Ann/{name}.jpg")
    known.remove_files(["Ann/a.jpg", "Ann/gone.jpg"])
    assert all_files(known) == {"Ann/b.jpg"}
    known.remove_files(["Ann/b.jpg"])
    assert list(known.root.iterdir()) == []


def test_remove_subject_takes_everything_in_the_folder(known):
    for file in ("Ann/a.jpg", "Ann/notes.txt", "Ann/deep/er/b.jpg", "Ann/.hidden", "Bob/a.jpg"):
        put(known, file)
    known.remove_subject("Ann")
    assert [entry.name for entry in known.root.iterdir()] == ["Bob"]


@pytest.mark.parametrize(
    ("old", "new", "merge", "files"),
    [
        ("Ann", "Anna", False, {"Anna/a.jpg", "Bob/a.jpg", "Bob/b.jpg"}),
        ("Ann", "Anna", True, {"Anna/a.jpg", "Bob/a.jpg", "Bob/b.jpg"}),
        ("Ann", "ANN", False, {"ANN/a.jpg", "Bob/a.jpg", "Bob/b.jpg"}),
        ("Bob", "Ann", True, {"Ann/a.jpg", "Ann/b.jpg", "Ann/a-*.jpg"}),
    ],
)
def test_rename(known, old, new, merge, files):
    for file in ("Ann/a.jpg", "Bob/a.jpg", "Bob/b.jpg"):
        put(known, file, file.encode())
    known.rename_subject(old, new, merge)
    found = all_files(known)
    assert len(found) == 3
    for expected in files:
        assert any(Path(path).match(expected) for path in found)
    assert sorted((known.root / path).read_bytes() for path in found) == [b"Ann/a.jpg", b"Bob/a.jpg", b"Bob/b.jpg"]


@pytest.mark.parametrize(
    ("old", "new", "merge", "error"),
    [
        ("Nobody", "Anna", False, SubjectNotFound),
        ("Nobody", "Bob", True, SubjectNotFound),
        ("Ann", "Bob", False, NameTaken),
        ("Ann", "BOB", False, NameTaken),
        ("Ann", "BOB", True, NameTaken),
    ],
)
def test_rename_that_cannot_be_changes_nothing(known, old, new, merge, error):
    put(known, "Ann/a.jpg")
    put(known, "Bob/a.jpg")
    with pytest.raises(error):
        known.rename_subject(old, new, merge)
    assert all_files(known) == {"Ann/a.jpg", "Bob/a.jpg"}


def test_a_name_that_a_file_or_a_link_has_is_taken(known, tmp_path):
    put(known, "Bob/a.jpg")
    put(known, "Ann")
    (known.root / "Eve").symlink_to(tmp_path / "elsewhere")
    before = everything(known)
    for name in ("Ann", "Eve"):
        for change in (
            lambda name=name: known.add(name, "1" * 32, "jpg", b"a photo"),
            lambda name=name: known.make_folder(name),
            lambda name=name: known.rename_subject("Bob", name),
            lambda name=name: known.rename_subject("Bob", name, merge=True),
        ):
            with pytest.raises(NameTaken):
                change()
    assert everything(known) == before


def test_another_case_of_a_name_that_has_a_folder_of_its_own_is_taken(known):
    put(known, "ADA/a.jpg")
    put(known, "ada/b.jpg")
    if len(os.listdir(known.root)) < 2:
        pytest.skip("this disk cannot tell the two names apart")
    before = everything(known)
    with pytest.raises(NameTaken):
        known.rename_subject("ADA", "ada")
    assert everything(known) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_note_of_consent_that_is_no_file_is_not_opened(known, tmp_path, kind):
    put(known, "Ann/a.jpg")
    note = known.root / "Ann" / consent.FILE
    said = '{"consent": "somebody else said so"}'
    if kind == "pipe":
        os.mkfifo(note)

        def write() -> None:
            with suppress(OSError):
                note.write_text(said)

        threading.Thread(target=write, daemon=True).start()  # so that a reader comes to an end
    else:
        (tmp_path / "elsewhere").write_text(said)
        note.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        known.consent("Ann")


def test_unicode_names_survive_the_disk(known):
    names = ["Ελένη", "Анна", "محمد", "李小龍", "👩\u200d🚀", "O'Brien", "x" * 200, "\u00e9" * 100]
    for name in names:
        known.add(name, "p", "jpg", name.encode())
    assert {photo.subject for photo in known.scan()[0]} == set(names)
    for photo in known.scan()[0]:
        assert known.file(photo.path).read_bytes() == unicodedata.normalize("NFC", photo.subject).encode()


# --- a kill at any moment, and several processes ----------------------------------------------------------------------

ADDING = """
import sys
import numpy as np
from recognizer.enrolment.encodings import photo_id
from recognizer.enrolment.folder import KnownFaces

known = KnownFaces(sys.argv[1])
rng = np.random.default_rng(int(sys.argv[2]))
print("ready", flush=True)
while True:
    data = rng.bytes(int(rng.integers(1, 3_000_000)))
    path = known.add(f"Person {rng.integers(5)}", photo_id(data), "jpg", data)
    print(path, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_kill_at_any_moment_leaves_whole_photos_only_and_all_that_were_acknowledged(known):
    rng, acknowledged, turn = np.random.default_rng(17), [], 0
    while turn < 20 or len(acknowledged) <= 20:  # a busy machine needs more turns
        turn += 1
        command = [sys.executable, "-c", ADDING, str(known.root), str(turn)]
        with template.start(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.001, 0.15))
            process.send_signal(signal.SIGKILL)
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        photos, problems = known.scan()
        assert problems == []
        for photo in photos:
            assert photo_id(known.file(photo.path).read_bytes()) == Path(photo.path).stem
        assert set(acknowledged) <= {photo.path for photo in photos}
    known.sweep()  # as the next start does
    assert not list(known.root.rglob(".part-*"))
    assert all(photo_id(known.file(p.path).read_bytes()) == Path(p.path).stem for p in known.scan()[0])


def test_a_deletion_that_was_cut_short_is_finished_at_the_next_start(known):
    put(known, ".deleted-abc/a.jpg")
    put(known, "Ann/.deleted-0123")
    put(known, "Ann/.part-0123")
    put(known, "Ann/a.jpg")
    assert seen(known) == ([("Ann", "Ann/a.jpg")], [])
    known.sweep()
    assert all_files(known) == {"Ann/a.jpg"}
    assert [entry.name for entry in known.root.iterdir()] == ["Ann"]


def test_what_is_left_of_one_subject_is_removed_without_looking_at_the_others(known):
    for path in (".deleted-abc/a.jpg", ".part-1", "Ann/.part-0123", "Ann/.deleted-4", "Ann/a.jpg", "Bob/.part-0123"):
        put(known, path)
    known.sweep("Ann")
    assert all_files(known) == {"Ann/a.jpg", "Bob/.part-0123"}
    known.sweep("Nobody")
    assert all_files(known) == {"Ann/a.jpg", "Bob/.part-0123"}


class Refused(Exception):
    """What goes wrong in the middle of a change."""


def test_a_deletion_that_is_given_up_leaves_everything_where_it_was(known):
    for path in ("Ann/a.jpg", "Ann/b.jpg", "Ann/.consent.json", "c.jpg"):
        put(known, path)
    before = everything(known)
    with pytest.raises(Refused), known.subject_set_aside("Ann"):
        assert seen(known)[0] == []
        raise Refused
    with pytest.raises(Refused), known.files_set_aside(["Ann/a.jpg", "c.jpg"]):
        assert seen(known)[0] == [("Ann", "Ann/b.jpg")]
        raise Refused
    assert everything(known) == before
    with pytest.raises(Refused), known.subject_set_aside("Ann"):
        put(known, "Ann/a.jpg", b"put there by somebody meanwhile")
        raise Refused
    found = everything(known)
    assert found["Ann/a.jpg"] == b"put there by somebody meanwhile"
    assert sorted(found.values()) == sorted([*before.values(), found["Ann/a.jpg"]])


def test_whoever_cannot_be_deleted_wholly_is_back_with_what_is_left(known, monkeypatch):
    for path in ("Ann/a.jpg", "Ann/b.jpg"):
        put(known, path)
    unlink = os.unlink

    def refuse(path, *named, **more):
        if os.fspath(path).endswith("b.jpg"):
            raise PermissionError(13, "Permission denied")
        unlink(path, *named, **more)

    with monkeypatch.context() as refusing:
        refusing.setattr(os, "unlink", refuse)
        with pytest.raises(StorageError, match="permission denied"):
            known.remove_subject("Ann")
    assert "Ann/b.jpg" in everything(known) and known.names() == ["Ann"] and known.left_over() == 0
    known.remove_subject("Ann")
    assert everything(known) == {}


def test_a_rename_that_is_given_up_leaves_everything_where_it_was(known):
    for path in ("Ann/a.jpg", "Ann/b.largest.jpg", "Bob/a.jpg", "Bob/b.largest.jpg"):
        put(known, path)
    known.set_consent("Ann", Consent("of Ann", "2030-01-01"))
    known.set_consent("Bob", Consent("of Bob"))
    before = everything(known)
    with pytest.raises(Refused), known.subject_renamed("Ann", "Anna") as paths:
        assert paths["Ann/a.jpg"] == "Anna/a.jpg"
        raise Refused
    assert everything(known) == before
    with pytest.raises(Refused), known.subject_renamed("Ann", "Bob", merge=True) as paths:
        assert known.consent("Bob") == Consent("of Bob\nof Ann", "2030-01-01")
        assert paths["Ann/b.largest.jpg"].endswith(".largest.jpg")  # which face it enrols stays the same
        raise Refused
    assert everything(known) == before


def everything(known) -> dict[str, bytes]:
    """Every file with what it holds."""
    files = [path for path in known.root.rglob("*") if path.is_file()]
    return {str(path.relative_to(known.root)): path.read_bytes() for path in files}


@pytest.mark.slow
def test_a_start_beside_another_process_disturbs_no_write_and_no_deletion(known):
    stop, errors = threading.Event(), []

    def start_again():
        while not stop.is_set():
            try:
                KnownFaces(known.root).scan()
            except BaseException as error:
                errors.append(error)
                return

    thread = threading.Thread(target=start_again)
    thread.start()
    try:
        for i in range(60):
            known.add("Ann", str(i), "jpg", b"x" * 1000)
            known.add("Bob", str(i), "jpg", b"x" * 1000)
            if i % 3 == 0:
                known.remove_subject("Bob")
            elif i % 3 == 1:
                known.remove_files([f"Ann/{i}.jpg"])
            else:
                known.rename_subject("Bob", "Robert", merge=True)
    finally:
        stop.set()
        thread.join()
    assert not errors
    assert len([path for path in all_files(known) if path.startswith("Ann/")]) == 40
