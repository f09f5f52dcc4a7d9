"""Memory of our server: with everything loaded and 100,000 templates, and while it answers 20,000 requests.

    python benchmarks/memory.py [--data DIR] [--quick] [--json FILE]

The first figure is the resident memory of a process that built the service, put templates drawn at random into its gallery and
recognised a photo; the second that of `hug -f api.py` after its first 1,000 requests and after all of them, from four clients
at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import people
import report

TEMPLATES, REQUESTS, WARM, CLIENTS = 100_000, 20_000, 1_000, 4

_LOADED = """
import json, sys
from pathlib import Path
import numpy as np
from recognizer.service import make_service
from recognizer.core.settings import Settings
from recognizer.core.types import Embedding, Template

folder, photo, count = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3])
service = make_service(Settings.from_environment(known_faces=folder / "known_faces", state_dir=folder / "state", watch=False))
service.start()
rng, engine = np.random.default_rng(1), service.engine.info
for start in range(0, count, 1000):
    vectors = rng.normal(0, 0.08, (min(1000, count - start), engine.dim)).astype(np.float32)
    service.gallery.add(
        [Template(f"person {start + i}", f"{start + i:032x}", Embedding(vector, engine.id)) for i, vector in enumerate(vectors)]
    )
service.gallery.settle()
service.recognition.recognize(photo)
print(json.dumps({line.split(":")[0]: int(line.split()[1]) for line in open("/proc/self/status") if line[:5] == "VmRSS"}))
service.close()
"""


def resident(process: int) -> float:
    """Resident memory of a process, in MB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1000
    raise SystemExit("This needs Linux's /proc.")


def loaded(photo: Path, count: int) -> float:
    """Resident MB of a process with everything loaded and `count` templates."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", _LOADED, folder, str(photo), str(count)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(report.ROOT)},
        )
    return json.loads(done.stdout.splitlines()[-1])["VmRSS"] / 1000


def answering(photo: Path, requests: int, warm: int) -> tuple[float, float]:
    """Resident MB of the server after `warm` requests, and after `requests` more."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known_faces" / "somebody"
        known.mkdir(parents=True)
        (known / "photo.jpg").write_bytes(photo.read_bytes())
        with people.ours(Path(folder), Path(folder) / "log") as served:
            _ask(served.url, photo, warm)
            before = resident(served.process.pid)
            _ask(served.url, photo, requests)
            return before, resident(served.process.pid)


def _ask(url: str, photo: Path, requests: int) -> None:
    import threading

    import requests as http

    data, failed = photo.read_bytes(), []

    def client(count: int) -> None:
        with http.Session() as session:
            for _ in range(count):
                reply = session.post(f"{url}/recognize", data=data, headers={"Content-Type": "image/jpeg"}, timeout=60)
                if reply.status_code != 200:
                    failed.append(reply.text)

    threads = [threading.Thread(target=client, args=(requests // CLIENTS,)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"{len(failed)} of {requests} requests failed, the first with {failed[0]}")


def main() -> None:
    options = report.parser(__doc__, data=True).parse_args()
    photo = report.need(options.data, "people", "obama-240p.jpg")
    requests, warm = (1_200, 400) if options.quick else (REQUESTS, WARM)
    before, after = answering(photo, requests, warm)
    rows = [
        {"what": f"everything loaded, {TEMPLATES} templates", "MB": loaded(photo, TEMPLATES), "ratio": None},
        {"what": f"server after {warm} requests", "MB": before, "ratio": 1.0},
        {"what": f"server after {requests} more", "MB": after, "ratio": after / before},
    ]
    report.table(rows, "Resident memory; the ratio is against the server's after its first requests")
    report.save(options, memory=rows)


if __name__ == "__main__":
    main()
