"""The local distributions, the requirements and the Makefile's helper."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recognizer import __version__

from . import toml

ROOT = Path(__file__).parent.parent
PACKAGING = ROOT / "packaging"


def run_python(code: str, *flags: str) -> str:
    """What `code` prints in a fresh interpreter that has the hook, installed or not."""
    environ = {**os.environ, "PYTHONPATH": str(PACKAGING / "hug-numpy2")}
    run = subprocess.run(
        [sys.executable, *flags, "-c", f"import hug_numpy2, sys\n{code}"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_hug_is_imported_beside_numpy_2():
    code = "import hug; print(hug.output_format.json({'n': hug.output_format.numpy.float32(2)}).decode())"
    assert run_python(code, "-W", "ignore") == '{"n": 2.0}'


def test_the_hook_imports_nothing_by_itself_and_leaves_after_its_deed():
    assert run_python("print('numpy' in sys.modules)") == "False"
    gone = "import hug; print([finder for finder in sys.meta_path if 'BeforeHug' in repr(finder)])"
    assert run_python(gone, "-W", "ignore") == "[]"


def test_the_pth_file_is_one_import():
    assert (PACKAGING / "hug-numpy2" / "hug-numpy2.pth").read_text() == "import hug_numpy2\n"


def test_hug_shows_no_warning_to_the_one_who_starts_it():
    """Python shows warnings of other categories than these by default."""
    code = (
        "import warnings; warnings.simplefilter('error');"
        "warnings.simplefilter('ignore', DeprecationWarning); warnings.simplefilter('ignore', SyntaxWarning);"
        "import hug; print('quiet')"
    )
    assert run_python(code) == "quiet"


@pytest.mark.parametrize("name", ["distutils", "requests", "cgi", "wsgiref.simple_server"])
def test_what_hug_hardly_uses_is_imported_only_when_it_is_used(name):
    code = f"import hug; print([each for each in sys.modules if each == {name!r} or each.startswith('setuptools')])"
    assert run_python(code, "-W", "ignore") == "[]"


def test_what_stood_in_leads_to_the_real_functions():
    code = (
        "import hug; header = hug.format.parse_header('text/plain; charset=utf-8');"
        "from falcon.vendor.mimeparse import mimeparse; best = mimeparse.best_match(['a/b', 'c/d'], 'c/*;q=0.5, a/b;q=0.1');"
        "session = hug.use.requests.Session; import requests;"
        "print(header, best, session is requests.Session, hug.api.strtobool('Yes'), callable(hug.api.make_server))"
    )
    assert run_python(code, "-W", "ignore") == "('text/plain', {'charset': 'utf-8'}) c/d True 1 True"


def test_what_is_imported_already_stays():
    code = "import requests, cgi; here = requests, cgi; import hug; print((hug.use.requests, sys.modules['cgi']) == here)"
    assert run_python(code, "-W", "ignore") == "True"


def test_versions_are_compared_by_numbers():
    assert run_python("print(hug_numpy2.LooseVersion('3.10rc2').version)") == "[3, 10, 'rc', 2]"


def requirements(name: str) -> list[str]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("requirements*.txt")))
def test_every_requirement_has_an_upper_bound(name):
    for line in requirements(name):
        assert line.startswith(("./", "-r ")) or re.search(r"==|,<", line), f"{line} has no upper bound"


def test_every_requirement_is_installed_in_its_range():
    packaging = pytest.importorskip("packaging.requirements", reason="packaging is not installed")
    for line in requirements("requirements.txt"):
        if line.startswith("./"):
            continue
        wanted = packaging.Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate():
            found = importlib.metadata.version(wanted.name)
            assert wanted.specifier.contains(found), f"expected {line}, got {found}"


def normal(line: str) -> str:
    """A requirement without its spaces, and with one kind of quotes."""
    return line.replace(" ", "").replace("'", '"')


def project() -> dict:
    return toml.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_package_needs_what_the_checkout_needs():
    """Two entries differ: pyproject.toml says how."""
    instead = {
        "./packaging/dlib": toml.loads((PACKAGING / "dlib" / "pyproject.toml").read_text())["project"]["dependencies"][0],
        "face_recognition==1.3.0": "face_recognition_models==0.3.0",
        "./packaging/hug-numpy2": None,
    }
    lines = requirements("requirements.txt")
    assert set(instead) <= set(lines)
    wanted = [normal(line) for line in (instead.get(line, line) for line in lines) if line is not None]
    assert [normal(line) for line in project()["dependencies"]] == wanted


@pytest.mark.parametrize(
    "extra", ["amqp", "export", "int8", "jxl", "kafka", "nats", "notify", "openvino", "otel", "postgres", "raw", "spark"]
)
def test_an_extra_is_its_requirements_file(extra):
    wanted = [normal(line) for line in requirements(f"requirements-{extra}.txt")]
    assert [normal(line) for line in project()["optional-dependencies"][extra]] == wanted


def test_the_extra_reference_is_what_the_checkout_compares_with():
    (reference,) = project()["optional-dependencies"]["reference"]
    assert reference in requirements("requirements.txt")


def test_the_version_stands_in_one_place():
    assert "version" in project()["dynamic"] and "version" not in project()
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest and newest[1] == __version__
    others = subprocess.run(
        ["git", "grep", "-lF", f'"{__version__}"', "--", "recognizer"], cwd=ROOT, capture_output=True, text=True
    )
    assert others.stdout.split() in ([], ["recognizer/core/version.py"])  # [] where there is no git


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")
class TestMakeVenv:
    """packaging/make_venv.sh"""

    def run(self, tmp_path, python, path=None) -> subprocess.CompletedProcess:
        return subprocess.run(
            [PACKAGING / "make_venv.sh", python, tmp_path / "venv"],
            env={**os.environ, "PATH": path or os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def stand_in(self, tmp_path, body: str) -> Path:
        """An interpreter that answers as `body` (shell) says and otherwise is this one."""
        script = tmp_path / "python3"
        script.write_text(f'#!/bin/sh\n{body}\nexec "{sys.executable}" "$@"\n')
        script.chmod(0o755)
        return script

    @pytest.mark.slow
    def test_makes_an_environment_with_pip_and_then_leaves_it_alone(self, tmp_path):
        assert self.run(tmp_path, sys.executable).returncode == 0
        python = tmp_path / "venv" / "bin" / "python"
        subprocess.run([python, "-m", "pip", "--version"], check=True, capture_output=True)
        before = python.lstat().st_mtime_ns
        assert self.run(tmp_path, "/no/such/python").returncode == 0
        assert python.lstat().st_mtime_ns == before

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("exit 127", "does not run: install Python 3.10 or newer"),
            ('case "$2" in *version_info*) exit 1;; esac; [ "$1" = -V ] && exec echo Python 3.9.1', "is Python 3.9.1"),
            ('case "$2" in *ensurepip*|*venv*) exit 1;; esac', "apt-get install python3-venv"),
        ],
        ids=["broken", "too old", "no venv"],
    )
    def test_one_sentence_says_what_to_do(self, tmp_path, body, message):
        run = self.run(tmp_path, self.stand_in(tmp_path, body), path="/usr/bin:/bin")
        assert run.returncode != 0
        assert message in run.stderr and run.stderr.count("\n") == 1
