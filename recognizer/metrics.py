"""What the server counts and measures, as Prometheus reads it.

`METRICS` defines everything that there is: docs/operations.md, the dashboard and the alerts are held against it. Counters and
histograms are written to as things happen; everything else is read when it is asked for, from whoever `watch` named. Labels
hold routes, states, codes and ids of cameras: never paths, URLs or names of people.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Upper edges of the buckets of requests and of stages, in seconds.
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STAGE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Route of requests that no route answers, and of those that were refused before they were read.
UNKNOWN, UNREAD = "unknown", "unread"
#: States of a camera, each of which is a series of `recognizer_camera_state`.
CAMERA_STATES = ("idle", "connecting", "live", "frozen", "lost", "ended")

log = logging.getLogger("recognizer.metrics")


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric; `kind` is counter, gauge or histogram, and names of counters end in ``_total``."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS = (
    Definition("recognizer_http_requests_total", "counter", "Requests answered.", ("method", "route", "status")),
    Definition(
        "recognizer_http_request_duration_seconds", "histogram",
        "Time from a request's arrival to the end of its reply; streams, which end when their viewer leaves, are left out.",
        ("route",), REQUEST_BUCKETS,
    ),
    Definition("recognizer_http_requests_active", "gauge", "Requests being answered now, streams included."),
    Definition("recognizer_http_response_bytes_total", "counter", "Bytes of replies' bodies.", ("route",)),
    Definition("recognizer_errors_total", "counter", "Requests refused or failed, by the error's code.", ("code",)),
    Definition(
        "recognizer_stage_duration_seconds", "histogram",
        "Time of each stage of looking at a photo: queue, decode, detect, landmarks, embed, match, quality and the like.",
        ("stage",), STAGE_BUCKETS,
    ),
    Definition("recognizer_faces_found_total", "counter", "Faces found in photos."),
    Definition("recognizer_faces_matched_total", "counter", "Faces that got a name."),
    Definition("recognizer_faces_strangers_total", "counter", "Faces that were compared and got no name."),
    Definition("recognizer_photos_enrolled_total", "counter", "Photos enrolled over the API."),
    Definition("recognizer_queue_inside", "gauge", "Photos being worked on or waiting."),
    Definition("recognizer_queue_workers", "gauge", "Photos that are worked on at once."),
    Definition("recognizer_queue_capacity", "gauge", "Photos that may be worked on or wait; the next is refused."),
    Definition("recognizer_queue_refused_total", "counter", "Photos refused because the queue was full."),
    Definition("recognizer_gallery_subjects", "gauge", "Subjects with at least one template."),
    Definition("recognizer_gallery_templates", "gauge", "Templates that faces are compared with."),
    Definition("recognizer_gallery_problems", "gauge", "Files in known_faces that are not used."),
    Definition("recognizer_match_threshold", "gauge", "Largest distance at which a face gets a name now."),
    Definition("recognizer_ready", "gauge", "1 if /health/ready answers 200."),
    Definition("recognizer_disk_free_bytes", "gauge", "Free space where known_faces and the state lie.", ("folder",)),
    Definition(
        "recognizer_build_info", "gauge", "Always 1; what runs is in the labels.",
        ("version", "python", "detector", "embedder"),
    ),
    Definition("recognizer_camera_state", "gauge", "1 for the state that a camera is in.", ("camera", "state")),
    Definition("recognizer_camera_fps", "gauge", "Frames per second that a camera gives.", ("camera",)),
    Definition("recognizer_camera_frames_read_total", "counter", "Frames read from a camera.", ("camera",)),
    Definition(
        "recognizer_camera_frames_dropped_total", "counter", "Frames read and never looked at, since newer ones were there.",
        ("camera",),
    ),
    Definition("recognizer_camera_connects_total", "counter", "Times that a camera was connected to.", ("camera",)),
    Definition(
        "recognizer_video_stage_duration_seconds", "histogram",
        "Time of each stage of live video, waiting for a thread included: detect, describe, match, landmarks and objects, and "
        "encode, in which a picture is drawn and encoded for its viewers.",
        ("stage",), STAGE_BUCKETS,
    ),
    Definition("recognizer_camera_viewers", "gauge", "Viewers of a camera now.", ("camera",)),
    Definition("recognizer_events_total", "counter", "Events of cameras that were kept."),
    Definition(
        "recognizer_events_dropped_total", "counter",
        "What cameras told and events that were lost: the disk refused, or somebody could not keep up.",
    ),
    Definition(
        "recognizer_strangers_dropped_total", "counter", "Sightings of strangers, strangers and pictures that found no room.",
    ),
)  # fmt: skip
#: What the client library adds about the process, on Linux.
PROCESS_METRICS = (
    Definition("process_resident_memory_bytes", "gauge", "Memory of the process that is in RAM."),
    Definition("process_virtual_memory_bytes", "gauge", "Address space of the process."),
    Definition("process_cpu_seconds_total", "counter", "Processor time used."),
    Definition("process_start_time_seconds", "gauge", "When the process started, seconds since 1970."),
    Definition("process_open_fds", "gauge", "Open files and sockets."),
    Definition("process_max_fds", "gauge", "Files and sockets that may be open."),
)
_BY_NAME = {each.name: each for each in METRICS}

Value = float | Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class CameraSample:
    """How one camera is at the moment; `viewers` is None where nobody counts them."""

    camera: str
    state: str
    fps: float = 0.0
    read: int = 0
    dropped: int = 0
    connects: int = 0
    viewers: int | None = None


class Metrics:
    """The metrics of one server, in a registry of its own: several may live in one process.

    Owns its counters. Every method may be called from any thread.
    """

    def __init__(self):
        from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

        self._registry = CollectorRegistry(auto_describe=False)
        self._sources: dict[str, Callable[[], Value]] = {}
        self._written: dict[str, Counter | Histogram] = {}
        self._children: dict[tuple, object] = {}
        self._active = _Active()
        for each in METRICS:
            if each.kind == "histogram":
                self._written[each.name] = Histogram(
                    each.name, each.help, each.labels, buckets=each.buckets, registry=None
                )
        for name in (
            "recognizer_http_requests_total", "recognizer_http_response_bytes_total", "recognizer_errors_total",
            "recognizer_faces_found_total", "recognizer_faces_matched_total", "recognizer_faces_strangers_total",
            "recognizer_photos_enrolled_total",
        ):  # fmt: skip
            self._written[name] = Counter(name, _BY_NAME[name].help, _BY_NAME[name].labels, registry=None)
        self.watch("recognizer_http_requests_active", lambda: self._active.now)
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    # -- as things happen ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A request came."""
        self._active.change(+1)

    def request(
        self, method: str, route: str, status: int, seconds: float | None, sent: int = 0, error: str | None = None
    ) -> None:
        """A request was answered; `seconds` is None for streams. `route` is a template, never the path that was asked."""
        self._active.change(-1)
        method = method if method in METHODS else "OTHER"
        self._child("recognizer_http_requests_total", method, route, str(status)).inc()
        if seconds is not None:
            self._child("recognizer_http_request_duration_seconds", route).observe(seconds)
        if sent:
            self._child("recognizer_http_response_bytes_total", route).inc(sent)
        if error:
            self._child("recognizer_errors_total", error).inc()

    def stages(self, timing_ms: Mapping[str, float]) -> None:
        """How long each stage of one photo took, in milliseconds; ``total`` is passed over."""
        for stage, spent in timing_ms.items():
            if stage != "total":
                self._child("recognizer_stage_duration_seconds", stage).observe(spent / 1000)

    def video_stage(self, stage: str, seconds: float) -> None:
        """How long a stage of live video took, for one picture."""
        self._child("recognizer_video_stage_duration_seconds", stage).observe(seconds)

    def faces(self, found: int, matched: int | None = None) -> None:
        """Faces found in one photo, and how many of them got a name; None where nobody was compared."""
        self._child("recognizer_faces_found_total").inc(found)
        if matched is not None:
            self._child("recognizer_faces_matched_total").inc(matched)
            self._child("recognizer_faces_strangers_total").inc(found - matched)

    def enrolled(self) -> None:
        """A photo was enrolled."""
        self._child("recognizer_photos_enrolled_total").inc()

    def _child(self, name: str, *labels: str):
        # the library's own look-up takes a lock and costs as much as counting
        key = (name, *labels)
        found = self._children.get(key)
        if found is None:
            parent = self._written[name]
            found = self._children[key] = parent.labels(*labels) if labels else parent
        return found

    # -- when somebody asks -------------------------------------------------------------------------------------

    def watch(self, name: str, read: Callable[[], Value]) -> None:
        """Have a metric read by calling `read`, which gives a number, or for one with labels a number for each tuple of
        their values. The last source that a metric was given is asked.

        Raises
        ------
        KeyError
            There is no such metric, or it is one that is written to.
        """
        if name not in _BY_NAME or name in self._written:
            raise KeyError(f"no metric to be read: {name}")
        self._sources[name] = read

    def watch_cameras(self, read: Callable[[], Iterable[CameraSample]]) -> None:
        """Have the metrics of cameras read by calling `read`, which gives one sample for each."""

        def each(value: Callable[[CameraSample], float | None]) -> Callable[[], Value]:
            return lambda: {(s.camera,): value(s) for s in read() if value(s) is not None}

        self.watch("recognizer_camera_fps", each(lambda sample: sample.fps))
        self.watch("recognizer_camera_frames_read_total", each(lambda sample: sample.read))
        self.watch("recognizer_camera_frames_dropped_total", each(lambda sample: sample.dropped))
        self.watch("recognizer_camera_connects_total", each(lambda sample: sample.connects))
        self.watch("recognizer_camera_viewers", each(lambda sample: sample.viewers))
        self.watch(
            "recognizer_camera_state",
            lambda: {(s.camera, state): float(s.state == state) for s in read() for state in CAMERA_STATES},
        )

    def collect(self) -> Iterator:
        """The metrics as the client library's families."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        for each in METRICS:
            written = self._written.get(each.name)
            if written is not None:
                for family in written.collect():
                    # when a series began is worth no series of its own
                    family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
                    yield family
                continue
            source = self._sources.get(each.name)
            if source is None:
                continue
            try:
                values = source()
            except Exception:  # one that cannot be read must not hide all others
                log.exception("metric %s could not be read", each.name)
                continue
            kind = CounterMetricFamily if each.kind == "counter" else GaugeMetricFamily
            family = kind(each.name, each.help, labels=each.labels)
            for labels, value in (values if isinstance(values, Mapping) else {(): values}).items():
                family.add_metric(labels, value)
            yield family

    def text(self) -> bytes:
        """Everything, in Prometheus' text format, whose type is `CONTENT_TYPE`."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


class _Active:
    """A number that threads count up and down."""

    def __init__(self):
        from threading import Lock

        self._lock, self.now = Lock(), 0

    def change(self, by: int) -> None:
        with self._lock:
            self.now += by


def markdown_table() -> str:
    """All metrics, as docs/operations.md shows them."""
    rows = ["| metric | kind | labels | what it is |", "| --- | --- | --- | --- |"]
    for each in (*METRICS, *PROCESS_METRICS):
        labels = ", ".join(f"`{label}`" for label in each.labels)
        rows.append(f"| `{each.name}` | {each.kind} | {labels} | {each.help} |")
    return "\n".join(rows) + "\n"
