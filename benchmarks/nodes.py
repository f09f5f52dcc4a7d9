"""Nodes that share a PostgreSQL database: how fast one is ready, and how soon another knows an enrolment.

    python benchmarks/nodes.py FOLDER [--quick] [--templates 1000000] [--enrolments 500] [--photo FILE] [--json FILE]

FOLDER is for a temporary cluster, which is removed; PostgreSQL and pgvector are found as the tests find them. Templates are
drawn, as spread as those of faces are. `ready` is the time from an empty process to a gallery that answers searches, with
everything read from the database; `MB` is what the process then has in memory. `known` is the time from the acknowledgement
of an enrolment on one node, in its process, to the moment at which the searches of another node, in another process, see it:
0 where the other was as quick. `written` counts enrolments by one thread and by four at once, `CPU ms` is the processor time
of the node and of the database for each: it says what a machine without other work can do.

`saved` is how long a node takes to store its snapshot of everything, in the background; `from snapshot` how soon it is ready
with it, `alone` without the database.

With --photo, the file of a photo, two servers, each on one core (taskset), get it by HAProxy, and one gets it directly. `gain`
is what two cores of their own answer compared with one: the processor time per request of one node alone, over that of the
node with the larger share of the two. HAProxy has to be installed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
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
from recognizer.enrolment.encodings import photo_id
from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.postgres.feed import Feed
from recognizer.galleries.postgres.gallery import PostgresGallery
from recognizer.galleries.postgres.snapshot import Snapshot
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
        connection.execute("insert into change (kind, subject) values ('subject', 1)")
        schema.join(database, ENGINE, DIM, None)
    return time.monotonic() - begun


def cpu_of(pids) -> float:
    """Processor time so far of processes, in seconds."""
    used = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        used += (int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return used


def node_starts(url: str, folder: str, alone: bool, answers) -> None:
    """In a process of its own: be ready from a snapshot, with the database or without."""
    begun, used = time.monotonic(), time.process_time()
    with closing(Database(url)) as database:
        gallery = PostgresGallery(database, ENGINE, DIM)
        gallery.copy.keep_snapshot(Snapshot(Path(folder), ENGINE, DIM))
        if alone:
            gallery.copy.start_from_snapshot(24.0)
        else:
            gallery.copy.catch_up()
        answers.put((time.monotonic() - begun, time.process_time() - used, len(gallery)))


def node_is_ready(url: str, count: int, folder: str, answers) -> None:
    """In a process of its own: load everything, search, store a snapshot."""
    begun, used = time.monotonic(), time.process_time()
    database = Database(url)
    gallery = PostgresGallery(database, ENGINE, DIM)
    gallery.copy.keep_snapshot(Snapshot(Path(folder), ENGINE, DIM))
    gallery.copy.catch_up()
    ready, cpu = time.monotonic() - begun, time.process_time() - used
    gallery.settle()
    memory = MemoryGallery(ENGINE, DIM)
    vectors = drawn(min(BLOCK, count), DIM, 0)
    probes = probes_for(vectors, "faces", 40)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    rows = gallery.copy.memory(gallery.group)._rows
    photos = [rows.photos[row] for row in range(rows.count)]
    memory.load(rows.store.rows(0, rows.count), rows.owners[: rows.count].copy(), list(rows.names), photos)
    memory.settle()
    searched = []
    for each in (gallery, memory):
        each.search(probes[:2])
        used = time.process_time()
        for probe in probes:
            each.search(probe[None])
        searched.append((time.process_time() - used) / len(probes))
    del memory
    begun, used = time.monotonic(), time.process_time()
    gallery.copy.save()
    saved = time.monotonic() - begun, time.process_time() - used
    database.close()
    answers.put((ready, cpu, len(gallery), resident, *searched, *saved))


def follower(url: str, last: int, started, answers) -> None:
    """In a process of its own: note when each change is seen, until the number `last` was seen."""
    seen: list[tuple[int, float]] = []
    with closing(Database(url)) as database:
        gallery = PostgresGallery(database, ENGINE, DIM)
        gallery.copy.load()
        begun, ended = len(gallery), threading.Event()

        def catch_up() -> None:
            if gallery.copy.catch_up():
                seen.append((gallery.copy.applied, time.monotonic()))
                if len(gallery) >= begun + last:
                    ended.set()

        feed = Feed(database, catch_up)
        started.set()
        ended.wait(300)
        feed.close()
    answers.put(seen)


def enrolments(url: str, count: int, threads: int) -> tuple[float, list[float], float]:
    """Enrol one after the other on each thread: enrolments per second, how soon the other node knew each, CPU seconds here."""
    context = multiprocessing.get_context("spawn")
    started, answers = context.Event(), context.Queue()
    process = context.Process(target=follower, args=(url, count, started, answers))
    process.start()
    acknowledged: list[tuple[int, float]] = []
    with closing(Database(url)) as database:
        gallery = PostgresGallery(database, ENGINE, DIM)
        gallery.copy.load()
        vectors = drawn(count, DIM, 77)
        started.wait(300)

        def write(thread: int) -> None:
            for row in range(thread, count, threads):
                name = f"New {time.monotonic_ns()} {row}"
                gallery.add([Template(name, photo_id(name.encode()), Embedding(vectors[row], ENGINE))])
                acknowledged.append((database.latest_change(), time.monotonic()))

        begun, used = time.monotonic(), time.process_time()
        writers = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        seconds, cpu = time.monotonic() - begun, time.process_time() - used
    seen = answers.get(timeout=300)
    process.join()
    delays = []
    for number, when in acknowledged:
        delays.append(max(0.0, next(at for applied, at in seen if applied >= number) - when))
    return count / seconds, delays, cpu


# --- requests over HTTP ----------------------------------------------------------------------------------------------

_PROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 120s
    timeout server 120s
frontend all
    bind 127.0.0.1:{port}
    default_backend nodes
backend nodes
    balance leastconn
    option httpchk GET /health/ready
    option redispatch
    retry-on conn-failure empty-response
    server a 127.0.0.1:{a} check
    server b 127.0.0.1:{b} check
"""


def sent(url: str, photo: Path, clients: int, requests: int, pids) -> dict:
    """Send a photo so many times: the answers, the seconds, and the processor time of each process."""
    before = [cpu_of([pid]) for pid in pids]
    command = [sys.executable, Path(__file__).parent / "load_client.py", url, photo, clients, 600, "--most", requests]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=900, check=True)
    found = json.loads(done.stdout)
    answered = found["statuses"].get("200", 0)
    cpu = [cpu_of([pid]) - used for pid, used in zip(pids, before, strict=True)]
    return {"answered": answered, "per_s": answered / found["seconds"], "cpu": cpu}


def balanced(url: str, photo: Path, requests: int) -> list[dict]:
    """One node alone, then two behind HAProxy; each has one core."""
    from tests.brokers import free_port
    from tests.e2e.serving import Server

    folder = Path(tempfile.mkdtemp(prefix="recognizer-nodes-"))
    (folder / "photos").mkdir()
    cores = sorted(os.sched_getaffinity(0))[:2]
    servers = []
    for name, core in zip("ab", cores, strict=True):
        command = ("taskset", "-c", str(core), sys.executable, "-m", "recognizer", "serve", "--port", "0")
        settings = {"database_url": url, "photos": folder / "photos", "camera": "none", "workers": 1}
        settings |= {"trusted_proxies": "127.0.0.1", "anyone_may_do_anything": "on"}
        servers.append(Server(folder / name, command, **settings).start())
    try:
        a, b = servers
        pids = [server.process.pid for server in servers]
        port = free_port()
        (folder / "haproxy.cfg").write_text(_PROXY.format(port=port, a=a.port, b=b.port))
        proxy = subprocess.Popen(["haproxy", "-f", str(folder / "haproxy.cfg"), "-db"], stderr=subprocess.DEVNULL)
        rows = []
        try:
            for server in servers:
                sent(f"{server.url}/recognize", photo, 2, 20, pids)
            one = sent(f"{a.url}/recognize", photo, 4, requests, pids[:1])
            two = sent(f"http://127.0.0.1:{port}/recognize", photo, 8, 2 * requests, [*pids, proxy.pid])
        finally:
            proxy.terminate()
            proxy.wait()
        alone = one["cpu"][0] / one["answered"]
        for name, found, nodes in (("one", one, one["cpu"]), ("two behind HAProxy", two, two["cpu"][:2])):
            rows.append(
                {
                    "nodes": name,
                    "answered": found["answered"],
                    "per s": round(found["per_s"], 1),
                    "CPU ms per request": round(1000 * sum(nodes) / found["answered"], 1),
                    "larger share": round(max(nodes) / sum(nodes), 3),
                    "HAProxy CPU ms": round(1000 * sum(found["cpu"][2:]) / found["answered"], 2),
                    "gain": round(alone * found["answered"] / max(nodes), 2),
                }
            )
        return rows
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def migrated(cluster: Cluster) -> str:
    """The URL of a new database with tables."""
    url = cluster.make_database()
    with closing(Database(url)) as database:
        schema.migrate(database)
    return url


def database_cpu(cluster: Cluster) -> float:
    """Processor time so far of the database's processes, ended ones included."""
    children = Path(f"/proc/{cluster.pid}/task/{cluster.pid}/children").read_text().split()
    return cpu_of([cluster.pid, *children])


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("folder", type=Path, help="folder of the temporary cluster; must not exist")
    parser.add_argument("--templates", type=int, default=1_000_000)
    parser.add_argument("--enrolments", type=int, default=500)
    parser.add_argument("--photo", type=Path, help="measure two servers behind HAProxy with this photo")
    parser.add_argument("--requests", type=int, default=200, help="requests per node, with --photo")
    options = parser.parse_args()
    if options.quick:
        options.templates, options.enrolments = min(options.templates, 20_000), min(options.enrolments, 100)
    cluster = Cluster(options.folder).make(fsync=True).start()
    enrolled, started = [], []
    try:
        url = migrated(cluster)
        served = [] if options.photo is None else balanced(migrated(cluster), options.photo, options.requests)
        if served:
            report.table(served, "Requests with a photo, each node on one core")
        for threads in (1, 4):
            before = database_cpu(cluster)
            rate, delays, cpu = enrolments(url, options.enrolments, threads)
            shown = {"threads": threads, "written_per_s": round(rate, 1)}
            shown |= {"CPU ms node": round(1000 * cpu / options.enrolments, 2)}
            shown |= {"CPU ms database": round(1000 * (database_cpu(cluster) - before) / options.enrolments, 2)}
            shown |= {f"known_ms_p{p}": round(1000 * float(np.percentile(delays, p)), 1) for p in (50, 95, 99)}
            enrolled.append(shown)
        report.table(enrolled, "Enrolments on one node, known on another after milliseconds")
        with closing(Database(url)) as database, database.transaction() as connection:
            connection.execute("truncate subject, photo, template, change cascade")
        filled = fill(url, options.templates)
        context = multiprocessing.get_context("spawn")
        answers = context.Queue()
        kept = str(options.folder / "snapshot")
        process = context.Process(target=node_is_ready, args=(url, options.templates, kept, answers))
        process.start()
        ready, cpu, count, resident, shared, alone, saved, saved_cpu = answers.get(timeout=900)
        process.join()
        warm = []
        for without in (False, True):
            process = context.Process(target=node_starts, args=(url, kept, without, answers))
            process.start()
            warm.append(answers.get(timeout=600))
            process.join()
            assert warm[-1][2] == count
        started.append(
            {
                "templates": count,
                "filled s": round(filled, 1),
                "ready s": round(ready, 1),
                "of them CPU here": round(cpu, 1),
                "saved s": round(saved, 1),
                "saved CPU s": round(saved_cpu, 1),
                "from snapshot s": round(warm[0][0], 1),
                "from snapshot CPU s": round(warm[0][1], 1),
                "alone s": round(warm[1][0], 1),
                "MB": resident // 1_000_000,
                "search CPU ms": round(1000 * shared, 2),
                "single server": round(1000 * alone, 2),
            }
        )
    finally:
        cluster.stop()
        shutil.rmtree(options.folder, ignore_errors=True)
    report.table(started, "The start of a node, and its searches")
    report.save(options, enrolments=enrolled, start=started, requests=served)


if __name__ == "__main__":
    main()
