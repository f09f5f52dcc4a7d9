"""Metrics in Prometheus' format.

`METRICS` defines every metric; tests compare docs/operations.md, the dashboard and the alerts with it. Counters and histograms
are updated when something happens; all other metrics are read during a scrape, from functions registered with `watch`. Labels
contain routes, states, codes and ids of cameras, never paths, URLs or names of people.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Upper bounds of the histogram buckets of requests and of stages, in seconds.
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STAGE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: The label `route` of requests without a matching route, and of requests that were refused before they were read.
UNKNOWN, UNREAD = "unknown", "unread"
#: States of a camera; each is a series of `recognizer_camera_state`.
CAMERA_STATES = ("idle", "connecting", "live", "frozen", "lost", "ended")

log = logging.getLogger("recognizer.metrics")


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric. `kind` is ``counter``, ``gauge`` or ``histogram``; names of counters end in ``_total``."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS = (
    Definition("recognizer_http_requests_total", "counter", "HTTP requests answered.", ("method", "route", "status")),
    Definition(
        "recognizer_http_request_duration_seconds",
        "histogram",
        "Time from a request's arrival to the end of its reply, without streams.",
        ("route",),
        REQUEST_BUCKETS,
    ),
    Definition("recognizer_http_requests_active", "gauge", "HTTP requests in progress, including streams."),
    Definition("recognizer_http_response_bytes_total", "counter", "Bytes sent in reply bodies.", ("route",)),
    Definition("recognizer_errors_total", "counter", "Requests that were refused or failed, by error code.", ("code",)),
    Definition(
        "recognizer_stage_duration_seconds",
        "histogram",
        "Time of each stage of processing a photo, such as queue, decode, detect, landmarks, embed, match and quality.",
        ("stage",),
        STAGE_BUCKETS,
    ),
    Definition("recognizer_faces_found_total", "counter", "Faces detected in photos."),
    Definition("recognizer_faces_matched_total", "counter", "Faces that matched a subject."),
    Definition("recognizer_faces_strangers_total", "counter", "Faces that were compared and matched no subject."),
    Definition("recognizer_photos_enrolled_total", "counter", "Photos enrolled over the API."),
    Definition("recognizer_queue_inside", "gauge", "Photos that are being processed or waiting."),
    Definition("recognizer_queue_workers", "gauge", "Maximum number of photos processed in parallel."),
    Definition(
        "recognizer_queue_capacity",
        "gauge",
        "Maximum number of photos that are being processed or waiting; further photos are refused.",
    ),
    Definition("recognizer_queue_refused_total", "counter", "Photos refused because the queue was full."),
    Definition("recognizer_gallery_subjects", "gauge", "Subjects with at least one template."),
    Definition("recognizer_gallery_templates", "gauge", "Templates in the gallery."),
    Definition("recognizer_gallery_problems", "gauge", "Files in known_faces that are not used."),
    Definition("recognizer_match_threshold", "gauge", "Current maximum distance for a match."),
    Definition("recognizer_ready", "gauge", "1 if /health/ready answers 200, else 0."),
    Definition("recognizer_disk_free_bytes", "gauge", "Free disk space of known_faces and of the state folder.", ("folder",)),
    Definition(
        "recognizer_build_info",
        "gauge",
        "Always 1; the labels contain the versions and the engine.",
        ("version", "python", "detector", "embedder"),
    ),
    Definition(
        "recognizer_camera_state", "gauge", "1 for the current state of a camera, 0 for its other states.", ("camera", "state")
    ),
    Definition("recognizer_camera_fps", "gauge", "Frames per second that a camera delivers.", ("camera",)),
    Definition("recognizer_camera_frames_read_total", "counter", "Frames read from a camera.", ("camera",)),
    Definition(
        "recognizer_camera_frames_dropped_total",
        "counter",
        "Frames that were read but not processed, because newer ones had arrived.",
        ("camera",),
    ),
    Definition("recognizer_camera_connects_total", "counter", "Connections made to a camera.", ("camera",)),
    Definition(
        "recognizer_video_stage_duration_seconds",
        "histogram",
        "Time of each stage of live video, including the wait for a thread: detect, describe, match, landmarks, objects, and "
        "encode (drawing and encoding a picture for viewers).",
        ("stage",),
        STAGE_BUCKETS,
    ),
    Definition("recognizer_camera_viewers", "gauge", "Current viewers of a camera.", ("camera",)),
    Definition("recognizer_jobs", "gauge", "Jobs that are stored, by state.", ("state",)),
    Definition("recognizer_job_photos_waiting", "gauge", "Photos of jobs that are not processed yet."),
    Definition("recognizer_job_photos_total", "counter", "Photos of jobs processed by this process, by outcome.", ("outcome",)),
    Definition("recognizer_events_total", "counter", "Camera events that were stored."),
    Definition(
        "recognizer_events_dropped_total",
        "counter",
        "Camera reports and events that were lost because the disk refused them or a receiver was too slow.",
    ),
    Definition(
        "recognizer_strangers_dropped_total",
        "counter",
        "Sightings of strangers, strangers and their pictures that were dropped because a limit was reached.",
    ),
)
#: Metrics of the process, added by the client library on Linux.
PROCESS_METRICS = (
    Definition("process_resident_memory_bytes", "gauge", "Resident memory of the process."),
    Definition("process_virtual_memory_bytes", "gauge", "Virtual memory of the process."),
    Definition("process_cpu_seconds_total", "counter", "CPU time used."),
    Definition("process_start_time_seconds", "gauge", "Start time of the process, in seconds since 1970."),
    Definition("process_open_fds", "gauge", "Open files and sockets."),
    Definition("process_max_fds", "gauge", "Maximum number of open files and sockets."),
)
_BY_NAME = {each.name: each for each in METRICS}

#: The value of a metric; for a metric with labels, a value for each tuple of label values.
Value = float | Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class CameraSample:
    """The current numbers of a camera.

    Attributes
    ----------
    camera : str
        The camera's id.
    state : str
        One of `CAMERA_STATES`.
    fps : float
        Frames per second.
    read, dropped, connects : int
        Frames read, frames dropped and connections made, since the start.
    viewers : int or None
        Current viewers; None if they are not counted.
    """

    camera: str
    state: str
    fps: float = 0.0
    read: int = 0
    dropped: int = 0
    connects: int = 0
    viewers: int | None = None


class Metrics:
    """The metrics of one server, in their own registry, so that one process may have several.

    All methods may be called from any thread.
    """

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

        self._registry = CollectorRegistry(auto_describe=False)
        self._sources: dict[str, Callable[[], Value]] = {}
        self._written: dict[str, Counter | Histogram] = {}
        self._children: dict[tuple[str, ...], Any] = {}
        self._active = _AtomicCount()
        for each in METRICS:
            if each.kind == "histogram":
                self._written[each.name] = Histogram(each.name, each.help, each.labels, buckets=each.buckets, registry=None)
        for name in (
            "recognizer_http_requests_total",
            "recognizer_http_response_bytes_total",
            "recognizer_errors_total",
            "recognizer_faces_found_total",
            "recognizer_faces_matched_total",
            "recognizer_faces_strangers_total",
            "recognizer_photos_enrolled_total",
        ):
            self._written[name] = Counter(name, _BY_NAME[name].help, _BY_NAME[name].labels, registry=None)
        self.watch("recognizer_http_requests_active", lambda: self._active.value)
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    # -- updates -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A request has arrived."""
        self._active.change(+1)

    def request(
        self, method: str, route: str, status: int, seconds: float | None, sent: int = 0, error: str | None = None
    ) -> None:
        """A request was answered.

        Parameters
        ----------
        route : str
            The route's template, never the path of the request.
        seconds : float or None
            Duration; None for streams, which are not timed.
        sent : int
            Bytes of the reply's body.
        error : str, optional
            The error code of a refusal.
        """
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
        """The duration of each stage of one photo in milliseconds; ``total`` is ignored."""
        for stage, spent in timing_ms.items():
            if stage != "total":
                self._child("recognizer_stage_duration_seconds", stage).observe(spent / 1000)

    def video_stage(self, stage: str, seconds: float) -> None:
        """The duration of a stage of live video for one picture."""
        self._child("recognizer_video_stage_duration_seconds", stage).observe(seconds)

    def faces(self, found: int, matched: int | None = None) -> None:
        """The number of faces in one photo, and how many of them matched; None if they were not compared."""
        self._child("recognizer_faces_found_total").inc(found)
        if matched is not None:
            self._child("recognizer_faces_matched_total").inc(matched)
            self._child("recognizer_faces_strangers_total").inc(found - matched)

    def enrolled(self) -> None:
        """A photo was enrolled."""
        self._child("recognizer_photos_enrolled_total").inc()

    def _child(self, name: str, *labels: str) -> Any:
        # the library's own lookup takes a lock and costs as much as counting
        key = (name, *labels)
        found = self._children.get(key)
        if found is None:
            parent = self._written[name]
            found = self._children[key] = parent.labels(*labels) if labels else parent
        return found

    # -- scrapes -----------------------------------------------------------------------------------------------

    def watch(self, name: str, read: Callable[[], Value]) -> None:
        """Read a metric during each scrape by calling `read`. A second call for the same metric replaces the first.

        Raises
        ------
        KeyError
            There is no such metric, or it is a counter or histogram that is updated.
        """
        if name not in _BY_NAME or name in self._written:
            raise KeyError(f"not a metric that is read during a scrape: {name}")
        self._sources[name] = read

    def watch_cameras(self, read: Callable[[], Iterable[CameraSample]]) -> None:
        """Read the metrics of cameras during each scrape by calling `read`, which returns one sample for each camera."""

        def per_camera(value: Callable[[CameraSample], float | None]) -> Callable[[], Value]:
            return lambda: {(s.camera,): number for s in read() if (number := value(s)) is not None}

        self.watch("recognizer_camera_fps", per_camera(lambda sample: sample.fps))
        self.watch("recognizer_camera_frames_read_total", per_camera(lambda sample: sample.read))
        self.watch("recognizer_camera_frames_dropped_total", per_camera(lambda sample: sample.dropped))
        self.watch("recognizer_camera_connects_total", per_camera(lambda sample: sample.connects))
        self.watch("recognizer_camera_viewers", per_camera(lambda sample: sample.viewers))
        self.watch(
            "recognizer_camera_state",
            lambda: {(s.camera, state): float(s.state == state) for s in read() for state in CAMERA_STATES},
        )

    def collect(self) -> Iterator[Metric]:
        """The metrics as the client library's families; called by its registry."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        for each in METRICS:
            written = self._written.get(each.name)
            if written is not None:
                for family in written.collect():
                    # leave out the library's extra series with the creation time of each series
                    family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
                    yield family
                continue
            source = self._sources.get(each.name)
            if source is None:
                continue
            try:
                values = source()
            except Exception:  # a failing source must not hide the other metrics
                log.exception("metric %s could not be read", each.name)
                continue
            kind = CounterMetricFamily if each.kind == "counter" else GaugeMetricFamily
            family = kind(each.name, each.help, labels=each.labels)
            for labels, value in (values if isinstance(values, Mapping) else {(): values}).items():
                family.add_metric(labels, value)
            yield family

    def text(self) -> bytes:
        """All metrics in Prometheus' text format, with the content type `CONTENT_TYPE`."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


class _AtomicCount:
    """A number that several threads change."""

    def __init__(self) -> None:
        self._lock, self.value = threading.Lock(), 0

    def change(self, by: int) -> None:
        with self._lock:
            self.value += by


def markdown_table() -> str:
    """The table of metrics in docs/operations.md."""
    rows = ["| metric | kind | labels | what it is |", "| --- | --- | --- | --- |"]
    for each in (*METRICS, *PROCESS_METRICS):
        labels = ", ".join(f"`{label}`" for label in each.labels)
        rows.append(f"| `{each.name}` | {each.kind} | {labels} | {each.help} |")
    return "\n".join(rows) + "\n"
