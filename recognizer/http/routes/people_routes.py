"""Who is enrolled: listing, renaming, consent, erasure, their photos."""

# Hug reads the annotations of parameters, so they must not be postponed.
import hug

from recognizer.core.consent import Consent
from recognizer.core.errors import InvalidParameter
from recognizer.http import replies
from recognizer.http.hug_adapter import Router, switch, text
from recognizer.http.site import Site
from recognizer.photos.images import sniff
from recognizer.service.subjects import Subjects


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    def people_of(group: str | None) -> Subjects:
        return site.service.groups.get(group).subjects

    @route.get("/people")
    def list_people(
        offset: hug.types.in_range(0, 1_000_000_000) = 0,
        limit: hug.types.in_range(1, 10_001) = 1000,
        search: text = None,
        group: text = None,
    ):
        """Enrolled people by name, with counts and thumbnails, and every unused file with its reason."""
        people = people_of(group)
        found, total = people.page(offset, limit, search or "")
        return {
            "people": [replies.person(person, photos=False, group=group) for person in found],
            "total": total,
            "problems": [replies.problem(problem) for problem in people.problems()],
        }

    @route.get("/people/{person}")
    def get_person(person: text, group: text = None):
        """One person with all photos."""
        return replies.person(people_of(group).person(person), photos=True, group=group)

    @route.patch("/people/{person}")
    def update_person(
        person: text, name: text = None, merge: switch = False, consent: text = None, expires: text = None, group: text = None
    ):
        """Rename a person (`merge` joins two people of one name), or set the consent and its expiry."""
        if name is None and consent is None and expires is None:
            raise InvalidParameter("expected name, consent or expires")
        if consent is not None or expires is not None:
            Consent().changed(consent, expires)  # before anything is changed
        people = people_of(group)
        if name is not None:
            person = people.rename(person, name, merge=merge).name
        if consent is not None or expires is not None:
            people.set_consent(person, consent, expires)
        return replies.person(people.person(person), photos=True, group=group)

    @route.delete("/people/{person}")
    def delete_person(person: text, group: text = None):
        """Erase a person: photos, templates, cache, thumbnails and events. `left` counts what a check still found."""
        return people_of(group).delete(person)

    @route.get("/people/{person}/photos/{photo_id}")
    def get_photo(response, person: text, photo_id: text, thumbnail: switch = False, group: text = None):
        """A photo as it was received, or with `thumbnail` a small JPEG of its face."""
        people = people_of(group)
        data = people.thumbnail(person, photo_id) if thumbnail else people.photo(person, photo_id)
        kind = sniff(data)
        response.content_type = f"image/{kind}" if kind else "application/octet-stream"
        return data

    @route.get("/people/{person}/photos/{photo_id}/quality")
    def get_photo_quality(person: text, photo_id: text, group: text = None):
        """The quality of the face's picture; null if the face is not found any more."""
        return replies.photo_quality(people_of(group).quality(person, photo_id))

    @route.delete("/people/{person}/photos/{photo_id}")
    def delete_photo(person: text, photo_id: text, group: text = None):
        """Erase one photo of a person."""
        return people_of(group).delete_photo(person, photo_id)

    @route.get("/unsorted/{unsorted}")
    def get_unsorted(response, unsorted: text, group: text = None):
        """A picture that lies in known_faces itself and belongs to nobody; `problems` of GET /people lists them."""
        data = people_of(group).unsorted(unsorted)
        response.content_type = f"image/{sniff(data)}"
        return data

    @route.delete("/unsorted/{unsorted}")
    def delete_unsorted(unsorted: text, group: text = None):
        """Erase a file that lies in known_faces itself."""
        return people_of(group).delete_unsorted(unsorted)
