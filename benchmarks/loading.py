"""What a command costs: loading the networks, and naming one photo, in processes of their own.

    python benchmarks/loading.py [--against DIR] [--data DIR] [--quick] [--json FILE]

`networks` loads the default engine as it is stored for this processor, and again as it was converted, which ONNX Runtime then
optimises. `one photo` is the command line: `recognizer recognize` and `face_recognition`, each with one person enrolled. The
figures are medians of processes that take turns; processor time is that of loading for networks, and of the whole process for
commands.
--against names another checkout, whose command is measured in the same run.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report

_LOAD = """
import json, sys, time
from pathlib import Path
import cv2, dlib, onnxruntime
from recognizer.core.settings import Settings
from recognizer.engines import make_engine, processor_form
if sys.argv[1] == "converted":
    processor_form._CPUINFO = Path(sys.argv[0] + ".none")
begun = time.process_time()
make_engine(models_dir=Settings.from_environment().models_dir)
spent = time.process_time() - begun
status = {line.split(":")[0]: int(line.split()[1]) for line in open("/proc/self/status") if line[:5] in ("VmHWM", "RssAn")}
print(json.dumps([spent, status["VmHWM"] / 1000, status["RssAnon"] / 1000]))
"""


def loading(form: str) -> list[float]:
    """Seconds of processor time, MB at the peak, MB that are not shared."""
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, form],
        env={**os.environ, "PYTHONPATH": str(report.ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(each) for each in json.loads(done.stdout)]


def command(words: list[str], folder: str, environment: dict[str, str]) -> list[float]:
    """Seconds of processor time and of wall time of a command that runs in `folder`."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    took, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if "obama" not in done.stdout:
        raise SystemExit(f"{words[:4]} did not name the photo: {done.stdout}{done.stderr}")
    return [after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took]


def medians(found: list[list[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*found, strict=True)]


def networks(rounds: int) -> list[dict]:
    found: dict[str, list[list[float]]] = {"as stored for the processor": [], "as converted": []}
    loading("stored")  # stores the form where it is missing
    for _ in range(rounds):
        found["as stored for the processor"].append(loading("stored"))
        found["as converted"].append(loading("converted"))
    middle = {name: medians(each) for name, each in found.items()}
    slowest = middle["as converted"][0]
    return [
        {"networks": name, "cpu ms": 1000 * cpu, "ratio": slowest / cpu, "peak MB": peak, "not shared MB": own}
        for name, (cpu, peak, own) in middle.items()
    ]


def one_photo(photo: Path, enrolled: Path, against: Path | None, rounds: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        known, flat = Path(folder, "known_faces", "obama"), Path(folder, "flat")
        known.mkdir(parents=True)
        flat.mkdir()
        for place in (known, flat):
            (place / "obama.jpg").write_bytes(enrolled.read_bytes())
        ours = [sys.executable, "-m", "recognizer", "recognize", str(photo)]
        theirs = [sys.executable, "-m", "face_recognition.face_recognition_cli", str(flat), str(photo)]
        settings = {"RECOGNIZER_KNOWN_FACES": str(known.parent), "RECOGNIZER_STATE_DIR": f"{folder}/state"}
        programs = {"recognizer": (ours, {**settings, "PYTHONPATH": str(report.ROOT)}), "face_recognition": (theirs, {})}
        if against is not None:
            other = {**settings, "RECOGNIZER_STATE_DIR": f"{folder}/other"}
            programs["the other checkout"] = (ours, {**other, "PYTHONPATH": str(against.resolve())})
        found: dict[str, list[list[float]]] = {name: [] for name in programs}
        for number in range(rounds + 1):
            for name, (words, environment) in programs.items():
                seconds = command(words, folder, environment)
                if number:  # the first one encodes who is enrolled
                    found[name].append(seconds)
    middle = {name: medians(each) for name, each in found.items()}
    theirs_cpu = middle["face_recognition"][0]
    return [
        {"one photo": name, "cpu s": cpu, "wall s": wall, "ratio": theirs_cpu / cpu} for name, (cpu, wall) in middle.items()
    ]


def main() -> None:
    parser = report.parser(__doc__ or "", data=True)
    parser.add_argument("--against", metavar="DIR", type=Path, help="another checkout of this project")
    options = parser.parse_args()
    report.need_packages("face_recognition")
    rounds = 3 if options.quick else 15
    nets = networks(rounds)
    report.table(nets, "Loading the default engine")
    people = options.data / "people"
    photos = [report.need(people, name) for name in ("obama-720p.jpg", "obama2.jpg")]
    commands = one_photo(*photos, options.against, rounds)
    report.table(commands, "A command that names one photo of 720p")
    report.save(options, networks=nets, commands=commands)


if __name__ == "__main__":
    main()
