"""How a service is: for people and probes, and for the metrics."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..metrics import Metrics

if TYPE_CHECKING:
    from . import Service

#: What becomes of a stranger's sighting or picture that is not kept.
LOST_STRANGERS = ("dropped", "failed", "dropped_strangers", "dropped_pictures")
#: What becomes of something that happened and is no event.
LOST_EVENTS = ("failed", "dropped_results", "dropped_states", "dropped_events")


def report(service: Service) -> dict:
    """Whether the service works, with what, and what is in it."""
    engine, pool, subjects = service.engine, service.pool, service.gallery.subjects()
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
            "subjects": len(subjects), "templates": sum(subjects.values()), "problems": service.enrolment.problem_count,
        },  # fmt: skip
        "queue": {"inside": pool.inside, "workers": pool.workers, "waiting_at_most": pool.queue},
        "video": service.video.summary(),
        "uptime_s": round(service.uptime, 1),
        "events": service.events.counts(),
        "retention": None if service.sweep is None else service.sweep.counts(),
        "strangers": service.strangers.counts(),
    }


def unready(service: Service) -> list[str]:
    """Why a service should be given no requests now, in words; nothing where it should."""
    reasons = []
    if not service.ready:
        reasons.append("the service is starting or ending")
    elif service.watcher is not None and not service.watcher.alive:
        reasons.append("known_faces is not followed any longer")
    if not os.access(service.enrolment.folder.root, os.R_OK | os.X_OK):
        reasons.append("known_faces cannot be read")
    return reasons


def show(service: Service, metrics: Metrics) -> None:
    """Let `metrics` read what is asked for now and then."""
    engine, pool, gallery = service.engine, service.pool, service.gallery
    folders = {"known_faces": service.enrolment.folder.root, "state": service.settings.state_dir}
    built = (__version__, platform.python_version(), engine.detector.name, engine.embedder.name)
    sources = {
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
    """What was dropped on the way in, to the disk, or to a receiver."""
    if counts is None:
        return 0
    return sum(counts[name] for name in LOST_EVENTS) + sum(sink["dropped"] for sink in counts["sinks"])


def _free(folder: Path) -> float:
    """Free bytes where `folder` lies; not a number where it is gone."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return float("nan")
