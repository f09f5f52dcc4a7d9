"""What happened at the cameras: live as Server-Sent Events, and past events."""

# Hug reads the annotations of parameters, so they must not be postponed.
import hug

from recognizer.core.errors import InvalidParameter
from recognizer.events import event_table, sse
from recognizer.http.hug_adapter import Router, over
from recognizer.http.parameters import event_id_type, events_format_type, text
from recognizer.http.site import Site
from recognizer.service.visit_service import day_or_time

#: More events than are ever stored.
_EVERY = 10**9


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    @route.get("/events", examples="format=json&kind=appeared,unknown")
    def list_events(
        request,
        response,
        after: event_id_type = None,
        before: event_id_type = None,
        limit: hug.types.in_range(1, 1001) = None,
        camera: text = None,
        subject: text = None,
        kind: text = None,
        since: text = None,
        until: text = None,
        zone: text = None,
        format: events_format_type = None,
    ):
        """Who appeared and left at the cameras: live as Server-Sent Events, or past events with `format=json` or `csv`."""
        begin, end = day_or_time(since, "since"), day_or_time(until, "until", end=True)
        wanted = sse.selection(camera, subject, kind, begin, end, zone)
        held = site.service.events.hub
        chosen = events_format(request, format)
        if chosen == "csv":
            found = held.page(after=after, before=before, limit=limit or _EVERY, wanted=wanted)
            response.content_type = "text/csv; charset=utf-8"
            response.set_header("Content-Disposition", 'attachment; filename="events.csv"')
            return event_table.as_csv(found).encode()
        if chosen == "json":
            found = held.page(after=after, before=before, limit=limit or 100, wanted=wanted)
            return {"events": found, "first": held.log.first, "last": held.log.newest()}
        for name, value in (("before", before), ("limit", limit), ("since", since), ("until", until)):
            if value is not None:
                raise InvalidParameter(f"{name}: only with format=json or format=csv")
        response.content_type = "text/event-stream; charset=utf-8"
        reached = sse.last_event_id(request.get_header("Last-Event-ID"), after)
        return sse.EventReader(held, reached, wanted, over(request))

    def events_format(request, format: str | None) -> str:
        """The format that is asked for, by `format` or else by the Accept header."""
        accept = request.get_header("Accept") or ""
        if format or "event-stream" in accept:
            return format or "sse"
        return next((each for each in ("json", "csv") if each in accept), "sse")

    @route.get("/events/{event}")
    def get_event(event: event_id_type):
        """One event."""
        return site.service.events.get(event)

    @route.get("/events/{event}/thumbnail.jpg")
    def get_event_thumbnail(response, event: event_id_type):
        """The face of an event, as a small JPEG."""
        data = site.service.events.hub.thumbnail(event)
        response.content_type = "image/jpeg"
        return data

    @route.get("/events/{event}/scene.jpg")
    def get_event_scene(response, event: event_id_type):
        """The whole picture of the camera at an event, if RECOGNIZER_EVENT_SCENES stores it."""
        data = site.service.events.hub.scene(event)
        response.content_type = "image/jpeg"
        return data
