"""The state of a service: for people, probes and metrics."""

from __future__ import annotations

import logging
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recognizer import __version__
from recognizer.core.errors import RecognizerError
from recognizer.core.metrics import Metrics

if TYPE_CHECKING:
    from recognizer.service import Service

log = logging.getLogger(__name__)

#: Why a stranger's sighting or picture is not stored.
LOST_STRANGERS = ("dropped", "failed", "dropped_strangers", "dropped_pictures")
#: Why something that happened is not an event.
LOST_EVENTS = ("failed", "dropped_results", "dropped_states", "dropped_events")


def report(service: Service) -> dict:
    """The state of a service, its parts and its counts."""
    engine, pool, subjects = service.engine, service.pool, service.gallery.subjects()
    encoding = service.enrolment.encoding
    points = asdict(engine.info.calibration)
    return {
        "live": True,
        "ready": service.ready,
        "version": __version__,
        "engine": {
            "id": engine.info.id,
            "detector": engine.detector.name,
            "embedder": engine.embedder.name,
            "dim": engine.info.dim,
            "calibration": {key: points[key] for key in ("threshold", "false_match_rate", "data_set", "date")},
        },
        "threshold": round(service.matcher.threshold_now(), 4),
        "stranger_rate": service.matcher.stranger_rate,
        "counts": {
            "subjects": len(subjects),
            "templates": sum(subjects.values()),
            "problems": service.enrolment.problem_count,
        },
        "queue": {"inside": pool.inside, "workers": pool.workers, "waiting_at_most": pool.queue},
        "encoding": None if encoding is None else encoding.as_dict(),
        "video": service.video.summary(),
        "attributes": list(service.attribute_finder.enabled),
        "uptime_s": round(service.uptime, 1),
        "events": service.events.counts(),
        "retention": None if service.sweep is None else {**service.sweep.counts(), "pending": service.groups.pending},
        "strangers": service.strangers.counts(),
        "visits": _if_readable(service.visits.counts),
        "archive": _if_readable(service.archive.status),
    }


def _if_readable(read: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    """What is asked, or None if the disk refuses it: the service works without."""
    try:
        return read()
    except RecognizerError as error:
        log.warning("the state of a part is unknown: %s", error.message)
        return None


def unready(service: Service) -> list[str]:
    """The reasons why no requests should be sent to a service now; empty if there are none."""
    reasons = []
    if not service.ready:
        reasons.append("the service is starting or ending")
    elif service.watcher is not None and not service.watcher.alive:
        reasons.append("known_faces is not followed any longer")
    elif service.group_follower is not None and not service.group_follower.alive:
        reasons.append("the folders of groups are not followed any longer")
    if not os.access(service.enrolment.folder.root, os.R_OK | os.X_OK):
        reasons.append("known_faces cannot be read")
    return reasons


def show(service: Service, metrics: Metrics) -> None:
    """Register gauges whose values are read at each scrape."""
    engine, pool, gallery = service.engine, service.pool, service.gallery
    folders = {"known_faces": service.enrolment.folder.root, "state": service.settings.state_dir}
    built = (__version__, platform.python_version(), engine.detector.name, engine.embedder.name)
    sources: dict[str, Callable[[], float | Mapping[tuple[str, ...], float]]] = {
        "recognizer_queue_inside": lambda: pool.inside,
        "recognizer_queue_workers": lambda: pool.workers,
        "recognizer_queue_capacity": lambda: pool.workers + pool.queue,
        "recognizer_queue_refused_total": lambda: pool.refused,
        "recognizer_gallery_subjects": lambda: len(gallery.subjects()),
        "recognizer_gallery_templates": lambda: len(gallery),
        "recognizer_gallery_problems": lambda: service.enrolment.problem_count,
        "recognizer_match_threshold": service.matcher.threshold_now,
        "recognizer_disk_free_bytes": lambda: {(kind,): _free(folder) for kind, folder in folders.items()},
        "recognizer_build_info": lambda: {built: 1.0},
        "recognizer_events_total": lambda: (service.events.counts() or {"written": 0})["written"],
        "recognizer_events_dropped_total": lambda: _dropped_events(service.events.counts()),
        "recognizer_strangers_dropped_total": lambda: _dropped_strangers(service.strangers.counts()),
    }
    for name, read in sources.items():
        metrics.watch(name, read)
    metrics.watch_cameras(service.video.samples)


def _dropped_strangers(counts: dict[str, int] | None) -> int:
    return 0 if counts is None else sum(counts.get(name, 0) for name in LOST_STRANGERS)


def _dropped_events(counts: dict | None) -> int:
    """Counts of events that were dropped before they were stored, or on their way to a receiver."""
    if counts is None:
        return 0
    return sum(counts[name] for name in LOST_EVENTS) + sum(sink["dropped"] for sink in counts["sinks"])


def _free(folder: Path) -> float:
    """Free bytes of the disk that contains `folder`; NaN if the folder is gone."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return float("nan")
