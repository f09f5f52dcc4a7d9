"""Photos without enrolment: detection, objects, verification. `api.py` itself has recognize and enroll."""

# Hug reads the annotations of parameters, so they must not be postponed.
from recognizer.http import replies
from recognizer.http.hug_adapter import Router
from recognizer.http.parameters import format_type, fraction, landmarks_type, number, text
from recognizer.http.photo_requests import answer, one_photo
from recognizer.http.site import Site
from recognizer.photos import plain
from recognizer.photos.objects import LABELS


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    @route.post("/detect")
    def detect(
        request,
        response,
        image_url: text = None,
        min_face: number = None,
        landmarks: landmarks_type = "5",
        attributes: text = None,
        format: format_type = None,
    ):
        """Every face of a photo: box, score and landmarks."""
        seen = site.service.recognition.detect(
            one_photo(site, request, "file", image_url), min_face=min_face, landmarks=int(landmarks), attributes=attributes
        )
        return answer(site, request, response, seen, format, landmarks=True)

    @route.get("/objects", examples="image_url=https://example.org/photo.jpg")
    @route.post("/objects")
    def find_objects(
        request,
        response,
        image_url: text = None,
        threshold: fraction = None,
        labels: text = None,
        format: format_type = None,
    ):
        """The objects of a photo, of 80 kinds: label, score and box. `format=jpeg` returns the photo with them drawn."""
        wanted = None if labels is None else [label.strip() for label in labels.split(",") if label.strip()]
        seen = site.service.recognition.objects(one_photo(site, request, "file", image_url), threshold=threshold, labels=wanted)
        return answer(site, request, response, seen, format, replies.objects)

    @route.get("/objects/labels")
    def list_object_labels():
        """The labels of the objects that can be found."""
        return {"labels": list(LABELS.values())}

    @route.post("/verify")
    def verify(
        request,
        image_url: text = None,
        other_url: text = None,
        subject: text = None,
        threshold: fraction = None,
        group: text = None,
    ):
        """Whether two photos, or a photo and an enrolled person, are the same person. The largest face of each photo counts."""
        uploaded = request.context.body.photos
        if len(uploaded.get("file", ())) == 2 and not uploaded.get("other"):
            uploaded["other"] = [uploaded["file"].pop()]
        other = None
        if other_url or uploaded.get("other"):
            other = one_photo(site, request, "other", other_url)
        first = one_photo(site, request, "file", image_url)
        return plain.verification(site.service.groups.get(group).recognition.verify(first, other, subject, threshold))
