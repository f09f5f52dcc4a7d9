"""Bulk work on Spark against the same work in one process: photos, and templates against a gallery.

    python benchmarks/spark.py [--data DIR] [--quick] [--photos 4992] [--templates 100000] [--probes 40000] [--json FILE]

Every row is measured in a process of its own. `in process` is the encoder of `archive` and `group`, with a thread for each of
two cores. The rows of Spark are its masters: `local[2]`, and `local-cluster[2,1,1024]`, two executors in JVMs of their own.
`seconds` and `photos_s` are by the clock; where the machine has other work, `cpu_ms`, the processor time per photo of all
processes together, says more, and `ratio` compares that: baseline's over this row's, 1 being no cost of Spark at all. Starting
the session, Python workers and engines is not counted there: `start_cpu_s` has it, with a first small run. `worker_mb` is the
memory that a Python worker has for itself (its share of what is mapped by several), `jvm_mb` that of the JVMs.
The last lines are arithmetic from the processor time: what a million probes take, and a hundred cores.
Linux only: processor time and memory come from /proc.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported, here and in the workers

import report
from search import drawn

from recognizer.core.types import Embedding, Template
from recognizer.engines import calibration, make_engine
from recognizer.enrolment.bulk import BulkSettings, in_batches, judged_faces
from recognizer.galleries.memory import MemoryGallery
from recognizer.spark import encode_photos, match_faces, spark_session
from recognizer.spark.face_columns import FACE_COLUMNS, to_batch
from recognizer.spark.mapped_gallery import write_gallery
from recognizer.spark.places import TablePlace

MASTERS = ("local[2]", "local-cluster[2,1,1024]")
PER_SUBJECT, PER_FILE = 4, 1000
ENGINE = "drawn/1"
_TICK = os.sysconf("SC_CLK_TCK")


# -- processes --------------------------------------------------------------------------------------------------------


def family() -> list[int]:
    """This process and all that descend from it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found, fresh = [os.getpid()], [os.getpid()]
    while fresh:
        fresh = [pid for pid, parent in parents.items() if parent in fresh and pid not in found]
        found += fresh
    return found


def cpu() -> float:
    """Processor time of the family so far, in seconds, with that of children which have ended."""
    total = 0
    for pid in family():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / _TICK


def memory() -> tuple[float, float]:
    """The largest share of memory of a Python worker, and that of all JVMs, in MB."""
    workers, machines = [0.0], 0.0
    for pid in family()[1:]:
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            share = next(line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
        size = int(share.split()[1]) / 1000
        if name == "java":
            machines += size
        else:
            workers.append(size)
    return round(max(workers)), round(machines)


class Measured:
    """Time by the clock and of the processors within a block."""

    def __enter__(self):
        self._begun, self._used = time.monotonic(), cpu()
        return self

    def __exit__(self, *_):
        self.seconds, self.cpu = time.monotonic() - self._begun, cpu() - self._used


# -- photos -----------------------------------------------------------------------------------------------------------


def _judge(settings: BulkSettings, path: str) -> int:
    judged = judged_faces(settings, Path(path).read_bytes())[1]
    return 0 if judged is None else len(judged.faces)


def encode_in_process(photos: list[str]) -> dict:
    """The encoder of one machine, with two threads."""
    import cv2

    cv2.setNumThreads(1)
    with Measured() as start:
        settings = spark_session.settings_of({})
        recipe = {"models_dir": settings.models_dir}
        bulk = BulkSettings(make_engine(**recipe), recipe, workers=2)
        sum(map(sum, in_batches(_judge, photos[:50], bulk)))
    with Measured() as work:
        faces = sum(map(sum, in_batches(_judge, photos, bulk)))
    return told("in process", len(photos), faces, start, work)


def encode_on_spark(master: str, photos: list[str]) -> dict:
    """`recognizer spark encode` with a list of photos."""
    with tempfile.TemporaryDirectory() as folder:
        names = {"few": photos[:64], "all": photos}
        for name, some in names.items():
            Path(folder, f"{name}.txt").write_text("\n".join(some), "utf-8")
        with Measured() as start:
            session = spark_session.open_session(master)
            plan = encode_photos.make_plan(spark_session.settings_of({}))
            encode_photos.encode_photos(session, f"{folder}/few.txt", f"{folder}/few", plan, lambda *_: None)
        with Measured() as work:
            done = encode_photos.encode_photos(session, f"{folder}/all.txt", f"{folder}/all", plan, lambda *_: None)
        worker, jvm = memory()
        session.stop()
    assert done.photos == len(photos) and not done.errors
    return {**told(master, len(photos), done.faces, start, work), "worker_mb": worker, "jvm_mb": jvm}


def told(name: str, photos: int, faces: int, start: Measured, work: Measured) -> dict:
    return {
        "where": name,
        "photos": photos,
        "faces": faces,
        "seconds": round(work.seconds, 1),
        "photos_s": round(photos / work.seconds, 1),
        "cpu_ms": round(1000 * work.cpu / photos, 2),
        "start_cpu_s": round(start.cpu, 1),
    }


# -- templates --------------------------------------------------------------------------------------------------------


def gallery_of(count: int) -> MemoryGallery:
    gallery = MemoryGallery(ENGINE, 256, sketch_from=10**9)
    vectors = drawn(count, 256, 1)
    for start in range(0, count, 10_000):
        gallery.add(
            [
                Template(f"person {row // PER_SUBJECT}", f"{row:032x}", Embedding(vectors[row], ENGINE))
                for row in range(start, min(start + 10_000, count))
            ]
        )
    return gallery


def probe_tables(place: TablePlace, count: int) -> None:
    """Files of faces as `encode` writes them: half of them of people who are enrolled."""
    import pyarrow as pa

    for start in range(0, count, PER_FILE):
        vectors = drawn(PER_FILE, 256, 10 + start)
        rows = [
            {
                "source": f"{start + i}.jpg",
                "face": 0,
                "engine": ENGINE,
                "template": vectors[i],
                "comparable": True,
                "doubt": -3.0,
                "rate_factor": 1.0,
            }
            for i in range(PER_FILE)
        ]
        place.write(f"faces-{start:08}.parquet", pa.Table.from_batches([to_batch(rows, FACE_COLUMNS)]))


def match_on(master: str, folder: str, templates: int, probes: int) -> dict:
    """Match files of probes: in this process on one core, or on Spark."""
    source = TablePlace(f"{folder}/faces")
    files = write_gallery(gallery_of(templates), Path(folder))
    plan = match_faces.MatchPlan(files, calibration("yunet", "dlib+sface"), None, 0.01, 1)
    names = source.tables()
    few = TablePlace(f"{folder}/few")
    few.write(names[0], source.read(names[0]))
    if master == "in process":
        with Measured() as start:
            match_faces.match_file(plan, few, TablePlace(f"{folder}/few-named"), names[0])
        with Measured() as work:
            for name in names:
                match_faces.match_file(plan, source, TablePlace(f"{folder}/named"), name)
        worker, jvm = 0, 0
    else:
        with Measured() as start:
            session = spark_session.open_session(master)
            match_faces.match_tables(session, few.address, f"{folder}/few-named", plan, lambda *_: None)
        with Measured() as work:
            match_faces.match_tables(session, source.address, f"{folder}/named", plan, lambda *_: None)
        worker, jvm = memory()
        session.stop()
    return {
        "where": master,
        "templates": templates,
        "probes": probes,
        "probes_s": round(probes / work.seconds),
        "cpu_ms": round(1000 * work.cpu / probes, 3),
        "start_cpu_s": round(start.cpu, 1),
        "worker_mb": worker,
        "jvm_mb": jvm,
    }


# -- all --------------------------------------------------------------------------------------------------------------


def alone(*arguments: str) -> dict:
    """A measurement in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--one", *arguments], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.decode().splitlines()[-1])


def compared(rows: list[dict]) -> list[dict]:
    return [{**row, "ratio": round(rows[0]["cpu_ms"] / row["cpu_ms"], 2)} for row in rows]


def outlook(encoding: list[dict], matching: list[dict]) -> list[dict]:
    """What the processor time means for a million, on two cores and on a hundred, if these have nothing else to do."""
    photo, probe = encoding[1]["cpu_ms"], matching[1]["cpu_ms"]
    return [
        {
            "what": what,
            "cpu_hours": round(ms * 1000 / 3600, 2),
            "minutes_on_2_cores": round(ms * 1000 / 60 / 2, 1),
            "minutes_on_100_cores": round(ms * 1000 / 60 / 100, 2),
        }
        for what, ms in (("1,000,000 photos", photo), ("1,000,000 probes", probe))
    ]


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        kind, master, *rest = sys.argv[2:]
        if kind == "encode":
            photos = Path(rest[0]).read_text("utf-8").splitlines()
            row = encode_in_process(photos) if master == "in process" else encode_on_spark(master, photos)
        else:
            row = match_on(master, rest[0], int(rest[1]), int(rest[2]))
        print(json.dumps(row))
        return
    arguments = report.parser(__doc__, data=True)
    arguments.add_argument("--photos", type=int, metavar="N", help="photos of LFW's development view")
    arguments.add_argument("--templates", type=int, metavar="N")
    arguments.add_argument("--probes", type=int, metavar="N")
    options = arguments.parse_args()
    report.need_packages("pyspark", "pyarrow", "pandas")
    folder = report.need(options.data, "lfw-dev", "images")
    photos = sorted(map(str, folder.rglob("*.jpg")))[: options.photos or (400 if options.quick else 4992)]
    templates = options.templates or (20_000 if options.quick else 100_000)
    probes = (options.probes or (4_000 if options.quick else 40_000)) // PER_FILE * PER_FILE
    places = ("in process", *(MASTERS[:1] if options.quick else MASTERS))
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch, "photos.txt")
        listed.write_text("\n".join(photos), "utf-8")
        encoding = compared([alone("encode", place, str(listed)) for place in places])
        report.table(encoding, "photos")
        rows = []
        for place in places:
            with tempfile.TemporaryDirectory() as own:
                probe_tables(TablePlace(f"{own}/faces"), probes)
                rows.append(alone("match", place, own, str(templates), str(probes)))
        matching = compared(rows)
        report.table(matching, "templates")
    ahead = outlook(encoding, matching)
    report.table(ahead, "arithmetic")
    report.save(options, encoding=encoding, matching=matching, outlook=ahead)


if __name__ == "__main__":
    main()
