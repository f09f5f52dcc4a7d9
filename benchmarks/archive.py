"""What `python -m recognizer group` takes for ten thousand photos: time, memory, and how well it sorts them.

    python benchmarks/archive.py [--data DIR] [--work DIR] [--photos N] [--quick] [--json FILE]

The photos are LFW's, and then the same again, each made a little smaller and written anew, so that their bytes differ. The
command runs three times: killed half-way (SIGKILL), started again, and with nothing new to look at. Memory is
the peak of the process's resident set, looked at ten times a second. Pairwise precision and recall are those of the
faces nearest to the middle of each photo, which are LFW's.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import clustering
import lfw
import numpy as np
import people
import report
from PIL import Image


def fill(folder: Path, data: Path, number: int) -> None:
    """Make `folder` hold so many photos of people."""
    files = lfw.photos(data)
    if folder.exists() and sum(1 for _ in folder.glob("*/*.jpg")) == number:
        return
    shutil.rmtree(folder, ignore_errors=True)
    for file in files[:number]:
        (folder / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / file.parent.name / file.name)
    for copy in range(max(0, number - len(files))):
        file = files[copy % len(files)]
        side = 240 - 6 * (copy // len(files))
        out = io.BytesIO()
        Image.open(file).resize((side, side)).save(out, "JPEG", quality=88)
        (folder / file.parent.name / f"{file.stem}-{side}.jpg").write_bytes(out.getvalue())


def run(work: Path, photos: Path, kill_at: int | None = None) -> dict:
    """One run of the command; `kill_at`: killed when so many photos are in its cache."""
    command = [sys.executable, "-m", "recognizer", "group", photos, "--out", work / "out", "--json"]
    started, peak, answer = time.perf_counter(), 0.0, work / "answer.json"
    with (
        answer.open("wb") as file,
        report.child(command, cwd=report.ROOT, env=people.environment(work), stdout=file, stderr=subprocess.DEVNULL) as process,
    ):
        while process.poll() is None:
            peak = max(peak, people.Running(0, 0.0, process).peak_mb or 0.0)
            if kill_at is not None and looked(work / "state" / "archive.sqlite") >= kill_at:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.1)
    shown = json.loads(answer.read_bytes() or b"{}")
    return {
        "seconds": time.perf_counter() - started,
        "peak MB": peak,
        "status": process.returncode,
        "photos": shown.get("photos"),
        "faces": shown.get("faces"),
        "people": shown.get("people"),
        "looked at": looked(work / "state" / "archive.sqlite"),
    }


def looked(cache: Path) -> int:
    import sqlite3

    if not cache.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{cache}?mode=ro", uri=True, timeout=5) as connection:
            return connection.execute("SELECT count(*) FROM encodings WHERE face = 'all'").fetchone()[0]
    except sqlite3.Error:
        return 0


def sorted_how(out: Path) -> dict:
    """Figures of the groups: of each photo the face nearest to the middle."""
    shown, best = json.loads((out / "groups.json").read_bytes()), {}
    for person in shown["people"]:
        for face in person["faces"]:
            box, photo = face["box"], face["photo"]
            side = int(photo.rsplit("-", 1)[1][:-4]) if "-" in Path(photo).stem[-5:] else 250
            off = ((box["left"] + box["right"]) / side - 1) ** 2 + ((box["top"] + box["bottom"]) / side - 1) ** 2
            if photo not in best or off < best[photo][0]:
                best[photo] = off, person["id"]
    names = np.array([Path(photo).parent.name for photo in best])
    return clustering.figures(np.array([id_ for _, id_ in best.values()]), names)


def main() -> None:
    parser = report.parser(__doc__, data=True, work=True)
    parser.add_argument("--photos", type=int, default=10_000)
    options = parser.parse_args()
    number = 300 if options.quick else options.photos
    work = options.work / f"archive-{number}"
    fill(work / "photos", options.data, number)
    (work / "known_faces").mkdir(exist_ok=True)

    for each in ("state", "out"):
        shutil.rmtree(work / each, ignore_errors=True)
    rows = [{"run": "killed half-way", **run(work, work / "photos", number // 2)}]
    rows.append({"run": "started again", **run(work, work / "photos")})
    rows.append({"run": "nothing new", **run(work, work / "photos")})
    page, data = (work / "out" / name for name in ("index.html", "groups.json"))
    for row in rows:
        row["page MB"] = page.stat().st_size / 1e6
    report.table(rows, f"{number} photos")
    figures = sorted_how(work / "out")
    report.table([figures], f"How they are sorted ({data.stat().st_size / 1e6:.1f} MB of JSON)")
    report.save(options, runs=rows, sorted=[figures])


if __name__ == "__main__":
    main()
