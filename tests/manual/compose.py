"""deploy/compose.nodes.yml, started with Podman: by hand, on Debian or Ubuntu, as root; the first time half an hour.

::

    apt-get install mmdebstrap buildah podman netavark aardvark-dns runc catatonit
    pip install podman-compose
    python -m tests.manual.compose [--keep FOLDER]

No registry of images is needed: tests/manual/podman.py makes them from Debian's packages. podman-compose starts the services as
the file says, but for this: it cannot take secrets from the environment, so they are in files, and ports of this machine are
free ones. Debian has no Grafana, and moto's server takes the place of MinIO.

Ends with 0 if somebody enrolled at one node is recognised at the other, a node that dies is not noticed behind the balancer and
comes back by itself, and Prometheus has the numbers of both nodes and takes the alerts.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from base64 import b64encode
from pathlib import Path

import requests
import yaml

from .. import photos as real_photos
from ..brokers import free_port
from ..e2e.serving import ROOT
from .podman import Podman, needs, until

DEPLOY = ROOT / "deploy"
FILE = "compose.nodes.yml"


#: Podman 4.3 cannot start what requires something that requires something else; podman-compose keeps the order anyway.
_PODMAN = f"""#!{sys.executable}
import os, sys

os.execvp("podman", ["podman", *(word for word in sys.argv[1:] if not word.startswith("--requires="))])
"""


class Stack:
    """The services of the compose file, in containers; a context manager that removes them."""

    def __init__(self, podman: Podman, folder: Path):
        self.podman, self.folder = podman, folder / "deploy"
        shutil.copytree(DEPLOY, self.folder)
        (self.file,) = yaml.safe_load_all((DEPLOY / FILE).read_text("utf-8"))
        self._podman = folder / "podman"
        self._podman.write_text(_PODMAN)
        self._podman.chmod(0o755)
        self.ports: dict[str, int] = {}
        self.key = secrets.token_hex(32)
        passwords = {name: secrets.token_hex(16) for name in ("DATABASE_PASSWORD", "STORE_PASSWORD")}
        self.environ = podman.environ | passwords
        self._secrets = {
            "DATABASE_URL": f"postgresql://recognizer:{passwords['DATABASE_PASSWORD']}@database/recognizer",
            "ENCRYPTION_KEY": b64encode(secrets.token_bytes(32)).decode(),
            "RECOGNIZER_ADMIN_KEY": self.key,
            "PROMETHEUS_KEY": "none yet",
        }
        for name, service in self.file["services"].items():
            for at, published in enumerate(service.get("ports", ())):
                address, _, inside = published.split(":")
                self.ports[name] = free_port()
                service["ports"][at] = f"{address}:{self.ports[name]}:{inside}"
        for secret in self.file["secrets"].values():
            name = secret.pop("environment")
            secret["file"] = self.write_secret(name, self._secrets[name])
        (self.folder / FILE).write_text(yaml.safe_dump(self.file, sort_keys=False))

    def write_secret(self, name: str, value: str) -> str:
        path = self.folder / "secrets" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(value)
        path.chmod(0o444)  # as Docker makes files of secrets from the environment
        return str(path)

    def _compose(self, *command: str) -> subprocess.CompletedProcess:
        words = ["podman-compose", "--podman-path", str(self._podman), "-f", str(self.folder / FILE), *command]
        return subprocess.run(words, env=self.environ, capture_output=True, text=True, check=False)

    def compose(self, *command: str) -> str:
        done = self._compose(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def name(self, service: str) -> str:
        return f"{self.file['name']}_{service}_1"

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            for service in ("migration", "node-a", "node-b", "balancer", "database", "prometheus"):
                print(f"--- {service}\n{self.podman.log(self.name(service))[-3000:]}", file=sys.stderr)
        self._compose("--profile", "monitoring", "down", "-v", "-t", "15")

    def url(self, service: str, path: str) -> str:
        """At a published port, or at the container itself."""
        port = self.ports.get(service)
        return f"http://127.0.0.1:{port}{path}" if port else f"http://{self.podman.address(self.name(service))}:8000{path}"

    def ask(self, service: str, method: str, path: str, **how) -> requests.Response:
        headers = {"X-Api-Key": self.key, **how.pop("headers", {})}
        return requests.request(method, self.url(service, path), headers=headers, timeout=60, proxies={"http": ""}, **how)

    def ready(self, service: str) -> bool:
        try:
            return self.ask(service, "GET", "/health/ready").status_code == 200
        except (requests.RequestException, subprocess.CalledProcessError, ValueError):
            return False


class Asking(threading.Thread):
    """A client that asks the balancer all the time, and counts what it gets."""

    def __init__(self, stack: Stack):
        super().__init__()
        self.stack, self.over, self.statuses = stack, threading.Event(), []

    def run(self) -> None:
        while not self.over.wait(0.05):
            try:
                self.statuses.append(self.stack.ask("balancer", "GET", "/people").status_code)
            except requests.RequestException as error:
                self.statuses.append(repr(error))

    def end(self) -> int:
        """How many answers there were, all of them good."""
        self.over.set()
        self.join()
        assert set(self.statuses) == {200}, {str(each) for each in self.statuses}
        return len(self.statuses)


def photo(path: Path) -> dict:
    return {"photo": (path.name, path.read_bytes(), "image/jpeg")}


def try_nodes(stack: Stack, faces: dict[str, Path]) -> None:
    """Enrolled at one, recognised at the other and through the balancer."""
    answer = stack.ask("node-a", "POST", "/enroll", data={"subject": "Barack Obama"}, files=photo(faces["obama.jpg"]))
    assert answer.ok and answer.json()["added"] == 1, answer.text
    seen = {"Recognizer-Change": answer.headers["Recognizer-Change"]}
    for service in ("node-b", "balancer"):
        for file, who in (("obama2.jpg", "Barack Obama"), ("biden.jpg", None)):
            answer = stack.ask(service, "POST", "/recognize", files=photo(faces[file]), headers=seen)
            assert answer.ok and [face["subject"] for face in answer.json()["faces"]] == [who], answer.text
    assert stack.ask("balancer", "GET", "/people", headers={"X-Api-Key": ""}).status_code == 401
    print("enrolled at node-a, recognised at node-b and through the balancer")


def try_deaths(stack: Stack) -> None:
    """A node that dies, and one that is stopped."""
    asking = Asking(stack)
    asking.start()
    os.kill(stack.podman.inspect(stack.name("node-a"))["State"]["Pid"], signal.SIGKILL)
    back = until(lambda: stack.ready("node-a"))
    print(f"node-a was killed and was ready again after {back:.1f} s; {asking.end()} requests meanwhile were answered")
    asking = Asking(stack)
    asking.start()
    stack.podman("stop", "-t", "15", stack.name("node-b"))
    code = stack.podman.inspect(stack.name("node-b"))["State"]["ExitCode"]
    assert code == 0, "it had to be killed"
    until(lambda: len(asking.statuses) > 40)
    print(f"node-b was stopped; {asking.end()} requests were answered")
    stack.podman("start", stack.name("node-b"))
    until(lambda: stack.ready("node-b"))


def try_prometheus(stack: Stack) -> None:
    """A key for Prometheus as docs/scale.md makes one; it has scraped both nodes, and has taken the alerts."""
    made = stack.compose("exec", "-T", "node-a", "python", "-m", "recognizer", "keys", "add", "prometheus", "--role", "read")
    stack.write_secret("PROMETHEUS_KEY", made)
    stack.compose("--profile", "monitoring", "up", "-d", "--no-build", "prometheus")

    def values(query: str) -> dict[str, str]:
        try:
            answer = requests.get(stack.url("prometheus", "/api/v1/query"), {"query": query}, timeout=10, proxies={"http": ""})
        except requests.ConnectionError:
            return {}
        if not answer.ok:  # it is starting
            return {}
        return {each["metric"]["instance"]: each["value"][1] for each in answer.json()["data"]["result"]}

    nodes = {"node-a:8000", "node-b:8000"}
    seconds = until(lambda: set(values("recognizer_gallery_subjects")) == nodes, 180)
    assert values('up{job="recognizer"}') == dict.fromkeys(nodes, "1")
    assert set(values("recognizer_gallery_subjects").values()) == {"1"}
    rules = requests.get(stack.url("prometheus", "/api/v1/rules"), timeout=10, proxies={"http": ""}).json()["data"]["groups"]
    assert rules and all(rule["health"] != "err" for group in rules for rule in group["rules"]), rules
    print(f"Prometheus has the numbers of both nodes after {seconds:.1f} s, and {sum(len(g['rules']) for g in rules)} alerts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="keep the images in this folder; the next run is faster")
    options = parser.parse_args()
    needs("podman-compose")
    faces = real_photos.fetch_photos("obama.jpg", "obama2.jpg", "biden.jpg")
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep.resolve() if options.keep else Path(name) / "images"
        folder.mkdir(parents=True, exist_ok=True)
        podman = Podman(folder)
        with Stack(podman, Path(name)) as stack:
            podman.recognizer("localhost/recognizer:nodes")
            for service in ("database", "store", "balancer", "prometheus"):
                podman.stand_in(stack.file["services"][service]["image"])
            stack.compose("up", "-d", "--no-build")
            # Podman runs health checks by timers of systemd, which may be missing; before 4.6 podman-compose does not wait
            # for them: then what starts too early ends, and is started again
            healthy = until(lambda: podman.try_("healthcheck", "run", stack.name("database")).returncode == 0)
            print(f"the database is healthy after {healthy:.1f} s")
            until(lambda: podman.inspect(stack.name("migration"))["State"]["Status"] == "exited")
            migration = podman.inspect(stack.name("migration"))["State"]
            assert (migration["Status"], migration["ExitCode"]) == ("exited", 0), podman.log(stack.name("migration"))
            ready = until(lambda: all(stack.ready(each) for each in ("node-a", "node-b", "balancer")))
            print(f"both nodes and the balancer are ready after {ready:.1f} s")
            try_nodes(stack, faces)
            try_deaths(stack)
            try_prometheus(stack)
    print("the compose file does what docs/scale.md says")


if __name__ == "__main__":
    main()
