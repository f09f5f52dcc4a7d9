"""What happened at the cameras: live as Server-Sent Events, and past events."""

# Hug reads the annotations of parameters, so they must not be postponed.
import hug

from recognizer.core.errors import InvalidParameter
from recognizer.events import sse
from recognizer.http.hug_adapter import Router, event_id_type, events_format_type, over, text
from recognizer.http.site import Site


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
        format: events_format_type = None,
    ):
        """Who appeared and left at the cameras: live as Server-Sent Events, or past events with `format=json`."""
        wanted = sse.selection(camera, subject, kind)
        held = site.service.events.hub
        if wants_events_json(request, format):
            found = held.page(after=after, before=before, limit=limit or 100, wanted=wanted)
            return {"events": found, "first": held.log.first, "last": held.log.newest()}
        for name, value in (("before", before), ("limit", limit)):
            if value is not None:
                raise InvalidParameter(f"{name}: only with format=json")
        response.content_type = "text/event-stream; charset=utf-8"
        reached = sse.last_event_id(request.get_header("Last-Event-ID"), after)
        return sse.EventReader(held, reached, wanted, over(request))

    def wants_events_json(request, format: str | None) -> bool:
        """Whether to answer with a page of events: asked for by `format`, or else by the Accept header."""
        accept = request.get_header("Accept") or ""
        return format == "json" if format else "json" in accept and "event-stream" not in accept

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
