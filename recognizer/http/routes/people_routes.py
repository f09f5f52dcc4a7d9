"""Who is enrolled: listing, renaming, consent, erasure, their photos."""

# Hug reads the annotations of parameters, so they must not be postponed.
import math
from collections.abc import Callable, Mapping
from typing import Any

import hug

from recognizer.core.consent import Consent
from recognizer.core.errors import InvalidParameter, PhotoNotFound
from recognizer.core.particulars import parsed_tags
from recognizer.core.times import iso_seconds
from recognizer.enrolment.enrolled import Person
from recognizer.events.last_seen import SeenPerson
from recognizer.http import replies
from recognizer.http.hug_adapter import Router
from recognizer.http.parameters import people_order_type, switch, text
from recognizer.http.site import Site
from recognizer.photos.images import sniff
from recognizer.service.groups import SEPARATOR
from recognizer.service.subjects import Subjects


def order_of(sort: str, seen: Mapping[str, SeenPerson]) -> Callable[[Person], Any] | None:
    """The key by which people are listed; None for their names, in which order they are stored."""
    if sort == "photos":
        return lambda person: -len(person.photos)
    if sort == "seen":
        return lambda person: -iso_seconds(seen[person.name].last) if person.name in seen else 0.0
    if sort == "expires":
        return lambda person: person.consent.ends if person.consent.ends is not None else math.inf
    return None


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    _add_people(route, site)
    _add_photos(route, site)
    _add_bin(route, site)


def _people_of(site: Site, group: str | None) -> Subjects:
    return site.service.groups.get(group).subjects


def _seen_in(site: Site, group: str | None) -> dict[str, SeenPerson]:
    """Who of a group was seen when."""
    found = site.service.groups.get(group)
    whose = "" if found.is_default else found.name
    named = ((name.rpartition(SEPARATOR), each) for name, each in site.service.events.seen().items())
    return {name: each for (of, _, name), each in named if of == whose}


def _shown(site: Site, group: str | None, found: Person) -> dict:
    return replies.person(found, photos=True, group=group, seen=_seen_in(site, group).get(found.name))


def _add_people(route: Router, site: Site) -> None:
    @route.get("/people")
    def list_people(
        offset: hug.types.in_range(0, 1_000_000_000) = 0,
        limit: hug.types.in_range(1, 10_001) = 1000,
        search: text = None,
        group: text = None,
        tag: text = None,
        sort: people_order_type = "name",
    ):
        """Enrolled people by name, with counts and thumbnails, and every unused file with its reason."""
        people, seen = _people_of(site, group), _seen_in(site, group)
        found, total = people.page(offset, limit, search or "", tag=tag, order=order_of(sort, seen))
        return {
            "people": [replies.person(each, photos=False, group=group, seen=seen.get(each.name)) for each in found],
            "total": total,
            "problems": [replies.problem(problem) for problem in people.problems()],
        }

    @route.get("/people/{person}")
    def get_person(person: text, group: text = None):
        """One person with all photos."""
        return _shown(site, group, _people_of(site, group).person(person))

    @route.patch("/people/{person}")
    def update_person(
        person: text,
        name: text = None,
        merge: switch = False,
        consent: text = None,
        expires: text = None,
        tags: text = None,
        cover: text = None,
        group: text = None,
    ):
        """Rename a person (`merge` joins two people of one name), or set consent and expiry, tags, or the cover photo."""
        if name is None and consent is None and expires is None and tags is None and cover is None:
            raise InvalidParameter("expected name, consent, expires, tags or cover")
        chosen = None if tags is None else () if tags == "none" else parsed_tags(tags)
        if consent is not None or expires is not None:
            Consent().changed(consent, expires)  # before anything is changed
        people = _people_of(site, group)
        if name is not None:
            person = people.rename(person, name, merge=merge).name
        if consent is not None or expires is not None:
            people.set_consent(person, consent, expires)
        if chosen is not None or cover is not None:
            people.describe(person, cover, chosen)
        return _shown(site, group, people.person(person))

    @route.delete("/people/{person}")
    def delete_person(person: text, bin: switch = False, group: text = None):
        """Erase a person: photos, templates, cache, thumbnails and events. `left` counts what a check still found."""
        if bin:
            item = _people_of(site, group).discard(person)
            return {"deleted": item.subject, "photos": len(item.photos), "left": {}, "bin": item.id}
        return _people_of(site, group).delete(person)


def _add_photos(route: Router, site: Site) -> None:
    @route.get("/people/{person}/photos/{photo_id}")
    def get_photo(response, person: text, photo_id: text, thumbnail: switch = False, group: text = None):
        """A photo as it was received, or with `thumbnail` a small JPEG of its face."""
        people = _people_of(site, group)
        data = people.thumbnail(person, photo_id) if thumbnail else people.photo(person, photo_id)
        kind = sniff(data)
        response.content_type = f"image/{kind}" if kind else "application/octet-stream"
        return data

    @route.get("/people/{person}/photos/{photo_id}/quality")
    def get_photo_quality(person: text, photo_id: text, group: text = None):
        """The quality of the face's picture; null if the face is not found any more."""
        return replies.photo_quality(_people_of(site, group).quality(person, photo_id))

    @route.delete("/people/{person}/photos/{photo_id}")
    def delete_photo(person: text, photo_id: text, bin: switch = False, group: text = None):
        """Erase one photo of a person."""
        if bin:
            item = _people_of(site, group).discard_photo(person, photo_id)
            return {"deleted": photo_id, "of": item.subject, "files": replies.binned(item, 0.0)["photos"], "bin": item.id}
        return _people_of(site, group).delete_photo(person, photo_id)

    @route.post("/people/{person}/photos/{photo_id}/move")
    def move_photo(person: text, photo_id: text, to: text, group: text = None):
        """Give a photo to somebody else, who is made if nobody has that name."""
        return _people_of(site, group).move_photo(person, photo_id, to)


def _add_bin(route: Router, site: Site) -> None:
    @route.get("/bin")
    def list_bin(group: text = None):
        """What was deleted and can be restored, the latest deletion first."""
        held = _people_of(site, group).bin
        items = [] if held is None else [replies.binned(each, held.until(each), group) for each in held.all()]
        return {"days": 0 if held is None else held.days, "items": items}

    @route.get("/bin/{item}/thumbnail.jpg")
    def get_bin_thumbnail(response, item: text, group: text = None):
        """The face on a photo that was deleted."""
        held = _people_of(site, group).bin
        picture = None if held is None else held.get(item).thumbnail
        if picture is None:
            raise PhotoNotFound("this deletion has no picture")
        response.content_type = "image/jpeg"
        return picture

    @route.post("/bin/{item}/restore")
    def restore_from_bin(item: text, group: text = None):
        """Take a deletion back: the photos are enrolled again."""
        return _shown(site, group, _people_of(site, group).restore(item))

    @route.delete("/bin/{item}")
    def delete_from_bin(item: text, group: text = None):
        """Make a deletion final: nothing of it is left."""
        _people_of(site, group).empty_bin(item)
        return {"deleted": item}

    @route.get("/unsorted/{unsorted}")
    def get_unsorted(response, unsorted: text, group: text = None):
        """A picture that lies in known_faces itself and belongs to nobody; `problems` of GET /people lists them."""
        data = _people_of(site, group).unsorted(unsorted)
        response.content_type = f"image/{sniff(data)}"
        return data

    @route.delete("/unsorted/{unsorted}")
    def delete_unsorted(unsorted: text, group: text = None):
        """Erase a file that lies in known_faces itself."""
        return _people_of(site, group).delete_unsorted(unsorted)
