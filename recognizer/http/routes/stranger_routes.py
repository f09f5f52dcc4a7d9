"""People whom cameras showed and nobody enrolled."""

# Hug reads the annotations of parameters, so they must not be postponed.
import falcon
import hug
import numpy as np

from recognizer.http import replies
from recognizer.http.hug_adapter import Router
from recognizer.http.parameters import ids, switch, text
from recognizer.http.photo_requests import enrol_photos
from recognizer.http.site import Site
from recognizer.service.visit_service import day_or_time


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    def shown_strangers(found):
        return [replies.stranger(each, like) for each, like in zip(found, site.service.strangers.resembles(found), strict=True)]

    def shown_stranger(found):
        return shown_strangers([found])[0]

    @route.get("/strangers")
    def list_strangers(
        offset: hug.types.in_range(0, 1_000_000_000) = 0,
        limit: hug.types.in_range(1, 1001) = 100,
        since: text = None,
    ):
        """People on cameras or photos whom nobody enrolled, last seen first."""
        first, found = day_or_time(since, "since"), site.service.strangers.all()
        if first is not None:
            found = [each for each in found if each.first_seen >= first]
        return {
            "on": site.settings.strangers != "off",
            "setting": "RECOGNIZER_STRANGERS",
            "total": len(found),
            "strangers": shown_strangers(found[offset : offset + limit]),
        }

    @route.get("/strangers/{stranger}")
    def get_stranger(stranger: text):
        """One stranger."""
        return shown_stranger(site.service.strangers.people.get(stranger))

    @route.get("/strangers/{stranger}/pictures/{picture}")
    def get_stranger_picture(response, stranger: text, picture: text):
        """A picture of a stranger."""
        data = site.service.strangers.people.picture(stranger, picture)
        response.content_type = "image/jpeg"
        return data

    @route.post("/strangers/{stranger}/name")
    def name_stranger(request, response, stranger: text, subject: text, force: switch = False):
        """Name a stranger: the best pictures enrol that person, new or known, and the stranger leaves the inbox."""
        held = site.service.strangers.people.get(stranger)
        visits, templates = held.visits, np.array([each.vector for each in held.pictures])
        answer = enrol_photos(
            site,
            request,
            response,
            subject,
            site.service.strangers.pictures(stranger),
            "largest",
            force,
            as_one=True,
            details={"stranger": stranger},
        )
        if "error" not in answer:
            site.service.events.name_unknown(answer["subject"], visits)
            site.service.visits.name_unknown(answer["subject"], visits, templates)
            site.service.strangers.people.remove(stranger)
        return answer

    @route.post("/strangers/{stranger}/join")
    def join_strangers(stranger: text, other: text):
        """Merge two strangers who are one person; grouping does not separate them again."""
        joined = site.service.strangers.people.join(stranger, other)
        site.service.audit.append("stranger_join", stranger=stranger, other=other)
        return shown_stranger(joined)

    @route.post("/strangers/{stranger}/split")
    def split_stranger(response, stranger: text, pictures: ids):
        """Move pictures that show somebody else to a new stranger, who is returned; grouping does not merge the two again."""
        new = site.service.strangers.people.split(stranger, pictures)
        site.service.audit.append("stranger_split", stranger=stranger, other=new.id)
        response.status = falcon.HTTP_201
        return shown_stranger(new)

    @route.delete("/strangers/{stranger}")
    def dismiss_stranger(stranger: text, never: switch = False):
        """Erase a stranger. `never` keeps the templates, without pictures, so that this person is not reported again."""
        site.service.strangers.people.dismiss(stranger, never)
        site.service.audit.append("stranger_dismiss", stranger=stranger, never=never)
        return {"dismissed": stranger, "never": never}
