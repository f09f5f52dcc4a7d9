"""The doctor: every kind of ailment is found, and has its sentence of advice."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from recognizer import doctor
from recognizer.access.access_file import AccessFile
from recognizer.access.keys import Keys
from recognizer.backup import reseal
from recognizer.core.settings import Settings
from recognizer.core.vault import Vault, create_key_file, new_key
from recognizer.enrolment.cache import EncodingsCache
from recognizer.weights.manifest import GROUPS, MANIFEST

ROOT = Path(__file__).resolve().parents[1]


def is_sound(finding: doctor.Finding) -> bool:
    """A finding that is no complaint has no advice, and every complaint has a whole sentence of it."""
    if finding.state == doctor.OK:
        return finding.advice is None
    assert finding.state in (doctor.WARNING, doctor.BROKEN)
    return finding.advice[0].isupper() and finding.advice[-1] in ".`"


def run(environ: dict[str, str], *args: str) -> tuple[int, dict]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RECOGNIZER_")}
    command = [sys.executable, "-m", "recognizer", "--json", "doctor", *args]
    done = subprocess.run(command, cwd=ROOT, env={**kept, **environ}, capture_output=True, text=True, timeout=300)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_the_whole_installation(tmp_path, models_dir):
    environ = {
        "RECOGNIZER_MODELS_DIR": str(models_dir),
        "RECOGNIZER_KNOWN_FACES": str(tmp_path / "known"),
        "RECOGNIZER_STATE_DIR": str(tmp_path / "state"),
    }
    code, report = run(environ, "--port", str(_free_port()))
    assert (code, report["ok"]) in ((0, True), (1, False))
    found = {check["name"]: check for check in report["checks"]}
    assert all(is_sound(doctor.Finding(**check)) for check in report["checks"])
    assert {*doctor.PACKAGES, "python", "weights of dlib", "known faces", "cache", "port", "clock"} <= set(found)
    for name in ("numpy", "cv2", "dlib", "hug", "weights yunet", "weights of dlib", "known faces", "state", "port"):
        assert found[name]["state"] == "ok", found[name]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_broken_makes_the_exit_code(tmp_path):
    environ = {"RECOGNIZER_MODELS_DIR": str(tmp_path), "RECOGNIZER_QUEUE": "long"}
    code, report = run(environ)
    broken = {check["name"]: check for check in report["checks"] if check["state"] == "broken"}
    assert code == 1 and report["ok"] is False
    assert "RECOGNIZER_QUEUE" in broken["settings"]["found"]
    assert {"settings"} <= set(broken)


def test_missing_weights(tmp_path):
    findings = list(doctor.weights(Settings(models_dir=tmp_path)))
    optional = {f"weights {key}" for keys in GROUPS.values() for key in keys}
    assert {finding.name for finding in findings if finding.state == doctor.OK} == optional
    assert all("models fetch" in finding.advice for finding in findings if finding.name not in optional)


def test_damaged_weights_that_a_start_does_not_need(tmp_path):
    (tmp_path / MANIFEST["objects-graph"].file).write_text("x")
    found = {finding.name: finding for finding in doctor.weights(Settings(models_dir=tmp_path))}
    assert found["weights objects-graph"].state == doctor.BROKEN
    assert "models fetch objects`" in found["weights objects-graph"].advice


def test_a_folder_of_weights_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("x")
    findings = list(doctor.weights(Settings(models_dir=tmp_path / "file")))
    assert {finding.name for finding in findings} == {f"weights {key}" for key in MANIFEST}
    assert all(finding.state == doctor.BROKEN and "not a directory" in finding.found for finding in findings)


def test_every_requirement_is_looked_at():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    wanted = {line.split(";")[0].strip() for line in lines if line and line[0] not in "#."}
    names = {name for line in wanted if (name := _name(line)) not in ("legacy-cgi", "setuptools", "tomli", "tzdata")}
    looked = {"face_recognition" if name == "face_recognition_models" else name for name in doctor.PACKAGES.values()}
    assert names <= looked | {"face_recognition"}
    assert looked - {"dlib-bin"} <= names


def _name(requirement: str) -> str:
    return requirement.split("=")[0].split(">")[0].split("<")[0].strip()


@pytest.mark.parametrize(("version", "state"), [((3, 9), "broken"), ((3, 10), "ok"), ((3, 13), "ok"), ((3, 99), "warning")])
def test_python(version, state):
    assert doctor.python(version).state == state
    assert is_sound(doctor.python(version))


def test_a_package_that_is_not_there():
    finding = doctor.package("surely_no_such_package")
    assert finding.state == doctor.BROKEN and "No module named" in finding.found and is_sound(finding)


@pytest.mark.parametrize(
    ("source", "found", "advice"),
    [
        ("import os; os.abort()", "signal 6", "requirements.txt"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "signal 4", "This processor"),
        ("raise ImportError('No module named pkg_resources')", "pkg_resources", "setuptools"),
        ("raise RuntimeError('first\\nlast line')", "last line", "requirements.txt"),
    ],
    ids=["abort", "illegal instruction", "setuptools", "error"],
)
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_package_that_cannot_be_imported(tmp_path, monkeypatch, source, found, advice):
    (tmp_path / "ailing.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = doctor.package("ailing")
    assert finding.state == doctor.BROKEN and found in finding.found and advice in finding.advice


@pytest.mark.parametrize(
    ("module", "error", "advice"),
    [
        ("cv2", "ImportError: libGL.so.1: cannot open shared object file", "opencv-python-headless"),
        ("hug", "AttributeError: module 'numpy' has no attribute 'unicode_'", "hug-numpy2"),
    ],
)
def test_a_package_whose_shadow_is_found_first(tmp_path, monkeypatch, module, error, advice):
    kind, message = error.split(": ", 1)
    (tmp_path / f"{module}.py").write_text(f"raise {kind}({message!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = doctor.package(module)
    assert finding.state == doctor.BROKEN and advice in finding.advice


@pytest.mark.file_times
def test_folders(tmp_path):
    assert doctor.folder("x", tmp_path, "X").state == doctor.OK
    assert "will be made" in doctor.folder("x", tmp_path / "a" / "b", "X").found
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        finding = doctor.folder("x", place, "RECOGNIZER_X")
        assert finding.state == doctor.BROKEN and is_sound(finding) and "RECOGNIZER_X" in finding.advice
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
@pytest.mark.network
def test_folders_that_may_not_even_be_looked_for(tmp_path):
    """As in a folder that nobody else may look into; a name that is too long is refused to the superuser too."""
    nowhere = tmp_path / ("x" * 300)
    finding = doctor.folder("state", nowhere, "RECOGNIZER_STATE_DIR")
    assert finding.state == doctor.BROKEN and is_sound(finding) and finding.found.endswith("too long")
    found = doctor.examine({"state_dir": nowhere, "known_faces": nowhere, "models_dir": tmp_path}, _free_port())
    assert all(map(is_sound, found)) and {"known faces", "state", "port", "memory"} <= {each.name for each in found}
    assert [each.state for each in found if each.name in ("known faces", "state", "files")][:3] == [doctor.BROKEN] * 3


@pytest.mark.file_times
@pytest.mark.skipif(os.name != "posix", reason="permissions of others are told by POSIX")
def test_a_folder_that_everybody_may_look_into(tmp_path):
    for mode, state in ((0o700, doctor.OK), (0o770, doctor.OK), (0o755, doctor.WARNING), (0o701, doctor.WARNING)):
        tmp_path.chmod(mode)
        finding = doctor.folder("state", tmp_path, "X", own=True)
        assert finding.state == state and is_sound(finding)
        assert doctor.folder("known faces", tmp_path, "X").state == doctor.OK


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_rights(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    for place in (closed, closed / "below"):
        assert doctor.folder("x", place, "X").state == doctor.BROKEN
    closed.chmod(0o000)
    assert "cannot be read" in doctor.folder("x", closed, "X").found
    closed.chmod(0o700)


def test_the_cache(tmp_path):
    file = tmp_path / "a cache#1?.sqlite"
    assert doctor.cache(file).state == doctor.OK and not file.exists()
    held = EncodingsCache(file)
    held.remember_files((f"a/{n}", _stamp(), f"{n:032x}") for n in range(5000))
    assert doctor.cache(file).state == doctor.OK  # while a server has it open
    held.close()
    assert doctor.cache(file).found == "whole, 0 encodings"
    data = bytearray(file.read_bytes())
    data[8192:-8192] = bytes(len(data) - 16384)
    file.write_bytes(data)
    damaged = doctor.cache(file)
    assert damaged.state == doctor.BROKEN and is_sound(damaged)
    file.write_bytes(b"something else")
    assert doctor.cache(file).state == doctor.BROKEN
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as other:
        other.execute("CREATE TABLE x (y)")
    assert doctor.cache(tmp_path / "other.sqlite").state == doctor.BROKEN


def _stamp():
    from recognizer.enrolment.cache import FileStamp

    return FileStamp(1, 2, 3)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_the_port():
    assert doctor.port_free("127.0.0.1", _free_port()).state == doctor.OK
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = doctor.port_free("127.0.0.1", listener.getsockname()[1])
    assert taken.state == doctor.WARNING and is_sound(taken)
    for host in ("192.0.2.1", "no-such-host.invalid"):
        finding = doctor.port_free(host, _free_port())
        assert finding.state == doctor.BROKEN and "RECOGNIZER_HOST" in finding.advice


def test_the_clock():
    assert doctor.clock().state == doctor.OK
    stopped = doctor.clock(time.time() - 40 * 365 * 86400)
    assert stopped.state == doctor.BROKEN and is_sound(stopped)


def test_watching(tmp_path, monkeypatch):
    settings = Settings(known_faces=tmp_path)
    assert doctor.watching(settings).state == doctor.OK
    assert doctor.watching(settings.replace(watch=False)).found == "off"
    assert doctor.watching(settings.replace(watch_poll=True)).found == "by polling"
    assert is_sound(doctor.watching(settings.replace(known_faces=tmp_path / "missing")))


def test_memory_and_disk(tmp_path):
    assert is_sound(doctor.memory())
    assert is_sound(doctor.disk(tmp_path / "not" / "there"))


# -- access -----------------------------------------------------------------------------------------------------------


def test_who_may_ask(tmp_path):
    def look(**more) -> doctor.Finding:
        finding = doctor.access(Settings(state_dir=tmp_path, **more))
        assert is_sound(finding), finding
        return finding

    assert look().found == "no keys: only this machine is served" and list(tmp_path.iterdir()) == []
    assert (look(anyone_may_do_anything=True).state, look(admin_key="x" * 20).found) == ("warning", "1 valid key")
    file = tmp_path / "access.sqlite"
    keys = Keys(AccessFile(file))
    made, text = keys.add("a", "read")
    assert look().found == "1 valid key" and text not in repr(look())
    if os.name == "posix":
        file.chmod(0o644)
        assert "other users" in look().found
        file.chmod(0o600)
    keys.revoke(made.id)
    assert look().found == "no key is valid"
    assert look(tls_certificate=tmp_path / "nothing.pem").state == "broken"
    file.write_bytes(b"rubbish" * 1000)
    assert look().state == "broken"


def test_the_key_of_what_is_kept(tmp_path):
    settings = Settings(known_faces=tmp_path / "known", state_dir=tmp_path / "state")

    def look(**more) -> doctor.Finding:
        finding = doctor.encryption(settings.replace(**more))
        assert is_sound(finding), finding
        return finding

    file, other = tmp_path / "key", tmp_path / "other"
    keys = [new_key(), new_key()]
    create_key_file(file, keys[:1])
    create_key_file(other, keys[1:])
    assert look().found == "off" and "new installation" in look(encryption_key_file=file).found
    places = reseal.Places(settings.known_faces, settings.state_dir)
    reseal.check(places, Vault(keys[:1]))
    assert (look().state, look(encryption_key_file=other).state) == ("broken", "broken")
    assert look(encryption_key_file=tmp_path / "nothing").state == "broken"
    assert look(encryption_key_file=file).state == "ok"
    if os.name == "posix":
        file.chmod(0o644)
        assert "other users" in look(encryption_key_file=file).found
    both = tmp_path / "both"
    create_key_file(both, keys)
    (settings.state_dir / "encryption.json").write_text(json.dumps({"version": 1, "keys": Vault(keys).ids}))
    assert "interrupted" in look(encryption_key_file=both).found


def test_a_setting_without_effect(monkeypatch):
    monkeypatch.setenv("RECOGNIZER_DROPPED_QUEUE", "https://sqs.eu-west-1.amazonaws.com/1/photos")
    _, found = doctor._settings({})
    assert found.state == doctor.WARNING
    assert "RECOGNIZER_DROPPED_QUEUE has no effect: RECOGNIZER_PHOTOS is not set" in found.found


def test_a_frigate_whose_certificate_is_not_checked():
    assert list(doctor.frigate(Settings())) == list(doctor.frigate(Settings(frigate_url="http://frigate:5000"))) == []
    (found,) = doctor.frigate(Settings(frigate_url="https://frigate:8971", frigate_verify=False))
    assert is_sound(found) and found.state == doctor.WARNING
    (found,) = doctor.frigate(Settings(frigate_url="https://frigate:8971"))
    assert is_sound(found) and found.state == doctor.OK
