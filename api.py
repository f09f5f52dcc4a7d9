"""Recognizer: find and recognise faces, on your own machine.

`hug -f api.py` serves this module. Enrol people by putting photos into known_faces/<name>/ or by POST /enroll; ask who is on a
photo with /recognize. These two routes are here; recognizer/http/routes/ has the others, by subject.
"""

# Hug reads the annotations of parameters, so they must not be postponed.
from recognizer.http.early import loading_early

with loading_early() as make_engine:
    from recognizer.http import compat
    from recognizer.http.hug_adapter import Router, adapt
    from recognizer.http.parameters import format_type, fraction, landmarks_type, number, switch, text, top_k_type
    from recognizer.http.photo_requests import all_photos, answer, enrol_photos, one_photo
    from recognizer.http.routes import add_all
    from recognizer.http.site import Site
    from recognizer.service.visit_service import day_or_time

# Importing this module reads the settings and prepares the process; see `Site` and `adapt` for what that includes.
site = Site.from_environment(make_engine)
route: Router = adapt(__name__, site)
api = route.api


@route.post("/recognize")
@route.get("/recognize", examples="image_url=https://example.org/photo.jpg")
def recognize(
    request,
    response,
    image_url: text = None,
    top_k: top_k_type = 0,
    min_face: number = None,
    landmarks: landmarks_type = None,
    threshold: fraction = None,
    attributes: text = None,
    group: text = None,
    format: format_type = None,
):
    """Every face of a photo with the name of the person, or null. `format=jpeg` returns the photo with names drawn."""
    seen = site.service.groups.get(group).recognition.recognize(
        one_photo(site, request, "file", image_url),
        top_k=top_k,
        min_face=min_face,
        landmarks=int(landmarks or 5),
        threshold=threshold,
        attributes=attributes,
    )
    return answer(site, request, response, seen, format, candidates=top_k > 0, landmarks=landmarks is not None)


@route.post("/enroll")
def enroll(
    request,
    response,
    subject: text,
    image_url: text = None,
    face: text = "only",
    force: switch = False,
    group: text = None,
    taken: text = None,
):
    """Add photos of a person; those reported as added are on the disk. 409 if a face looks like somebody else."""
    given = all_photos(site, request, "file", image_url)
    day_or_time(taken, "taken")
    if not given:
        one_photo(site, request, "file", None)  # raises the error that says what a photo may be sent as
    return enrol_photos(site, request, response, subject, given, face, force, group=group, taken=taken)


add_all(route, site)
compat.extend(api, site)
