"""The container image, built and run: by hand, ten minutes, on Debian or Ubuntu, as root.

::

    apt-get install mmdebstrap buildah runc
    python -m tests.manual.container [--keep FOLDER]

No registry of images is needed: a Debian system with Python 3.13 takes the place of ``python:3.13-slim``. The image is built by
deploy/Dockerfile with the packages for PostgreSQL. runc runs it as an unknown user, without capabilities and with a read-only
root. Ends with 0 if the container recognises, keeps what was enrolled, ends on SIGTERM, and says why it cannot start.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

from .. import photos as real_photos
from ..brokers import free_port
from ..e2e.serving import ROOT

#: Some user whom no system has, as Kubernetes and OpenShift may choose one.
USER = 54321
_MIRROR = "http://deb.debian.org/debian"
#: The system that stands for the image's base.
_BASE = "docker.io/library/python:3.13-slim"
_PACKAGES = "python3,python3-venv,python-is-python3,ca-certificates"
#: Authorities of this machine, which the build must trust as well.
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def run(*command: str | Path, **options) -> str:
    """The output of a command."""
    done = subprocess.run([str(each) for each in command], stdout=subprocess.PIPE, text=True, check=True, **options)
    return done.stdout.strip()


class Images:
    """Images in a folder of their own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._environ = {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}

    def buildah(self, *command: str | Path) -> str:
        places = ("--root", self.folder / "images", "--runroot", self.folder / "run")
        return run("buildah", *places, *command, env=self._environ)

    def base(self) -> None:
        """Make what the Dockerfile begins with, unless it is there."""
        if _BASE.rpartition(":")[0] in self.buildah("images", "--format", "{{.Name}}").split():
            return
        archive, made = self.folder / "base.tar", self.buildah("from", "scratch")
        run("mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", "trixie", archive, os.environ.get("MIRROR", _MIRROR))
        root = Path(self.buildah("mount", made))
        run("tar", "-xf", archive, "-C", root)
        if _AUTHORITIES.exists():
            shutil.copy(_AUTHORITIES, root / _AUTHORITIES.relative_to("/"))
        shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
        self.buildah("umount", made)
        self.buildah("commit", "-q", made, _BASE)
        self.buildah("rm", made)
        archive.unlink()

    def build_image(self, *names: str) -> None:
        """Build the image with the packages for PostgreSQL, under these names."""
        file, tags = ROOT / "deploy" / "Dockerfile", [word for name in names for word in ("-t", name)]
        # the health check is not in OCI's format
        extras = ("--build-arg", "EXTRAS=postgres")
        self.buildah("bud", "--layers", "--pull-never", "--format", "docker", *extras, "-f", file, *tags, ROOT)

    def build(self) -> tuple[Path, dict]:
        """Build the image; its root, mounted, and its configuration."""
        self.build_image("recognizer")
        made = self.buildah("from", "--pull-never", "recognizer")
        told = json.loads(self.buildah("inspect", "--type", "image", "recognizer"))
        return Path(self.buildah("mount", made)), told["Docker"]["config"]


class Container:
    """A container of the image, run by runc; a context manager."""

    def __init__(self, folder: Path, root: Path, config: dict, data: Path, **settings: str):
        self.name, self.port, self.log = f"recognizer-{secrets.token_hex(4)}", free_port(), folder / "container.log"
        self._state, self._bundle = folder / "runc", folder / self.name
        self._bundle.mkdir(parents=True)
        run("runc", "spec", "--bundle", self._bundle)
        spec = json.loads((self._bundle / "config.json").read_text())
        process = spec["process"]
        environ = [*config["Env"], "RECOGNIZER_HOST=127.0.0.1", *(f"{name}={value}" for name, value in settings.items())]
        command = [str(self.port) if word == "8000" else word for word in config["Cmd"]]
        process |= {"terminal": False, "args": command, "env": environ, "cwd": config["WorkingDir"]}
        process |= {"user": {"uid": USER, "gid": 0}, "capabilities": {}, "noNewPrivileges": True}
        process.pop("rlimits", None)  # a machine may not allow them
        spec["root"] = {"path": str(root), "readonly": True}
        # the machine's network, whose loopback the tests use; and not its control groups, which not every machine allows
        spec["linux"]["namespaces"] = [
            each for each in spec["linux"]["namespaces"] if each["type"] not in ("network", "cgroup")
        ]
        spec["mounts"] = [each for each in spec["mounts"] if each["destination"] not in ("/sys", "/sys/fs/cgroup")]
        spec["mounts"] += [
            {"destination": "/data", "type": "bind", "source": str(data), "options": ["rbind", "rw"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},
        ]
        (self._bundle / "config.json").write_text(json.dumps(spec))
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Container:
        with open(self.log, "wb") as log:
            command = ["runc", "--root", str(self._state), "run", "--bundle", str(self._bundle), self.name]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            subprocess.run(["runc", "--root", str(self._state), "kill", self.name, "KILL"], check=False)
            self._process.wait(30)

    def ready(self) -> float:
        """Seconds until it was ready."""
        assert self._process is not None
        begun = time.monotonic()
        while time.monotonic() - begun < 120:
            assert self._process.poll() is None, self.log.read_text()
            try:
                if requests.get(f"http://127.0.0.1:{self.port}/health/ready", timeout=5).status_code == 200:
                    return time.monotonic() - begun
            except requests.ConnectionError:
                time.sleep(0.1)
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def ask(self, method: str, path: str, key: str, **how) -> dict:
        answer = requests.request(method, f"http://127.0.0.1:{self.port}{path}", headers={"X-Api-Key": key}, timeout=60, **how)
        assert answer.ok, answer.text
        return answer.json()

    def end(self, name: signal.Signals) -> tuple[int, float]:
        """Send a signal; the exit code, and after how many seconds it ended."""
        assert self._process is not None
        begun = time.monotonic()
        run("runc", "--root", self._state, "kill", self.name, name.name)
        return self._process.wait(60), time.monotonic() - begun

    def wait(self) -> tuple[int, str]:
        """The exit code and the log of one that ends by itself."""
        assert self._process is not None
        return self._process.wait(120), self.log.read_text()


def data_folder(parent: Path, user: int) -> Path:
    """A folder as an orchestrator mounts one."""
    folder = parent / f"data-{secrets.token_hex(4)}"
    for each in (folder, folder / "known_faces", folder / "state"):
        each.mkdir()
        os.chown(each, user, 0)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="keep the images in this folder; the next run is faster")
    options = parser.parse_args()
    missing = [name for name in ("mmdebstrap", "buildah", "runc") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        sys.exit(f"needs root and {', '.join(missing) or 'nothing else'}")
    faces = real_photos.fetch_photos("obama.jpg", "obama2.jpg", "biden.jpg")
    with tempfile.TemporaryDirectory(dir=options.keep) as name:
        folder = Path(name)
        images = Images(options.keep or folder)
        images.folder.mkdir(parents=True, exist_ok=True)
        images.base()
        root, config = images.build()
        print(f"built: {sum(f.stat().st_size for f in root.rglob('*') if f.is_file() and not f.is_symlink()) / 1e6:.0f} MB")
        assert config["User"] == "10001:10001" and config["Healthcheck"]["Test"], config
        key, data = secrets.token_hex(32), data_folder(folder, USER)
        with Container(folder, root, config, data, RECOGNIZER_ADMIN_KEY=key) as container:
            print(f"ready as user {USER} after {container.ready():.1f} s")
            refused = requests.get(f"http://127.0.0.1:{container.port}/people", timeout=10)
            assert refused.status_code == 401, refused.text
            photo = {"photo": ("a.jpg", faces["obama.jpg"].read_bytes(), "image/jpeg")}
            assert container.ask("POST", "/enroll", key, data={"subject": "Barack Obama"}, files=photo)["added"] == 1
            for file, who in (("obama2.jpg", "Barack Obama"), ("biden.jpg", None)):
                asked = {"photo": (file, faces[file].read_bytes(), "image/jpeg")}
                found = container.ask("POST", "/recognize", key, files=asked)["faces"]
                assert [face["subject"] for face in found] == [who], found
            code, seconds = container.end(signal.SIGTERM)
            print(f"ended with {code} {seconds:.1f} s after SIGTERM")
            assert code == 0 and seconds < 10, container.log.read_text()
        with Container(folder, root, config, data, RECOGNIZER_ADMIN_KEY=key) as container:
            container.ready()
            assert list(container.ask("GET", "/people", key)["people"]), "what was enrolled is gone"
        misspelled = {"RECOGNIZER_ADMIN_KEY": key, "RECOGNIZER_KNOWN_FACE": "x"}
        with Container(folder, root, config, data, **misspelled) as container:
            code, log = container.wait()
        print(f"with a setting that is none, {code}: {log.strip().splitlines()[-1]}")
        assert code not in (0, 137) and "RECOGNIZER_KNOWN_FACE" in log and "Traceback" not in log, log
        images.buildah("umount", "--all")
        images.buildah("rm", "--all")
    print("the image does what docs/operations.md says")


if __name__ == "__main__":
    main()
