"""Folders of enrolled people made of LFW photos, and the server started on them, for the scripts that need a server.

    python benchmarks/people.py [--people N] [--against DIR] [--keep] [--data DIR] [--work DIR] [--quick] [--json FILE]

As a script it measures many people in folders: 50,000 with four files each, synthetic, whose encodings the cache has. It
prints how long a start takes until it is ready, and how much memory a template takes, what the idle program takes of a core,
and what enrolling, erasing and listing take; `recognize` is the work on the photo alone, which is part of enrolling it.
--against names another checkout, which is measured in the same run.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lfw
import report

_DESCRIPTION = __doc__ or ""


def fill(folder: Path, files: list[Path]) -> None:
    """Make `folder` hold these photos, each in a folder of its person; hard links where the file system allows them."""
    if folder.exists():
        shutil.rmtree(folder)
    for file in files:
        place = folder / file.parent.name / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, place)
        except OSError:
            shutil.copy2(file, place)


def one_photo_each(data: Path, people: int) -> list[Path]:
    """One photo of each of so many people."""
    first = {file.parent.name: file for file in reversed(lfw.photos(data))}
    return [first[name] for name in sorted(first)][:people]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(work: Path, **settings) -> dict[str, str]:
    """The environment in which our server uses the known_faces and the state below `work`, and these settings."""
    settings = {"known_faces": work / "known_faces", "state_dir": work / "state", **settings}
    return {**os.environ, **{f"RECOGNIZER_{name.upper()}": str(value) for name, value in settings.items()}}


@dataclass(frozen=True)
class Running:
    """A server that is ready, the seconds that it took to be so, and its resident memory's peak in MB."""

    port: int
    seconds: float
    process: subprocess.Popen

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ended(self) -> bool:
        """Whether it ended by itself, which no server should."""
        return self.process.poll() is not None

    @property
    def cpu_seconds(self) -> float | None:
        """Processor time that the process has used so far."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak_mb(self) -> float | None:
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


@contextmanager
def ours(work: Path, log: Path, timeout: float = 1800, checkout: Path = report.ROOT, **settings) -> Iterator[Running]:
    """`hug -f api.py` of a checkout on the loopback address with these settings, until /health says ready."""
    port = free_port()
    command = [Path(sys.executable).parent / "hug", "-f", "api.py", "-p", port]
    env = environment(work, **settings)
    with _server(command, port, "/health", lambda body: json.loads(body)["ready"], log, timeout, env, checkout) as it:
        yield it


@contextmanager
def flask_example(gallery: Path, log: Path) -> Iterator[Running]:
    """The Flask example on the loopback address, until it answers."""
    port = free_port()
    command = [sys.executable, Path(__file__).parent / "flask_example.py", gallery, port]
    with _server(command, port, "/", lambda body: True, log, 120, dict(os.environ)) as it:
        yield it


@contextmanager
def _server(command, port, path, is_ready, log, timeout, env, checkout: Path = report.ROOT) -> Iterator[Running]:
    started = time.perf_counter()
    with open(log, "ab") as file, report.child(command, cwd=checkout, stdout=file, stderr=file, env=env) as process:
        while not _answers(port, path, is_ready):
            if process.poll() is not None:
                raise SystemExit(f"The server ended with status {process.returncode}; its output is in {log}.")
            if time.perf_counter() - started > timeout:
                raise SystemExit(f"The server was not ready after {timeout:.0f} s; its output is in {log}.")
            time.sleep(0.02)
        yield Running(port, time.perf_counter() - started, process)


def _answers(port: int, path: str, is_ready) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status == 200 and is_ready(body)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


# -- many people -----------------------------------------------------------------------------------------------------

_MANY = """
import json, os, sys, threading, time
from pathlib import Path
import numpy as np
from recognizer.core.settings import Settings
from recognizer.service import make_service

def resident():
    return next(int(line.split()[1]) / 1000 for line in open("/proc/self/status") if line.startswith("VmRSS"))

def timed(call):
    wall, cpu = time.perf_counter(), time.process_time()
    made = call()
    return made, 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)

photos, idle, found = sys.argv[1:-1], float(sys.argv[-1]), {}
begun = time.perf_counter()
service = make_service(Settings.from_environment())
before = resident()
starting = threading.Thread(target=service.start)
starting.start()
while starting.is_alive() and not service.ready:
    time.sleep(0.005)
found["start s"], found["start cpu s"] = time.perf_counter() - begun, time.process_time()
starting.join()
service.gallery.settle()
count = len(service.gallery)
found["templates"], found["kB per template"] = count, (resident() - before) * 1000 / max(count, 1)
time.sleep(30)  # what a start leaves for later is done by then
used, begun = time.process_time(), time.perf_counter()
time.sleep(idle)
found["idle % of a core"] = 100 * (time.process_time() - used) / (time.perf_counter() - begun)
alone = enrol = erase = alone_wall = enrol_wall = erase_wall = 0
for turn, photo in enumerate(photos):
    data = Path(photo).read_bytes()
    _, wall, cpu = timed(lambda: service.recognition.recognize(data))
    alone, alone_wall = alone + cpu, alone_wall + wall
    _, wall, cpu = timed(lambda: service.subjects.enrol(f"Newcomer {turn}", data, face="largest", force=True))
    enrol, enrol_wall = enrol + cpu, enrol_wall + wall
    _, wall, cpu = timed(lambda: service.subjects.delete(f"Newcomer {turn}"))
    erase, erase_wall = erase + cpu, erase_wall + wall
n = len(photos)
found["recognize cpu ms"], found["enrol cpu ms"], found["erase cpu ms"] = alone / n, enrol / n, erase / n
found["recognize ms"], found["enrol ms"], found["erase ms"] = alone_wall / n, enrol_wall / n, erase_wall / n
for name, values in {"first": (0, 100), "middle": (count // 8, 100), "search": (0, 100, "77"), "of 1,000": (0, 1000)}.items():
    timed(lambda: service.subjects.page(*values))
    show = lambda: (service.subjects.page(*values), service.subjects.problems())
    found[f"page {name} cpu ms"] = min(timed(show)[2] for _ in range(5))
print(json.dumps(found))
sys.stdout.flush()
os._exit(0)
"""


def make_many(work: Path, people: int, each: int, engine: str, dim: int) -> None:
    """Folders of so many people with so many files, and a cache that has an encoding of every file.

    The files are no photos, but no engine reads them: the cache knows what is in them.
    """
    import numpy as np

    from recognizer.enrolment.cache import EncodingsCache
    from recognizer.enrolment.encodings import Encoding, FileStamp, photo_id

    faces, state = work / "known_faces", work / "state"
    shutil.rmtree(work, ignore_errors=True)
    faces.mkdir(parents=True)
    cache = EncodingsCache(state / "encodings.sqlite")
    chance = np.random.default_rng(1)
    for start in range(0, people, 1000):
        encodings, files = [], []
        for person in range(start, min(start + 1000, people)):
            folder = faces / f"Person number {person:06d}"
            folder.mkdir()
            centre = chance.normal(0, 0.09, dim)
            for number in range(each):
                data = f"person {person}, photo {number}".encode()
                file = folder / f"{number}.jpg"
                file.write_bytes(data)
                os.utime(file, (1.7e9, 1.7e9))
                vector = (centre + chance.normal(0, 0.03, dim)).astype(np.float32)
                box = tuple((50.0, 60.0, 150.0, 160.0) + chance.integers(0, 40, 4))
                encodings.append(Encoding(photo_id(data), engine, "only", vector, box=box, score=0.9, width=250, height=250))
                files.append((f"{folder.name}/{file.name}", FileStamp.of(file.stat()), photo_id(data)))
            os.utime(folder, (1.7e9, 1.7e9))
        cache.put(encodings)
        cache.remember_files(files)
    cache.close()


def many(root: Path, work: Path, photos: list[Path], idle: float) -> dict:
    """What enrolling, erasing, listing and waiting cost the program in `root` with the people below `work`."""
    env = {**environment(work), "PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _MANY, *map(str, photos), str(idle)]
    done = subprocess.run(command, cwd=root, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = report.parser(_DESCRIPTION, data=True, work=True)
    parser.add_argument("--people", metavar="N", type=int, help="people with four files each; 50,000 by default")
    parser.add_argument("--against", metavar="DIR", type=Path, help="another checkout, measured in the same run")
    parser.add_argument("--keep", action="store_true", help="use the folders of an earlier run")
    options = parser.parse_args()
    people = options.people or (2_000 if options.quick else 50_000)
    from recognizer.core.settings import Settings
    from recognizer.engines import make_engine

    engine = make_engine(models_dir=Settings.from_environment().models_dir)
    work, found = options.work / f"many-{people}", {}
    if not (options.keep and (work / "known_faces").is_dir()):
        make_many(work, people, 4, engine.info.id, engine.info.dim)
    photos = one_photo_each(options.data, 3 if options.quick else 10)
    idle = 10.0 if options.quick else 65.0
    for name, root in {"before": options.against, "now": report.ROOT}.items():
        if root is not None:
            found[name] = many(root.resolve(), work, photos, idle)
    rows = [{"what": key, **{name: measured[key] for name, measured in found.items()}} for key in found["now"]]
    report.table(rows, f"{people} people with four photos each; processor times are the process's own")
    report.save(options, people=found)


if __name__ == "__main__":
    main()
