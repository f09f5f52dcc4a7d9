"""Follows what the other nodes change, where nodes share a database."""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import TYPE_CHECKING

from recognizer.core.errors import EngineMismatch, SettingsError
from recognizer.database import nodes, schema
from recognizer.enrolment.shared_enrolment import SharedEnrolment
from recognizer.galleries.postgres.feed import Feed
from recognizer.service.node_work import NodeWork

if TYPE_CHECKING:
    from recognizer.service.composition import Service

log = logging.getLogger("recognizer.service")


def follow_nodes(service: Service, shared: SharedEnrolment, work: NodeWork) -> Feed:
    """Start a thread that does here what other nodes changed, and reports to them how far this node is."""
    worked, reported = -1, 0.0
    settings = service.settings

    def catch_up() -> None:
        nonlocal worked, reported
        shared.catch_up()
        applied = shared.shared_gallery.copy.applied
        if applied != worked:  # whoever read the change: this thread, or one that changed something here
            service.groups.follow()
            work.run()
        if applied != worked or time.monotonic() - reported >= nodes.REPORT_SECONDS:
            nodes.report(shared.database, shared.node, applied, settings.node_url, settings.node_cameras)
            reported = time.monotonic()
        worked = applied

    def back() -> None:
        if shared.started_alone:
            _join_late(service, shared)
        shared.shared_gallery.copy.reload_if_behind()
        shared.catch_up()
        work.run()

    return Feed(shared.database, catch_up, back)


def _join_late(service: Service, shared: SharedEnrolment) -> None:
    """Check what a start with the database checks; a node that would be refused ends."""
    info = service.engine.info
    try:
        schema.require_current(shared.database)
        schema.join(shared.database, info.id, info.dim, service.vault)
    except (SettingsError, EngineMismatch) as error:
        log.critical("Recognizer cannot go on: %s", error.message)
        os.kill(os.getpid(), signal.SIGTERM)
        raise
    shared.joined()
    log.info("the database is back: changes are possible")
