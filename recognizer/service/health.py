"""The state of a service: for people, probes and metrics."""

from __future__ import annotations

import logging
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recognizer import __version__
from recognizer.core.errors import RecognizerError
from recognizer.core.metrics import Metrics
from recognizer.core.sealed_sqlite import SET_ASIDE, set_aside_files
from recognizer.jobs.job_model import STATES as JOB_STATES

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
        "jobs": _if_readable(service.jobs.counts),
        "damaged": [file.name.removesuffix(SET_ASIDE) for file in set_aside_files(service.settings.state_dir)],
        **_database(service),
    }


def _database(service: Service) -> dict:
    """The state of the database that nodes share; nothing where there is one server."""
    shared = service.shared
    if shared is None:
        return {}
    away = shared.database.away_since
    return {
        "database": {
            "reachable": away is None,
            "away_since": None if away is None else round(away, 3),
            "node": shared.node,
            "applied": shared.shared_gallery.copy.applied,
        }
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
    unreadable = service.enrolment.unreadable()
    return reasons if unreadable is None else [*reasons, unreadable]


def show(service: Service, metrics: Metrics) -> None:
    """Register gauges whose values are read at each scrape."""
    engine, pool, gallery = service.engine, service.pool, service.gallery
    folders = {"known_faces": service.settings.known_faces, "state": service.settings.state_dir}
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
        "recognizer_jobs": lambda: {(state,): _jobs(service)[state] for state in JOB_STATES},
        "recognizer_job_photos_waiting": lambda: _jobs(service)["waiting"],
        "recognizer_job_photos_total": service.jobs.outcomes,
        "recognizer_events_total": lambda: (service.events.counts() or {"written": 0})["written"],
        "recognizer_events_dropped_total": lambda: _dropped_events(service.events.counts()),
        "recognizer_strangers_dropped_total": lambda: _dropped_strangers(service.strangers.counts()),
    }
    for name, read in sources.items():
        metrics.watch(name, read)
    metrics.watch_cameras(service.video.samples)


def _jobs(service: Service) -> dict[str, float]:
    """Jobs by state and photos that wait; NaN while that cannot be read."""
    try:
        counts = service.jobs.counts()
    except RecognizerError:
        return dict.fromkeys((*JOB_STATES, "waiting"), float("nan"))
    return dict(counts) if counts is not None else dict.fromkeys((*JOB_STATES, "waiting"), 0)


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
