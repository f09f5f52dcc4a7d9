"""Whatever is written below the state folder is in the table of stored files, and a holding erases people from it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import recognizer
from recognizer.core.settings import Settings
from recognizer.service.stored_files import STORED_FILES, kind_of

from .test_erasures import happened

PACKAGE = Path(recognizer.__file__).parent
#: Functions and methods that create or change files.
WRITERS = {
    *("write_durably", "new_file", "replace_erasing", "write_bytes", "write_text", "touch", "FileLock", "VideoWriter"),
    "SealedFile",  # whoever has one writes it
    *("imwrite", "copyfile", "copy2", "copytree", "NamedTemporaryFile", "mkstemp", "mkdtemp"),
}
#: Modules that write files elsewhere, and where.
ELSEWHERE = {
    "recognizer.archive.exiftool": "a temporary folder, and the file that the command names",
    "recognizer.archive.contact_sheet": "the file that the command names",
    "recognizer.cli": "nothing: the console's handle",
    "recognizer.commands.cmd_accuracy": "the file that the command names",
    "recognizer.commands.cmd_archive": "the folder that the command names",
    "recognizer.commands.cmd_backup": "the file that the command names",
    "recognizer.commands.cmd_encryption": "the key file",
    "recognizer.commands.cmd_photos": "the file that the command names",
    "recognizer.core.sealed_file": "the files of the modules that use it",
    "recognizer.core.vault": "the key file",
    "recognizer.doctor": "a file without a name, to see whether the folder can be written to",
    "recognizer.engines.dlib.int8": "the folder of weights",
    "recognizer.engines.prepared": "the folder of weights",
    "recognizer.engines.processor_form": "the folder of weights",
    "recognizer.enrolment.conversion": "known_faces",
    "recognizer.enrolment.photo_store": "the folder of photos that nodes share, from which erasing a person removes theirs",
    "recognizer.enrolment.folder": "known_faces",
    "recognizer.enrolment.subject_files": "known_faces",
    "recognizer.enrolment.subject_export": "the file that the command names",
    "recognizer.events.exporting": "the file that the command names",
    "recognizer.photos.sandbox": "nothing: a handle for a child process",
    "recognizer.spark.group_faces": "a temporary folder, and the folder that the command names",
    "recognizer.spark.mapped_gallery": "a temporary folder, which is erased when the command ends",
    "recognizer.spark.match_faces": "the same",
    "recognizer.spark.places": "the folder that the command names",
    "recognizer.video.output.recorder": "the file that the command names",
    "recognizer.weights.download": "the folder of weights",
    "recognizer.weights.manifest": "the folder of weights",
}


def writes(source: str) -> bool:
    """Whether a module's source calls something that creates or changes files."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        owner = getattr(called.value, "id", "") if isinstance(called, ast.Attribute) else ""
        if name in WRITERS or (owner, name) == ("sqlite3", "connect"):
            return True
        if (owner, name) == ("os", "open"):
            flags = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
            if flags & {"O_CREAT", "O_WRONLY", "O_RDWR", "O_APPEND"}:
                return True
        if name == "open":
            place = node.args[:1] if isinstance(called, ast.Attribute) else node.args[1:2]
            modes = [*place, *(each.value for each in node.keywords if each.arg == "mode")]
            texts = [each.value for each in modes if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            if any(set(text) <= set("rwxabt+") and set(text) & set("wax+") for text in texts):
                return True
    return False


def modules() -> dict[str, Path]:
    return {".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts): file for file in PACKAGE.rglob("*.py")}


@pytest.mark.slow
def test_every_module_that_writes_files_is_registered():
    writing = {name for name, file in modules().items() if writes(file.read_text("utf-8"))}
    registered = {each.module for each in STORED_FILES}
    unknown = writing - registered - set(ELSEWHERE)
    assert not unknown, f"{sorted(unknown)} write files: add them to service/stored_files.py, with the holding that erases them"
    assert set(ELSEWHERE) <= writing and not registered & set(ELSEWHERE)
    assert registered <= set(modules())


@pytest.mark.parametrize(
    "source",
    [
        "open('x', 'w')",
        "Path('x').open(mode='ab')",
        "os.open(a, os.O_RDWR | other)",
        "files.write_durably(a, b)",
        "sqlite3.connect(a)",
    ],
)
def test_a_module_that_writes_is_recognised(source):
    assert writes(source) and not writes("open('x')\nopen('x', 'rb')\nos.open(a, os.O_RDONLY)\nwindow.open('/events')")


@pytest.fixture
def settings(settings) -> Settings:
    return settings.replace(strangers="cameras")


def test_every_holding_of_the_table_exists(service):
    labels = {each.label for each in service.holdings}
    of_nodes = {"snapshot"}  # only where nodes share a database
    assert {each.holding for each in STORED_FILES} <= labels | of_nodes | {None, "unfinished changes"}


@pytest.mark.parametrize("path", ["faces/ada.jpg", "events/pictures.bin", "notes.txt", "audit/other.json", "strangers/a/b.jpg"])
def test_a_file_of_no_kind_is_noticed(path):
    assert kind_of(path) is None


@pytest.mark.parametrize(
    "path, holding",
    [
        ("encodings.sqlite-wal", "photos"),
        ("events/000000000001/1.jpg", "events"),
        ("events/.part-0f", "left-over files"),
        ("strangers/pictures/.part-0f", "left-over files"),
        (".backup-0f/encodings.sqlite", "left-over files"),
        ("audit/000000000001.jsonl", None),
    ],
)
def test_the_kinds_of_files(path, holding):
    assert kind_of(path).holding == holding


class Opened:
    """The paths below a folder that this process opens for writing, from an audit hook, which stays for ever."""

    def __init__(self):
        self.folder: str | None = None
        self.paths: set[str] = set()
        sys.addaudithook(self.see)

    def see(self, event: str, args: tuple) -> None:
        if self.folder is None or event not in ("open", "sqlite3.connect", "os.rename"):
            return
        if event == "open" and not (args[1] and set(str(args[1])) & set("wax+")) and not (args[2] or 0) & 0o103:
            return
        for path in args[: 2 if event == "os.rename" else 1]:
            if isinstance(path, (str, bytes)) and not isinstance(path, int):
                text = path.decode() if isinstance(path, bytes) else path
                if text.startswith(self.folder + "/"):
                    self.paths.add(text[len(self.folder) + 1 :])


OPENED = Opened()


@pytest.mark.slow
def test_every_file_that_a_life_writes_is_of_a_known_kind(service, faces, tmp_path):
    """Enrol, rename, see, back up, agree, export and erase, and look at every path that was written to, also for a moment."""
    from .e2e.homes import event

    OPENED.folder = str(service.settings.state_dir)
    try:
        service.subjects.enrol("Ada", faces["obama"])
        service.subjects.enrol("Bob", faces["biden"])
        happened(service, event(subject="Ada"), event(subject="Bob"))
        service.strangers.people.all()
        service.subjects.set_consent("Ada", "signed", "2090-01-01")
        service.rules.add({"action": "webhook", "url": "https://example.org/", "who": "people", "people": ("Ada", "Bob")})
        service.groups.add("staff").subjects.enrol("Ada", faces["obama"])
        service.groups.get("staff").subjects.rename("Ada", "Ada L")
        service.groups.get("staff").subjects.delete("Ada L")
        service.tuning.change("stranger_rate", 0.02)
        service.receivers.change({"webhooks": ["https://example.org/"]})
        service.video.cameras.add("test:", "yard")
        service.subjects.restore(service.subjects.discard("Ada").id)
        service.subjects.discard("Bob")
        service.backup().close()
        service.subjects.rename("Ada", "Ada L")
        service.subjects.export("Ada L", tmp_path / "ada.zip")
        service.subjects.delete("Ada L")
    finally:
        OPENED.folder = None
    assert len(OPENED.paths) > 10
    files = {path for path in OPENED.paths if not (service.settings.state_dir / path).is_dir()}
    assert not [path for path in sorted(files) if kind_of(path) is None]
    there = [file.relative_to(service.settings.state_dir).as_posix() for file in service.settings.state_dir.rglob("*")]
    folders = {"events", "strangers", "strangers/pictures", "audit", "running", "unfinished"}
    folders |= {"groups", "groups/staff", "groups/staff/unfinished", "bin"}
    folders |= {f"bin/{item.id}" for item in service.subjects.bin.all()}
    assert not [path for path in there if kind_of(path) is None and path not in folders and not path.startswith("events/0")]
