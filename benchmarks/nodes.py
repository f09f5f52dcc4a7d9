"""Nodes that share a PostgreSQL database: how fast one is ready, and how soon another knows an enrolment.

    python benchmarks/nodes.py FOLDER [--quick] [--templates 1000000] [--enrolments 500] [--json FILE]

FOLDER is for a temporary cluster, which is removed; PostgreSQL and pgvector are found as the tests find them. Templates are
drawn, as spread as those of faces are. `ready` is the time from an empty process to a gallery that answers searches, with
everything read from the database; `bytes` is what the process then has in memory. `known` is the time from the acknowledgement
of an enrolment on one node, in its process, to the moment at which the searches of another node, in another process, see it:
0 where the other was as quick. `written` counts enrolments by four threads at once.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import report
from search import drawn, probes_for

from recognizer.core.types import Embedding, Template
from recognizer.database import schema
from recognizer.database.connection import Database
from recognizer.enrolment.cache import photo_id
from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.postgres.feed import Feed
from recognizer.galleries.postgres.gallery import PostgresGallery
from recognizer.galleries.postgres.template_rows import to_binary
from tests.clusters import Cluster

ENGINE, DIM = "drawn/1", 256
PER_SUBJECT = 4
BLOCK = 10_000


def fill(url: str, count: int) -> float:
    """Store drawn templates by COPY; the seconds that it took."""
    begun = time.monotonic()
    with closing(Database(url)) as database, database.transaction() as connection:
        subjects = range(1, count // PER_SUBJECT + 1)
        with connection.cursor() as cursor:
            with cursor.copy("copy subject (id, name, folded) from stdin") as copy:
                for number in subjects:
                    copy.write_row((number, f"Person {number}", f"person {number}"))
            photos = [photo_id(str(row).encode()) for row in range(count)]
            with cursor.copy("copy photo (subject, photo) from stdin") as copy:
                for row, photo in enumerate(photos):
                    copy.write_row((row // PER_SUBJECT + 1, photo))
            with cursor.copy("copy template (subject, photo, engine, v) from stdin (format binary)") as copy:
                copy.set_types(["int8", "text", "text", "bytea"])
                for start in range(0, count, BLOCK):
                    for row, vector in enumerate(drawn(min(BLOCK, count - start), DIM, start), start):
                        copy.write_row((row // PER_SUBJECT + 1, photos[row], ENGINE, to_binary(vector)))
    return time.monotonic() - begun


def node_is_ready(url: str, count: int, answers) -> None:
    """In a process of its own: load everything, search."""
    begun, used = time.monotonic(), time.process_time()
    with closing(Database(url)) as database:
        gallery = PostgresGallery(database, ENGINE, DIM)
        gallery.load()
    ready, cpu = time.monotonic() - begun, time.process_time() - used
    gallery.settle()
    memory = MemoryGallery(ENGINE, DIM)
    vectors = drawn(min(BLOCK, count), DIM, 0)
    probes = probes_for(vectors, "faces", 40)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    rows = gallery._memory._rows
    memory.load(rows.vectors[: rows.count].copy(), rows.owners[: rows.count].copy(), list(rows.names), list(rows.photos))
    memory.settle()
    searched = []
    for each in (gallery, memory):
        each.search(probes[:2])
        used = time.process_time()
        for probe in probes:
            each.search(probe[None])
        searched.append((time.process_time() - used) / len(probes))
    answers.put((ready, cpu, len(gallery), resident, *searched))


def follower(url: str, last: int, started, answers) -> None:
    """In a process of its own: note when each change is seen, until the number `last` was seen."""
    seen: list[tuple[int, float]] = []
    with closing(Database(url)) as database:
        gallery = PostgresGallery(database, ENGINE, DIM)
        gallery.load()
        begun, ended = len(gallery), threading.Event()

        def catch_up() -> None:
            if gallery.catch_up():
                seen.append((gallery.applied, time.monotonic()))
                if len(gallery) >= begun + last:
                    ended.set()

        feed = Feed(database, catch_up)
        started.set()
        ended.wait(300)
        feed.close()
    answers.put(seen)


def enrolments(url: str, count: int, threads: int) -> tuple[float, list[float]]:
    """Enrol one after the other on each thread; enrolments per second, and how long after each the other node knew it."""
    context = multiprocessing.get_context("spawn")
    started, answers = context.Event(), context.Queue()
    process = context.Process(target=follower, args=(url, count, started, answers))
    process.start()
    acknowledged: list[tuple[int, float]] = []
    with closing(Database(url)) as database:
        gallery = PostgresGallery(database, ENGINE, DIM)
        gallery.load()
        vectors = drawn(count, DIM, 77)
        started.wait(300)

        def write(thread: int) -> None:
            for row in range(thread, count, threads):
                name = f"New {time.monotonic_ns()} {row}"
                gallery.add([Template(name, photo_id(name.encode()), Embedding(vectors[row], ENGINE))])
                acknowledged.append((database.latest_change(), time.monotonic()))

        begun = time.monotonic()
        writers = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        seconds = time.monotonic() - begun
    seen = answers.get(timeout=300)
    process.join()
    delays = []
    for number, when in acknowledged:
        delays.append(max(0.0, next(at for applied, at in seen if applied >= number) - when))
    return count / seconds, delays


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("folder", type=Path, help="folder of the temporary cluster; must not exist")
    parser.add_argument("--templates", type=int, default=1_000_000)
    parser.add_argument("--enrolments", type=int, default=500)
    options = parser.parse_args()
    if options.quick:
        options.templates, options.enrolments = min(options.templates, 20_000), min(options.enrolments, 100)
    cluster = Cluster(options.folder).make(fsync=True).start()
    enrolled, started = [], []
    try:
        url = cluster.make_database()
        with closing(Database(url)) as database:
            schema.migrate(database)
        for threads in (1, 4):
            rate, delays = enrolments(url, options.enrolments, threads)
            shown = {"threads": threads, "written_per_s": round(rate, 1)}
            shown |= {f"known_ms_p{p}": round(1000 * float(np.percentile(delays, p)), 1) for p in (50, 95, 99)}
            enrolled.append(shown)
        with closing(Database(url)) as database, database.transaction() as connection:
            connection.execute("truncate subject, photo, template, change")
        filled = fill(url, options.templates)
        context = multiprocessing.get_context("spawn")
        answers = context.Queue()
        process = context.Process(target=node_is_ready, args=(url, options.templates, answers))
        process.start()
        ready, cpu, count, resident, shared, alone = answers.get(timeout=600)
        process.join()
        started.append(
            {
                "templates": count,
                "filled s": round(filled, 1),
                "ready s": round(ready, 1),
                "of them CPU here": round(cpu, 1),
                "MB": resident // 1_000_000,
                "search CPU ms": round(1000 * shared, 2),
                "alone": round(1000 * alone, 2),
            }
        )
    finally:
        cluster.stop()
        shutil.rmtree(options.folder, ignore_errors=True)
    report.table(enrolled, "Enrolments on one node, known on another after milliseconds")
    report.table(started, "The start of a node, and its searches")
    report.save(options, enrolments=enrolled, start=started)


if __name__ == "__main__":
    main()
