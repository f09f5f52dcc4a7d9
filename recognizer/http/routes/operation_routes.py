"""For administrators and monitoring: settings, calibration, audit log, backup, health, metrics."""

# Hug reads the annotations of parameters, so they must not be postponed.
import os
import time

import falcon
import hug

from recognizer.access import gate
from recognizer.core.errors import InvalidParameter
from recognizer.core.metrics import CONTENT_TYPE as METRICS_TYPE
from recognizer.http import replies
from recognizer.http.hug_adapter import Router
from recognizer.http.parameters import event_id_type, fraction, text
from recognizer.http.site import Site

NOT_READY = "not_ready"


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    @route.get("/settings")
    def list_settings():
        """Every setting: its value (for a secret only whether it is set), its source, and whether it can be changed."""
        return {"settings": site.service.tuning.all()}

    @route.patch("/settings")
    def update_settings(
        stranger_rate: fraction = None,
        sightings_days: fraction = None,
        strangers_days: fraction = None,
        bin_days: fraction = None,
    ):
        """Change one of the settings that can be changed at run time. It is stored and takes effect at once."""
        given = {
            "stranger_rate": stranger_rate,
            "sightings_days": sightings_days,
            "strangers_days": strangers_days,
            "bin_days": bin_days,
        }
        changed = {name: value for name, value in given.items() if value is not None}
        if len(changed) != 1:
            raise InvalidParameter(f"expected one of {', '.join(given)}")
        [(name, value)] = changed.items()
        return site.service.tuning.change(name, value)

    @route.get("/calibration")
    def get_calibration():
        """What each stranger rate means for this gallery's own distances, and which enrolled people are most alike."""
        return replies.calibration(site.service.calibration())

    @route.get("/audit", examples="action=delete,export&limit=20")
    def list_audit(
        after: event_id_type = None,
        before: event_id_type = None,
        limit: hug.types.in_range(1, 1001) = 100,
        actor: text = None,
        action: text = None,
        subject: text = None,
    ):
        """The audit log: who did what to whom, and when. The newest lines, or those that follow `after`."""
        return site.service.audit_page(after=after, before=before, limit=limit, actor=actor, action=action, subject=subject)

    @route.get("/backup")
    def download_backup(request, response):
        """Everything that is stored, in one ZIP file, for `recognizer restore`."""
        response.content_type = "application/zip"
        if request.method == "HEAD":
            return b""
        file = site.service.backup()
        response.content_length = file.seek(0, os.SEEK_END)
        file.seek(0)
        stamp = time.strftime("%Y-%m-%dT%H%MZ", time.gmtime())
        response.set_header("Content-Disposition", f'attachment; filename="recognizer-{stamp}.zip"')
        return Sent(file)

    class Sent:
        """A file that is sent as it is read: hug would read all of one with a name for a range."""

        def __init__(self, file):
            self.read, self.close = file.read, file.close

    @route.get("/health")
    def get_health(request):
        """Whether the server is alive and ready; with the role read also its engine, counts and parts."""
        shown = site.service.health()
        if site.gate.admit(request.env).role == gate.ANYONE:
            return {"live": shown["live"], "ready": shown["ready"]}
        return shown

    @route.get("/health/live")
    def get_live():
        """Whether the process answers. It does not depend on the service: if this fails, only a restart helps."""
        return {"live": True}

    @route.get("/health/ready")
    def get_ready(request, response):
        """Whether requests should be sent here; 503 with reasons while the server starts, stops, or cannot read its folder."""
        reasons = site.not_ready_reasons()
        if not reasons:
            return {"ready": True}
        request.env["recognizer.error"] = NOT_READY
        response.status = falcon.HTTP_503
        response.set_header("Retry-After", "1")
        return {"error": {"code": NOT_READY, "message": "; ".join(reasons), "reasons": reasons}}

    @route.get("/metrics")
    def get_metrics(response):
        """Metrics in Prometheus' text format."""
        response.content_type = METRICS_TYPE
        return site.metrics.text()
