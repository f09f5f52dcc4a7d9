"""The Ansible role of deploy/, run on a machine of its own: by hand, on Debian or Ubuntu, as root, ten minutes.

::

    apt-get install mmdebstrap buildah podman netavark aardvark-dns runc catatonit
    pip install ansible-core ansible-lint
    python -m tests.manual.machine [--keep FOLDER] [--without-database]

The machine is a container with Debian 13, in which systemd is the first process, and Ansible runs in it with a local
connection. It installs this checkout's wheel, by default with PostgreSQL. Ends with 0 if ansible-lint finds nothing, a second
run changes nothing, a changed setting restarts the service, and systemd brings the service back when it dies and when the
machine starts again, with whom was enrolled.
"""

from __future__ import annotations

import argparse
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests
import yaml

from .. import photos as real_photos
from ..e2e.serving import ROOT
from .podman import Podman, needs, until

ANSIBLE = ROOT / "deploy" / "ansible"
_MACHINE = """FROM docker.io/library/python:3.13-slim
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    systemd systemd-sysv dbus python3-apt ansible-core
STOPSIGNAL SIGRTMIN+3
CMD ["/sbin/init"]
"""
#: Where control groups are of the first version, or of both, systemd wants to be told.
_INIT = ("/sbin/init", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "systemd.unified_cgroup_hierarchy=0")
_PORT = 8000
#: A value with every character that means something in a file of settings of systemd.
_ODD = "".join(("0123456789abcdef" * 2, ' "$d`e#', "\\n;'%h ="))


def wheel(folder: Path) -> Path:
    """This checkout's wheel."""
    source = folder / "source"
    kept = shutil.ignore_patterns(".*", "__pycache__", "known_faces", "*.egg-info", "build", "tests", "benchmarks")
    shutil.copytree(ROOT, source, ignore=kept)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder / "dist", source]
    subprocess.run([str(word) for word in command], check=True)
    (made,) = (folder / "dist").glob("*.whl")
    return made


class Machine:
    """A container with systemd; a context manager."""

    def __init__(self, podman: Podman, folder: Path, name: str = "recognizer-machine"):
        self.podman, self.name, self.key = podman, name, secrets.token_hex(32)
        self._mounts = ("-v", f"{ROOT}/deploy:/deploy:ro", "-v", f"{folder}:/given:ro")

    def __enter__(self) -> Machine:
        self.podman.try_("rm", "-f", "-t", "0", self.name)
        legacy = _INIT if Path("/sys/fs/cgroup/systemd").exists() else _INIT[:1]
        options = ("--systemd=always", "--privileged", *self._mounts, "localhost/machine")
        self.podman("run", "-d", "--name", self.name, *options, *legacy)
        until(lambda: self.state() in ("running", "degraded"))
        return self

    def __exit__(self, *_: object) -> None:
        self.podman.try_("rm", "-f", "-t", "0", self.name)

    def state(self) -> str:
        return self.podman.try_("exec", self.name, "systemctl", "is-system-running").stdout.strip()

    def run(self, *command: str) -> str:
        return self.podman("exec", self.name, *command)

    def play(self) -> int:
        """Run the role; how many tasks changed something."""
        command = ("ansible-playbook", "-i", "/given/inventory.ini", "-e", "@/given/vars.yml", "/deploy/ansible/playbook.yml")
        done = self.podman.try_("exec", self.name, *command)
        recap = re.search(r"changed=(\d+) +unreachable=0 +failed=0", done.stdout)
        assert done.returncode == 0 and recap, done.stdout + done.stderr
        return int(recap[1])

    def ask(self, method: str, path: str, **how) -> requests.Response:
        url = f"http://{self.podman.address(self.name)}:{_PORT}{path}"
        return requests.request(method, url, headers={"X-Api-Key": self.key}, timeout=60, proxies={"http": ""}, **how)

    def ready(self) -> bool:
        try:
            return self.ask("GET", "/health/ready").status_code == 200
        except requests.ConnectionError:
            return False

    def main_pid(self) -> int:
        return int(self.run("systemctl", "show", "recognizer", "-P", "MainPID"))

    def recognises(self, faces: dict[str, Path]) -> None:
        for file, who in (("obama2.jpg", "Barack Obama"), ("biden.jpg", None)):
            photo = {"photo": (file, faces[file].read_bytes(), "image/jpeg")}
            found = self.ask("POST", "/recognize", files=photo).json()["faces"]
            assert [face["subject"] for face in found] == [who], found


def variables(file: Path, made: Path, key: str, database: bool, **settings: str) -> None:
    given = {
        "recognizer_package": f"/given/dist/{made.name}",
        "recognizer_local_database": database,
        "recognizer_port": _PORT,
        "recognizer_settings": {"RECOGNIZER_HOST": "0.0.0.0", **settings},
        "recognizer_secrets": {"RECOGNIZER_ADMIN_KEY": key},
    }
    file.write_text(yaml.safe_dump(given))


def try_role(machine: Machine, folder: Path, made: Path, database: bool, faces: dict[str, Path]) -> None:
    variables(folder / "vars.yml", made, machine.key, database)
    changed = machine.play()
    print(f"installed: {changed} tasks changed something; ready after {until(machine.ready):.1f} s more")
    again = machine.play()
    assert again == 0, f"the second run changed something in {again} tasks"
    before = machine.main_pid()
    photo = {"photo": ("a.jpg", faces["obama.jpg"].read_bytes(), "image/jpeg")}
    assert machine.ask("POST", "/enroll", data={"subject": "Barack Obama"}, files=photo).json()["added"] == 1
    machine.recognises(faces)
    variables(folder / "vars.yml", made, machine.key, database, RECOGNIZER_WEBHOOK_SECRET=_ODD)
    assert machine.play() == 2, "more than the settings and a restart"
    assert machine.main_pid() != before
    environment = Path(f"/proc/{_host_pid(machine)}/environ").read_bytes().split(b"\0")
    assert f"RECOGNIZER_WEBHOOK_SECRET={_ODD}".encode() in environment, environment
    variables(folder / "vars.yml", made, machine.key, database)
    machine.play()
    until(machine.ready)
    machine.recognises(faces)
    print("a changed setting restarts the service, and a second run changes nothing")
    machine.run("kill", "-KILL", str(machine.main_pid()))
    until(lambda: not machine.ready())
    print(f"killed, and ready again after {until(machine.ready):.1f} s")
    begun = time.monotonic()
    machine.run("systemctl", "stop", "recognizer")
    result = machine.run("systemctl", "show", "recognizer", "-P", "Result")
    print(f"stopped in {time.monotonic() - begun:.1f} s: {result}")
    assert result == "success" and time.monotonic() - begun < 10
    machine.podman("restart", "-t", "20", machine.name)
    print(f"the machine started again, and the service was ready after {until(machine.ready):.1f} s")
    machine.recognises(faces)
    print(machine.run("systemd-analyze", "security", "recognizer", "--no-pager").splitlines()[-1].strip("→ "))


def _host_pid(machine: Machine) -> int:
    """The number that the service's process has on this machine."""
    listed = machine.podman("top", machine.name, "hpid", "pid").splitlines()[1:]
    return next(int(outside) for outside, inside in map(str.split, listed) if int(inside) == machine.main_pid())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="keep the images in this folder; the next run is faster")
    parser.add_argument("--without-database", action="store_true", help="a server with known_faces")
    options = parser.parse_args()
    needs("ansible-lint")
    subprocess.run(["ansible-lint", "--offline", "-q", ANSIBLE / "playbook.yml", ANSIBLE / "roles"], check=True, cwd=ANSIBLE)
    print("ansible-lint finds nothing")
    faces = real_photos.fetch_photos("obama.jpg", "obama2.jpg", "biden.jpg")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "given"
        folder.mkdir()
        images = options.keep.resolve() if options.keep else Path(name) / "images"
        images.mkdir(parents=True, exist_ok=True)
        podman = Podman(images)
        podman.images.base()
        podman.make("localhost/machine", _MACHINE)
        (folder / "inventory.ini").write_text("[recognizer]\nmachine ansible_connection=local\n")
        made = wheel(folder)
        with Machine(podman, folder) as machine:
            try_role(machine, folder, made, not options.without_database, faces)
    print("the role does what docs/howto/ansible.md says")


if __name__ == "__main__":
    main()
