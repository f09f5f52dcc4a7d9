"""The command line: as a process where exit codes and streams matter, and in this process for the rest."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from PIL import Image

from recognizer.cli import main
from recognizer.core.settings import SETTINGS
from recognizer.weights.manifest import BASIC, GROUPS, MANIFEST

from . import template
from .commands import run_command

ROOT = Path(__file__).resolve().parents[1]
ENGINE_OPTIONS = ("--detector", "--embedder", "--provider")
COMMON = {"--known-faces", "--group", *ENGINE_OPTIONS, "--json", "--help"}


class Home:
    """A folder of known people with settings of its own, and commands that use it."""

    def __init__(self, folder: Path, models_dir: Path):
        self.known = folder / "known"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RECOGNIZER_")}
        self.environ = {
            **kept,
            "RECOGNIZER_KNOWN_FACES": str(self.known),
            "RECOGNIZER_STATE_DIR": str(folder / "state"),
            "RECOGNIZER_MODELS_DIR": str(models_dir),
        }

    def run(self, *args, input: bytes | str | None = None):
        """Run a command in this process; `.exit_code`, `.stdout`, `.stderr`."""
        return run_command(self.environ, *args, input=input)

    def json(self, *args, code: int = 0, **options):
        """The JSON that a command writes."""
        result = self.run(*args, "--json", **options)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def start(self, *args, begin=template.start, **options) -> subprocess.Popen:
        """Run a command as a process of its own, by default one that the template forks."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        command = [sys.executable, "-W", "error", "-m", "recognizer", *map(str, args)]
        return begin(command, cwd=ROOT, env=self.environ, text=True, **pipes)

    def process(self, *args, begin=template.start) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command in a process of its own."""
        process = self.start(*args, begin=begin)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err


@pytest.fixture
def home(tmp_path, models_dir) -> Home:
    return Home(tmp_path, models_dir)


@pytest.fixture(scope="module")
def presidents(tmp_path_factory, models_dir, photos) -> Home:
    """A home with two people in it, which no test changes."""
    made = Home(tmp_path_factory.mktemp("presidents"), models_dir)
    for name, photo in (("Barack Obama", "obama.jpg"), ("Joe Biden", "biden.jpg")):
        (made.known / name).mkdir(parents=True)
        shutil.copy(photos[photo], made.known / name)
    made.run("people")  # so that the photos are encoded
    return made


@pytest.fixture
def changing(home, presidents) -> Home:
    """The same two people, to be changed."""
    shutil.copytree(presidents.known, home.known)
    shutil.copytree(presidents.environ["RECOGNIZER_STATE_DIR"], home.environ["RECOGNIZER_STATE_DIR"])
    return home


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def options(command: click.Command) -> set[str]:
    """The long options of a command, without those that all have."""
    longs = {name for item in command.params for name in item.opts if name.startswith("--")}
    return longs - COMMON


# -- how it is called ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [(), *(path for path, _ in commands())], ids=" ".join)
def test_help(home, path):
    for flag in ("-h", "--help"):
        result = home.run(*path, flag)
        assert result.exit_code == 0
        assert result.stdout.startswith("Usage: ")
    assert not home.known.exists()


def test_version(home):
    from recognizer import __version__

    assert __version__ in home.run("--version").stdout


def test_the_help_tells_the_exit_codes(home):
    written = home.run("--help").stdout
    assert all(re.search(rf"^ +{code}  ", written, re.MULTILINE) for code in (0, 1, 2, 3, 130))


@pytest.mark.parametrize(
    "args",
    [
        ["fly"],
        ["recognize"],
        ["detect"],
        ["verify"],
        ["verify", "a.jpg"],
        ["verify", "a.jpg", "b.jpg", "--subject", "A"],
        ["enroll", "A"],
        ["enroll", "A", "a.jpg", "--face", "second"],
        ["recognize", "a.jpg", "--top-k", "101"],
        ["recognize", "a.jpg", "--top-k", "-1"],
        ["recognize", "a.jpg", "--min-face", "0"],
        ["recognize", "a.jpg", "--threshold", "5"],
        ["recognize", "a.jpg", "--threshold", "near"],
        ["recognize", "a.jpg", "--landmarks", "6"],
        ["recognize", "a.jpg", "--detector", "eyes"],
        ["recognize", "a.jpg", "--annotate", "out.png"],
        ["recognize", "a.jpg", "b.jpg", "--annotate", "out.jpg"],
        ["people", "show"],
        ["people", "rename", "A"],
        ["models", "fetch", "nonsense"],
        ["doctor", "--port", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(home, args):
    result = home.run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr or result.stderr.startswith("Usage: ")


# -- recognize ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_process_recognises(presidents, photos):
    paths = photos["obama2.jpg"], photos["astronaut.png"]
    code, out, err = presidents.process("recognize", *paths, begin=subprocess.Popen)  # whose imports must not warn either
    assert code == 0, err
    first, second = out.splitlines()
    assert re.fullmatch(r".*obama2\.jpg: Barack Obama  distance 0\.\d{3}  at \d+,\d+ size \d+x\d+", first)
    assert re.match(r".*astronaut\.png: unknown  distance 1\.\d{3}  at ", second)
    assert err == ""


@pytest.mark.slow
def test_a_process_writes_json(presidents, photos):
    code, out, err = presidents.process("--json", "recognize", photos["obama2.jpg"], "missing.jpg", "--top-k", "2")
    assert code == 1
    known, missing = json.loads(out)["photos"]
    assert known["source"] == str(photos["obama2.jpg"])
    assert set(known) == {"source", "image", "faces", "timing_ms"}
    (face,) = known["faces"]
    assert face["subject"] == "Barack Obama" and face["distance"] <= face["threshold"]
    assert [each["subject"] for each in face["candidates"]] == ["Barack Obama", "Joe Biden"]
    assert "landmarks" not in face
    assert missing["source"] == "missing.jpg" and missing["error"]["code"] == "unreadable"
    assert err == "missing.jpg: the file cannot be read: no such file or directory [unreadable]\n"


def test_nobody_recognised_is_3(presidents, photos):
    assert presidents.run("recognize", photos["astronaut.png"]).exit_code == 3
    assert presidents.run("recognize", photos["obama2.jpg"], "--threshold", "0").exit_code == 3
    assert presidents.run("recognize", photos["astronaut.png"], photos["obama2.jpg"]).exit_code == 0


def test_nobody_enrolled_is_said(home, photos):
    result = home.run("recognize", photos["obama.jpg"])
    assert result.exit_code == 3
    assert "nobody is enrolled" in result.stderr
    assert ": unknown  at " in result.stdout


def test_a_failure_wins_over_nobody(presidents, photos, tmp_path):
    (tmp_path / "text.jpg").write_text("no photo")
    result = presidents.run("recognize", tmp_path / "text.jpg", photos["astronaut.png"])
    assert result.exit_code == 1
    assert "[unsupported_image]" in result.stderr
    assert "astronaut.png: unknown" in result.stdout


def test_no_face(presidents, tmp_path):
    Image.new("RGB", (200, 200), "white").save(tmp_path / "white.png")
    result = presidents.run("recognize", tmp_path / "white.png")
    assert (result.exit_code, result.stdout) == (3, f"{tmp_path / 'white.png'}: no face\n")
    assert presidents.json("detect", tmp_path / "white.png")["photos"][0]["faces"] == []


def test_a_folder_stands_for_its_photos(presidents, photos, tmp_path):
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for place in ("b/c/2.jpg", "b/1.without-extension", ".hidden/x.jpg", ".x.jpg"):
        shutil.copy(photos["obama2.jpg"], tmp_path / place)
    (tmp_path / "notes.txt").write_text("no photo")
    os.mkfifo(tmp_path / "pipe.jpg")  # reading which would never end
    (tmp_path / "empty").mkdir()
    answers = presidents.json("recognize", tmp_path)["photos"]
    assert [Path(each["source"]).relative_to(tmp_path).as_posix() for each in answers] == [
        "b/1.without-extension",
        "b/c/2.jpg",
    ]
    nothing = presidents.json("recognize", tmp_path / "empty", code=1)["photos"]
    assert nothing[0]["error"]["message"] == "expected a photo, got a folder without photos"


def test_the_standard_input(presidents, photos):
    data = photos["obama2.jpg"].read_bytes()
    assert presidents.run("recognize", "-", input=data).stdout.startswith("-: Barack Obama")
    assert presidents.run("verify", "-", photos["obama.jpg"], input=data).exit_code == 0
    assert presidents.run("recognize", "-", input=b"").exit_code == 1


def test_urls_are_guarded(presidents):
    (answer,) = presidents.json("recognize", "http://127.0.0.1:9/photo.jpg", code=1)["photos"]
    assert answer["error"]["code"] == "address_refused"


def test_many_photos_are_counted_on_the_error_stream(presidents, photos, tmp_path):
    for number in range(20):
        shutil.copy(photos["astronaut.png"], tmp_path / f"{number:02}.png")
    result = presidents.run("detect", tmp_path)
    assert [line.split(":")[0][-6:] for line in result.stdout.splitlines()] == [f"{n:02}.png" for n in range(20)]
    assert "looking at photos: 20 of 20 (100 %)" in result.stderr


def test_landmarks_and_candidates_for_people(presidents, photos):
    written = presidents.run("recognize", photos["obama2.jpg"], "--top-k", 1, "--landmarks", 68).stdout.splitlines()
    assert written[1].startswith("    Barack Obama  distance 0.")
    assert len(written) == 2 + 9 and written[2].startswith("    chin  ")


def test_names_of_files_cannot_steer_the_terminal(presidents, tmp_path):
    name = b"a\xff\x1b[31m.jpg" if sys.platform == "linux" else b"a[31m.jpg"
    file = tmp_path / os.fsdecode(name)
    file.write_bytes(b"no photo")
    result = presidents.run("recognize", file)
    assert result.exit_code == 1
    assert "\x1b" not in result.stderr
    if sys.platform == "linux":
        assert r"a\udcff\x1b[31m.jpg" in result.stderr


# -- annotated copies ---------------------------------------------------------------------------------------------


def test_annotate_one_photo_into_a_file(presidents, photos, tmp_path):
    (answer,) = presidents.json("recognize", photos["obama2.jpg"], "--annotate", tmp_path / "new" / "x.jpg")["photos"]
    assert answer["annotated"] == str(tmp_path / "new" / "x.jpg")
    with Image.open(answer["annotated"]) as drawn, Image.open(photos["obama2.jpg"]) as photo:
        assert drawn.format == "JPEG" and drawn.size == photo.size
        assert drawn.tobytes() != photo.tobytes()


def test_annotate_into_a_folder_numbers_equal_names(presidents, photos, tmp_path):
    (tmp_path / "one").mkdir()
    shutil.copy(photos["obama2.jpg"], tmp_path / "one" / "obama2.jpeg")
    result = presidents.run("detect", photos["obama2.jpg"], tmp_path / "one", "missing.jpg", "--annotate", tmp_path / "out")
    assert result.exit_code == 1
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["obama2-2.jpg", "obama2.jpg"]


def test_annotate_never_replaces_the_photo(presidents, photos, tmp_path):
    photo = Path(shutil.copy(photos["obama2.jpg"], tmp_path / "photo.jpg"))
    for place in (tmp_path, photo):
        result = presidents.run("recognize", photo, "--annotate", place)
        assert result.exit_code == 1 and "[storage_error]" in result.stderr
    assert photo.read_bytes() == photos["obama2.jpg"].read_bytes()


# -- verify -------------------------------------------------------------------------------------------------------


def test_verify_two_photos(presidents, photos):
    result = presidents.run("verify", photos["obama2.jpg"], photos["obama3.jpg"])
    assert result.exit_code == 0, result.stderr
    assert re.fullmatch(r"same person: distance 0\.\d{3}, limit 1\.\d{3}\n", result.stdout)
    result = presidents.run("verify", photos["obama2.jpg"], photos["biden.jpg"])
    assert result.exit_code == 3 and result.stdout.startswith("not the same person: ")


def test_verify_a_subject(presidents, photos):
    answer = presidents.json("verify", photos["obama2.jpg"], "--subject", "Barack Obama")
    assert answer["same"] is True and answer["distance"] <= answer["threshold"]
    assert presidents.json("verify", photos["obama2.jpg"], "--subject", "Joe Biden", code=3)["same"] is False
    assert presidents.json("verify", photos["obama2.jpg"], photos["obama.jpg"], "--threshold", "0", code=3)


def test_an_error_is_a_line_and_json(presidents, photos):
    result = presidents.run("verify", photos["obama2.jpg"], "--subject", "Nobody", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "subject_not_found"
    assert re.fullmatch(r"error: .*'Nobody'.* \[subject_not_found\]\n", result.stderr)
    assert presidents.run("verify", photos["obama2.jpg"], "--subject", "Nobody").stdout == ""


# -- enroll and people --------------------------------------------------------------------------------------------


def test_enroll_list_show(home, photos):
    result = home.run("enroll", " Barack  Obama ", photos["obama.jpg"], photos["test_face_recognition.py"])
    assert result.exit_code == 1  # the second is no photo
    assert result.stdout == f"{photos['obama.jpg']}: enrolled\n"
    assert "[unsupported_image]" in result.stderr
    assert home.run("enroll", "Barack Obama", photos["obama.jpg"]).stdout.endswith(": enrolled before\n")
    (stored,) = (home.known / "Barack Obama").iterdir()
    assert stored.read_bytes() == photos["obama.jpg"].read_bytes()
    (person,) = home.json("people")["people"]
    assert (person["name"], person["photos"], person["templates"], person["problems"]) == ("Barack Obama", 1, 1, 0)
    assert home.run("people").stdout.splitlines()[1].split() == ["Barack", "Obama", "1", "1", "0", "0"]
    assert home.run("people", "list").stdout == home.run("people").stdout
    shown = home.json("people", "show", "Barack Obama")
    assert shown["photos"][0]["file"] == stored.name
    assert stored.name in home.run("people", "show", "Barack Obama").stdout


def test_the_same_picture_again_is_shown_as_not_needed(home, photos, tmp_path):
    import cv2

    copy = tmp_path / "copy.png"
    cv2.imwrite(str(copy), cv2.imread(str(photos["obama.jpg"])))
    home.run("enroll", "Barack Obama", photos["obama.jpg"])
    result = home.run("enroll", "Barack Obama", copy)
    assert result.exit_code == 0 and "the same picture as another photo" in result.stderr
    (person,) = home.json("people")["people"]
    assert (person["photos"], person["templates"], person["odd_photos"]) == (2, 1, 0)
    shown = home.run("people", "show", "Barack Obama").stdout
    assert shown.startswith("Barack Obama: 1 of 2 photos in use") and "not needed" in shown


def test_enroll_refuses_what_looks_like_another(changing, photos):
    (answer,) = changing.json("enroll", "Somebody", photos["obama2.jpg"], code=1)["photos"]
    assert answer["error"]["code"] == "looks_like_another" and answer["error"]["subject"] == "Barack Obama"
    forced = changing.run("enroll", "Somebody", photos["obama2.jpg"], "--force")
    assert forced.exit_code == 0 and "looks like 'Barack Obama'" in forced.stderr


def test_enroll_a_bad_name(home, photos):
    answer = home.json("enroll", "../../etc", photos["obama.jpg"], code=1)
    assert answer["error"]["code"] == "invalid_name"
    assert not home.known.exists()


def test_enroll_the_largest_of_several(home, photos, tmp_path):
    with Image.open(photos["obama.jpg"]) as one, Image.open(photos["biden.jpg"]) as other:
        both = Image.new("RGB", (one.width + other.width, max(one.height, other.height)))
        both.paste(one, (0, 0))
        both.paste(other, (one.width, 0))
        both.save(tmp_path / "both.jpg")
    assert home.json("enroll", "A", tmp_path / "both.jpg", code=1)["photos"][0]["error"]["code"] == "several_faces"
    assert home.json("enroll", "A", tmp_path / "both.jpg", "--face", "largest")["photos"][0]["status"] == "added"


def test_photos_of_several_people_are_made_to_enrol_the_largest(home, photos):
    with Image.open(photos["obama.jpg"]) as one, Image.open(photos["biden.jpg"]) as other:
        other = other.resize((other.width * 2 // 3, other.height * 2 // 3))
        both = Image.new("RGB", (one.width + other.width, max(one.height, other.height)))
        both.paste(one, (0, 0))
        both.paste(other, (one.width, 0))
    for folder in ("Ann", "Bob"):
        (home.known / folder).mkdir(parents=True)
        both.save(home.known / folder / "party.jpg")
    assert home.run("people", "use-largest", input="n\n").exit_code == 1
    asked = home.run("people", "use-largest", "Ann", input="y\n")
    assert "Enrol the largest face of 1 photo? [y/N]" in asked.stderr and "Ann/party.jpg" in asked.stderr
    assert asked.stdout == "1 photo renamed, 1 of them in use\n"
    assert [file.name for file in (home.known / "Ann").iterdir()] == ["party.largest.jpg"]
    assert home.json("people", "show", "Ann")["templates"] == 1
    done = home.json("people", "use-largest", "--yes")
    assert done == {"renamed": ["Bob/party.largest.jpg"], "unused": []}
    assert home.run("people", "problems").stdout == "everything in known_faces is used\n"
    assert home.json("people", "use-largest", "--yes") == {"renamed": [], "unused": []}
    assert home.json("people", "use-largest", "Cid", "--yes", code=1)["error"]["code"] == "subject_not_found"


def test_nobody(home):
    assert home.run("people").stdout == "nobody is enrolled\n"
    assert home.json("people", "list") == {"people": []}
    assert home.run("people", "problems").stdout == "everything in known_faces is used\n"
    for args in (["show", "A"], ["rename", "A", "B"], ["delete", "A", "--yes"]):
        assert home.json("people", *args, code=1)["error"]["code"] == "subject_not_found"


def test_rename_and_merge(changing, photos):
    assert changing.run("people", "rename", "Barack Obama", "44").stdout == "renamed to 44, who has 1 photo\n"
    assert changing.json("recognize", photos["obama2.jpg"])["photos"][0]["faces"][0]["subject"] == "44"
    assert changing.json("people", "rename", "44", "Joe Biden", code=1)["error"]["code"] == "name_taken"
    assert changing.json("people", "rename", "44", "Joe Biden", "--merge")["photos"] == 2
    assert [folder.name for folder in changing.known.iterdir()] == ["Joe Biden"]


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "what\n"])
def test_delete_asks(changing, answer):
    result = changing.run("people", "delete", "Joe Biden", input=answer)
    assert result.exit_code == 1
    assert "Erase Joe Biden with 1 photo? [y/N]" in result.stderr and "nothing was erased" in result.stderr
    assert (changing.known / "Joe Biden").is_dir()


def test_delete_erases(changing):
    result = changing.run("people", "delete", "Joe Biden", input="y\n")
    assert result.exit_code == 0
    assert result.stdout == "erased Joe Biden and 1 photo; nothing is left\n"
    done = changing.json("people", "delete", "Barack Obama", "--yes")
    assert done["photos"] == 1 and not any(done["left"].values())
    assert list(changing.known.iterdir()) == []


def test_problems(changing):
    (changing.known / "stray.jpg").write_bytes(b"")
    (changing.known / "Joe Biden" / "notes.txt").write_text("no photo")
    found = changing.json("people", "problems")["problems"]
    assert [(each["file"], each["code"]) for each in found] == [
        ("Joe Biden/notes.txt", "unsupported_image"),
        ("stray.jpg", "not_in_a_folder"),
    ]
    assert "stray.jpg" in changing.run("people", "problems").stdout
    assert "expected a photo" in changing.run("people", "show", "Joe Biden").stdout


def test_merge(changing, photos):
    missing = changing.run("people", "merge", "Joe Biden", "Ada Lovelace")
    assert missing.exit_code == 1 and "[subject_not_found]" in missing.stderr
    merged = changing.json("people", "merge", "Joe Biden", "Barack Obama")
    assert merged["name"] == "Barack Obama" and merged["photos"] == 2
    assert [person["name"] for person in changing.json("people")["people"]] == ["Barack Obama"]


# -- common options -----------------------------------------------------------------------------------------------


def test_common_options_stand_before_or_after(home, presidents):
    place = ("--known-faces", presidents.known)
    before = home.run(*place, "--json", "people", "list")
    between = home.run("people", *place, "--json", "list")
    after = home.run("people", "list", *place, "--json")
    assert before.exit_code == 0 and before.stdout == between.stdout == after.stdout
    assert len(json.loads(after.stdout)["people"]) == 2
    assert home.run(*place, "people", "--known-faces", home.known).stdout == "nobody is enrolled\n"


@pytest.mark.slow
def test_another_engine(home, photos):
    args = ("detect", photos["obama2.jpg"])
    default, hog = (home.json(*args, *more)["photos"][0]["faces"][0] for more in ((), ("--detector", "hog")))
    assert default["box"] != hog["box"]
    assert home.json("verify", photos["obama2.jpg"], photos["obama.jpg"], "--embedder", "dlib")["threshold"] < 1


# -- objects --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_objects(home, photos, tmp_path):
    copy = tmp_path / "found" / "astronaut.jpg"
    result = home.run("objects", photos["astronaut.png"], "--annotate", tmp_path / "found")
    assert (result.exit_code, result.stderr) == (0, "")
    first = result.stdout.splitlines()[0]
    assert re.fullmatch(r".*astronaut\.png: person  score 0\.\d\d  at \d+,\d+ size \d+x\d+", first)
    with Image.open(copy) as picture, Image.open(photos["astronaut.png"]) as photo:
        assert picture.size == photo.size
    answers = home.json("objects", photos["astronaut.png"], photos["obama.jpg"], "--labels", "person, tie")["photos"]
    assert [answer["source"] for answer in answers] == [str(photos["astronaut.png"]), str(photos["obama.jpg"])]
    for answer in answers:
        assert set(answer) == {"source", "image", "objects", "timing_ms"}
        assert {found["label"] for found in answer["objects"]} <= {"person", "tie"} and answer["objects"]
    none = home.run("objects", photos["astronaut.png"], "--labels", "giraffe")
    assert none.exit_code == 0 and none.stdout == f"{photos['astronaut.png']}: no object\n"


def test_objects_called_wrongly(home, photos, tmp_path):
    photo = photos["astronaut.png"]
    assert home.run("objects").exit_code == 2
    assert home.run("objects", photo, "--threshold", "2").exit_code == 2
    wrong = home.run("objects", photo, "--labels", "Persn")
    assert wrong.exit_code == 1 and "did you mean 'person'" in wrong.stderr and "[invalid_parameter]" in wrong.stderr
    (tmp_path / "x.jpg").write_bytes(b"x")
    mixed = home.json("objects", tmp_path / "x.jpg", photo, code=1)["photos"]
    assert mixed[0]["error"]["code"] == "unsupported_image" and mixed[1]["objects"]


# -- models, settings ---------------------------------------------------------------------------------------------


def test_models_that_are_there(home):
    listed = home.json("models")["models"]
    assert [each["key"] for each in listed] == list(MANIFEST)
    assert {each["state"] for each in listed if each["key"] not in GROUPS["attributes"]} == {"ready"}
    assert home.run("models").stdout == home.run("models", "list").stdout
    code, out, err = home.process("models", "fetch")
    assert (code, err) == (0, "") and len(out.splitlines()) == 1
    assert list(home.json("models", "fetch", "font")["models"]) == ["font"]
    assert list(home.json("models", "fetch")["models"]) == list(BASIC)
    assert list(home.json("models", "fetch", "font", "objects", "font")["models"]) == ["font", *GROUPS["objects"]]
    assert [each["key"] for each in home.json("models", "verify", "objects")["models"]] == list(GROUPS["objects"])
    assert home.run("models", "verify").exit_code == 0


def test_models_that_are_missing_or_damaged(home, tmp_path, models_dir):
    home.environ["RECOGNIZER_MODELS_DIR"] = str(tmp_path / "weights")
    assert {each["state"] for each in home.json("models", "list")["models"]} == {"missing"}
    assert [each["key"] for each in home.json("models", "verify", code=1)["models"]] == list(BASIC)
    wrong = home.run("models", "fetch", "dogs")
    assert wrong.exit_code == 2 and "objects, attributes" in wrong.stderr
    assert home.json("models", "verify", "font", code=1)["models"][0]["state"] == "model_missing"
    (tmp_path / "weights").mkdir()
    font = MANIFEST["font"]
    damaged = bytearray((models_dir / font.file).read_bytes())
    damaged[1000] ^= 1
    (tmp_path / "weights" / font.file).write_bytes(damaged)
    result = home.run("models", "verify", "font")
    assert result.exit_code == 1 and "[model_corrupt]" in result.stderr and "font" in result.stdout


def test_settings(home):
    home.environ["RECOGNIZER_TOP"] = "1"
    wrong = home.run("settings")
    assert wrong.exit_code == 1 and wrong.stderr == "error: no such setting: RECOGNIZER_TOP [settings_error]\n"
    del home.environ["RECOGNIZER_TOP"]
    home.environ.update(RECOGNIZER_FETCH_ALLOW="10.0.0.0/8,192.168.1.1", RECOGNIZER_WATCH_POLL="on")
    listed = {each["variable"]: each for each in home.json("settings", "--detector", "hog")["settings"]}
    assert len(listed) == len(SETTINGS)
    shown = {
        name: (listed[f"RECOGNIZER_{name}"]["value"], listed[f"RECOGNIZER_{name}"]["source"])
        for name in (
            "DETECTOR",
            "FETCH_ALLOW",
            "WATCH_POLL",
            "WATCH",
            "THRESHOLD",
            "QUEUE",
        )
    }
    assert shown == {
        "DETECTOR": ("hog", "option"),
        "FETCH_ALLOW": ("10.0.0.0/8,192.168.1.1/32", "environment"),
        "WATCH_POLL": ("on", "environment"),
        "WATCH": ("on", "default"),
        "THRESHOLD": ("", "default"),
        "QUEUE": ("64", "default"),
    }
    assert len(home.run("settings").stdout.splitlines()) == 1 + len(SETTINGS)


def test_settings_show_no_secrets(home):
    home.environ.update(
        RECOGNIZER_CAMERA="rtsp://ada:pass-1@192.168.1.9/live",
        RECOGNIZER_MQTT_URL="mqtt://ada:pass-2@broker",
        RECOGNIZER_WEBHOOK_SECRET="pass-3",
    )
    for result in (home.run("settings"), home.run("settings", "--json")):
        assert result.exit_code == 0 and "pass-" not in result.stdout
        assert "***@192.168.1.9" in result.stdout


NO_ENGINE = """
import sys
from recognizer.cli import main
heavy = {'numpy', 'cv2', 'dlib', 'onnxruntime', 'PIL', 'requests'}
for command in sys.argv[1:]:
    try:
        main(command.split())
    except SystemExit:
        print(command, sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.slow
def test_what_needs_no_engine_loads_none(home):
    commands = ["people --help", "models", "models fetch", "settings", "doctor"]
    program = [sys.executable, "-c", NO_ENGINE, *commands]
    done = subprocess.run(program, cwd=ROOT, env=home.environ, capture_output=True, text=True, timeout=300)
    assert done.stderr.splitlines() == [f"{command} []" for command in commands]
    assert not home.known.exists() and not Path(home.environ["RECOGNIZER_STATE_DIR"]).exists()


# -- streams and signals ------------------------------------------------------------------------------------------


def test_a_reader_that_leaves_is_no_error(presidents):
    process = presidents.start("settings")
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("args", [["people", "delete", "Joe Biden"], ["detect", "-"]], ids=" ".join)
def test_an_interruption_is_quiet(presidents, args):
    process = presidents.start(*args, stdin=subprocess.PIPE)
    if args[0] == "people":
        question = "Erase Joe Biden with 1 photo? [y/N]: "
        assert process.stderr.read(len(question)) == question
    else:
        # what is written is taken out of the pipe only when the command reads it
        process.stdin.write("x" * 100_000)
        process.stdin.flush()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (130, "", "")
    assert (presidents.known / "Joe Biden").is_dir()


@pytest.mark.slow
def test_a_narrow_encoding_is_no_obstacle(home, photos):
    home.environ.update(PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    (home.known / "Łukasz").mkdir(parents=True)
    shutil.copy(photos["obama.jpg"], home.known / "Łukasz")
    code, out, err = home.process("people")
    assert code == 0, err
    assert r"\u0141ukasz" in out
    code, out, _ = home.process("people", "--json")
    assert json.loads(out)["people"][0]["name"] == "Łukasz"


def test_a_table_in_a_pipe_is_plain(presidents):
    for args in (["people"], ["models"], ["settings"]):
        written = presidents.run(*args).stdout
        assert written.isprintable() or {c for c in written if not c.isprintable()} == {"\n"}
        assert all(line == line.rstrip() for line in written.splitlines())


def test_a_table_on_a_terminal_fits_it(presidents, monkeypatch):
    from recognizer.commands.common import table

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    table(["name", "what it does"], [["[bold]Ada[/bold]", "word " * 30]], styles=["red"])
    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert "[bold]Ada[/bold]" in text
    assert max(map(len, text.splitlines())) <= 40


# -- keys -----------------------------------------------------------------------------------------------------------


def test_keys(home):
    assert "there are no keys" in home.run("keys").stdout and home.json("keys", "list") == {"keys": []}
    home.environ["RECOGNIZER_ADMIN_KEY"] = "a-key-of-the-settings-0123456789"
    assert "but the one that the settings give" in home.run("keys").stdout
    del home.environ["RECOGNIZER_ADMIN_KEY"]
    code, out, err = home.process("keys", "add", "front door", "--role", "write", "--days", "90")
    assert code == 0 and re.fullmatch(r"rk_[a-z0-9]{8}_[\w-]{43}\n", out), (out, err)
    assert out[3:11] in err and out.strip() not in err
    made = home.json("keys", "add", "for ever", "--days", "0")
    assert made["expires"] is None and made["role"] == "read"
    listed = home.json("keys")["keys"]
    assert [(key["name"], key["role"], key["state"]) for key in listed] == [
        ("front door", "write", "valid"),
        ("for ever", "read", "valid"),
    ]
    assert made["key"] not in json.dumps(listed) and "key" not in listed[0] and "hash" not in listed[0]
    assert home.run("keys", "revoke", made["id"]).stdout == "for ever: revoked\n"
    assert home.json("keys", "list")["keys"][1]["state"] == "revoked"
    unknown = home.run("keys", "revoke", "nothing")
    assert unknown.exit_code == 1 and "[key_not_found]" in unknown.stderr
    for wrong in (("add",), ("add", "a", "--role", "root"), ("add", "a", "--days", "-1"), ("revoke",)):
        assert home.run("keys", *wrong).exit_code == 2, wrong
    assert "[invalid_parameter]" in home.run("keys", "add", " ").stderr


# -- completion -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(home, shell):
    script = home.run("completion", shell)
    assert script.exit_code == 0 and f"{shell}_complete" in script.stdout and "recognizer" in script.stdout
    program = shutil.which(shell)
    if program is not None:
        assert subprocess.run([program, "-n"], input=script.stdout, text=True, capture_output=True).stderr == ""


@pytest.mark.slow
def test_bash_completes_commands_and_options(tmp_path):
    """Through bash itself: the script is sourced, its function called, and what it offers is read."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    command = tmp_path / "recognizer"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m recognizer "$@"\n')
    command.chmod(0o755)
    words = """
        eval "$(recognizer completion bash)"
        COMP_WORDS=(recognizer people me) COMP_CWORD=2; _recognizer_completion recognizer me people; echo "${COMPREPLY[@]}"
        COMPREPLY=() COMP_WORDS=(recognizer keys list --) COMP_CWORD=3
        _recognizer_completion recognizer -- list; echo "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([bash, "-c", words], env=environment, text=True, capture_output=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "merge" and set(second.split()) == {"--json", "--help"}


# -- the manual ---------------------------------------------------------------------------------------------------


def manual() -> dict[str, str]:
    """docs/cli.md: the words of each command's heading, without its arguments -> the text below it."""
    pieces = re.split(r"^#{3,4} `(.+)`$", (ROOT / "docs" / "cli.md").read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def test_every_command_and_option_is_in_the_manual():
    described = {re.sub(r" *\[?[A-Z].*", "", heading): text for heading, text in manual().items()}
    assert set(described) == {" ".join(path) for path, _ in commands()}
    for path, command in commands():
        listed = set(re.findall(r"^\| `(--[a-z-]+)", described[" ".join(path)], re.MULTILINE))
        assert listed == options(command), path


def test_every_argument_is_in_the_manual():
    headings = {re.sub(r" *\[?[A-Z].*", "", heading): heading for heading in manual()}
    for path, command in commands():
        arguments = [item for item in command.params if isinstance(item, click.Argument)]
        metavars = [item.make_metavar(click.Context(command)) for item in arguments]
        assert headings[" ".join(path)] == " ".join([*path, *metavars]), path


def shared_options_of_the_manual() -> dict[str, str]:
    """docs/cli.md: each shared option -> which commands take it."""
    text = (ROOT / "docs" / "cli.md").read_text("utf-8").split("## Shared options")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(--[a-z-]+).*\| (.+?) \|$", text, re.MULTILINE)
    assert [option for option, _ in rows] == ["--json", "--known-faces", "--group", *ENGINE_OPTIONS, "--help"]
    return dict(rows)


def test_every_shared_option_is_in_the_manual():
    assert set(shared_options_of_the_manual()) == COMMON
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert "`--version`" in text
    for item in main.params:
        assert any(f"`{name}" in text for name in item.opts)


def test_every_choice_is_in_the_manual():
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for _, command in commands():
        for item in command.params:
            if isinstance(item.type, click.Choice):
                if isinstance(item, click.Argument):
                    assert all(f"`{choice}`" in text for choice in item.type.choices)
                    continue
                choices = r"\|".join(item.type.choices)
                assert f"`{item.opts[0]} {choices}`" in text


def test_commands_take_the_shared_options_that_mean_something_to_them():
    taken = {option: set() for option in COMMON}
    for path, command in commands():
        for option in COMMON & {name for item in command.params for name in item.opts}:
            taken[option].add(path[0])
    everything = {path[0] for path, _ in commands()}
    written = shared_options_of_the_manual()
    for option in ("--known-faces", "--group", "--detector"):
        assert taken[option] == set(re.findall("`([a-z]+)`", written[option])), option
    assert taken["--embedder"] == taken["--provider"] == taken["--detector"]
    assert written["--embedder"] == written["--provider"] == "the same"
    assert taken["--json"] == everything - {"completion", "serve"} and written["--json"].startswith("all but")


def test_an_option_that_means_nothing_to_a_command_is_refused(home):
    refused = home.run("keys", "list", "--detector", "hog")
    assert refused.exit_code == 2 and "No such option" in refused.stderr
    assert "--detector" not in home.run("keys", "list", "--help").stdout


def test_every_exit_code_is_in_the_manual():
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == ["0", "1", "2", "3", "130", "141"]


# -- watching -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory, photos) -> Path:
    """One person, moving a little, for two seconds at 10 fps."""
    import cv2
    import numpy as np

    with Image.open(photos["obama2.jpg"]) as image:
        face = image.convert("RGB")
        face.thumbnail((360, 360))
        pixels = np.asarray(face)
    path = tmp_path_factory.mktemp("clips") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (640, 400))
    for i in range(20):
        frame = np.full((400, 640, 3), 90, np.uint8)
        frame[20 : 20 + pixels.shape[0], 40 + 2 * i : 40 + 2 * i + pixels.shape[1]] = pixels
        writer.write(frame[..., ::-1])
    writer.release()
    return path


@pytest.mark.slow
def test_watch_says_who_comes(presidents, clip):
    result = presidents.run("watch", clip, "--every-frame")
    assert result.exit_code == 0, result.stderr
    assert re.fullmatch(r"00:0[01]\.\d  Barack Obama is there\n", result.stdout)


@pytest.mark.slow
def test_watch_as_json_has_a_line_for_every_picture(presidents, clip):
    result = presidents.run("watch", clip, "--every-frame", "--json", "--landmarks", "68")
    assert result.exit_code == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(20))
    last = lines[-1]
    assert {"time", "position", "width", "height", "dropped", "faces", "objects", "ended", "timing_ms"} <= set(last)
    (face,) = last["faces"]
    assert (face["track"], face["subject"], face["detected"], face["decided"]) == (1, "Barack Obama", True, True)
    assert face["distance"] <= face["threshold"] and "chin" in face["landmarks"]
    assert 60 < face["box"]["left"] < 300


@pytest.mark.slow
def test_watch_writes_a_video(presidents, clip, tmp_path):
    import cv2

    for name in ("out.mp4", "out.avi"):
        result = presidents.run("watch", clip, "--output", tmp_path / name)
        assert result.exit_code == 0, result.stderr
        assert f"saved as {tmp_path / name}: 20 pictures" in result.stderr
        video = cv2.VideoCapture(str(tmp_path / name))
        pictures = 0
        while True:
            there, bgr = video.read()
            if not there:
                break
            pictures += 1
            if pictures == 10:
                assert bgr.shape == (400, 640, 3)
        assert (pictures, round(video.get(cv2.CAP_PROP_FPS))) == (20, 10)
        video.release()


@pytest.mark.slow
def test_watch_ends_after_some_time(presidents):
    result = presidents.run("watch", "test:320x180@10", "--seconds", "1", "--json")
    assert result.exit_code == 0, result.stderr
    assert 1 <= len(result.stdout.splitlines()) <= 12


def test_watch_what_is_not_there(presidents, tmp_path):
    result = presidents.run("watch", tmp_path / "missing.mp4")
    assert result.exit_code == 1 and "missing.mp4" in result.stderr and "[invalid_source]" in result.stderr
    result = presidents.run("watch", "gopher://example")
    assert result.exit_code == 1 and "[invalid_source]" in result.stderr
    result = presidents.run("watch", "test:", "--output", tmp_path / "video.txt")
    assert result.exit_code == 1 and ".mp4" in result.stderr
    result = presidents.run("watch", "test:320x180", "--output", tmp_path / "missing" / "video.mp4", "--seconds", "2")
    assert result.exit_code == 1 and "[storage_error]" in result.stderr


@pytest.mark.slow
def test_a_window_needs_a_screen(presidents):
    presidents.environ.pop("DISPLAY", None)
    code, out, err = presidents.process("watch", "test:", "--window", "--seconds", "1")
    assert code == 1 and "window" in err and "--output" in err


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_watch_is_interrupted_cleanly(presidents, tmp_path, how):
    """With a video being written: it can be played, and nothing but the code tells of the interruption."""
    import cv2

    process = presidents.start("watch", "test:320x180@20", "--json", "--output", tmp_path / "cut.mp4")
    for _ in range(10):
        assert json.loads(process.stdout.readline())
    process.send_signal(getattr(signal, how))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, how), err
    assert "Traceback" not in err
    video = cv2.VideoCapture(str(tmp_path / "cut.mp4"))
    assert video.read()[0]
    video.release()


@pytest.mark.slow
def test_nobody_reads_what_is_watched(presidents):
    process = presidents.start("watch", "test:320x180@20", "--json")
    assert json.loads(process.stdout.readline())
    process.stdout.close()
    assert process.wait(60) == 141
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
