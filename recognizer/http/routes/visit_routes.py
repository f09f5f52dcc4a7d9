"""The past of the cameras: who was where and when, searched by face, and the report of presence."""

# Hug reads the annotations of parameters, so they must not be postponed.
import time
from dataclasses import asdict

import hug
import numpy as np

from recognizer.core.audit import one_act
from recognizer.core.errors import InvalidParameter
from recognizer.core.names import normalise, normalise_lookup
from recognizer.core.times import iso_time
from recognizer.events import presence
from recognizer.http.hug_adapter import Router
from recognizer.http.parameters import event_id_type, fraction, presence_format_type, switch, text
from recognizer.http.photo_requests import one_photo
from recognizer.http.site import Site
from recognizer.service.archive_search import of_photo
from recognizer.service.archive_service import box_of
from recognizer.service.visit_service import day_or_time


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    def shown(visit, distance=None):
        return {
            "id": visit.number,
            "camera": visit.camera,
            "first": iso_time(visit.first),
            "last": iso_time(visit.last),
            "seconds": round(visit.last - visit.first, 1),
            "subject": visit.subject,
            "distance": None if distance is None else round(distance, 4),
            "picture": f"/visits/{visit.number}/picture.jpg",
        }

    @route.post("/events/search")
    def search_visits(
        request,
        image_url: text = None,
        box: text = None,
        subject: text = None,
        stranger: text = None,
        since: text = None,
        until: text = None,
        camera: text = None,
        max_distance: fraction = None,
        offset: hug.types.in_range(0, 1_000_000_000) = 0,
        limit: hug.types.in_range(1, 1001) = 100,
    ):
        """When and where somebody was at the cameras: on a photo, enrolled, or a stranger; latest first."""
        service = site.service
        service.visits.require()
        brought = bool(request.context.body.photos.get("file")) or bool(image_url)
        if brought + (subject is not None) + (stranger is not None) != 1:
            raise InvalidParameter("expected one of a photo, subject and stranger to search for")
        if max_distance is not None and not 0 <= max_distance <= 4:
            raise InvalidParameter("max_distance: expected a number from 0 to 4")
        name = None
        if brought:
            probes = of_photo(service, one_photo(site, request, "file", image_url), None if box is None else box_of(box))
        elif subject is not None:
            name = normalise_lookup(subject)
            probes = np.array([each.embedding.vector for each in service.gallery.templates(name)], np.float32)
            if not len(probes) and not service.visits.file.of_subject(name):
                service.subjects.person(name)  # raises, if nobody has the name
        else:
            pictures = service.strangers.people.get(stranger).pictures
            probes = np.array([each.vector for each in pictures], np.float32)
        found = service.visits.search(
            probes,
            name,
            since=day_or_time(since, "since"),
            until=day_or_time(until, "until", end=True),
            camera=camera,
            max_distance=max_distance,
        )
        return {"total": len(found), "visits": [shown(*each) for each in found[offset : offset + limit]]}

    @route.get("/visits/{visit}/picture.jpg")
    def get_visit_picture(response, visit: event_id_type):
        """The picture of a visit."""
        response.content_type = "image/jpeg"
        return site.service.visits.picture(visit)

    @route.patch("/visits/{visit}")
    def correct_visit(visit: event_id_type, subject: text = None, unknown: switch = False, enroll: switch = False):
        """Correct whose visit it was, or that it was nobody's who is known; the picture may enrol that person as well."""
        if (subject is None) != unknown:
            raise InvalidParameter("expected subject, or unknown")
        name = None if subject is None else normalise(subject)
        with one_act(visit=visit):
            if enroll:
                if name is None:
                    raise InvalidParameter("subject: expected a name to enrol")
                site.service.subjects.enrol(name, site.service.visits.picture(visit), face="largest")
            before = site.service.visits.get(visit)
            corrected = site.service.visits.name(visit, name)
            site.service.events.correct(before, name)
            site.service.audit.append("visit_name", name)
        return shown(corrected)

    @route.get("/presence", examples="since=2026-11-01&format=csv")
    def get_presence(
        request,
        response,
        since: text = None,
        until: text = None,
        subject: text = None,
        format: presence_format_type = None,
    ):
        """Who was there on which day, from the events: first and last seen, and for how long. JSON, or a table as CSV."""
        day_or_time(since, "since")
        day_or_time(until, "until")
        wanted = None if subject is None else normalise_lookup(subject)
        events = site.service.events.hub.page(
            after=0, limit=10**9, wanted=lambda event: event["kind"] in ("appeared", "left") and event["subject"] is not None
        )
        days = presence.presence(events, time.time(), since and since[:10], until and until[:10])
        chosen = [each for each in days if wanted is None or each.subject == wanted]
        accept = request.get_header("Accept") or ""
        if format == "csv" or (format is None and "text/csv" in accept):
            response.content_type = "text/csv; charset=utf-8"
            response.set_header("Content-Disposition", 'attachment; filename="presence.csv"')
            return presence.as_csv(chosen).encode()
        return {"days": [asdict(each) for each in chosen]}
