"""Photos that are put into the bucket of nodes: the bucket's notifications."""

# Hug reads the annotations of parameters, so they must not be postponed.
import falcon

from recognizer.core.errors import ActionOff, InvalidParameter
from recognizer.enrolment.bucket_notifications import named_objects
from recognizer.http.hug_adapter import Router
from recognizer.http.parameters import message
from recognizer.http.site import Site


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    @route.post("/dropped")
    def take_notification(response, notification: message):
        """Look at once at photos that were put below `people/` in the bucket, as the bucket's notification names them."""
        looker = site.service.dropped
        if looker is None:
            raise ActionOff("no photos are taken from a bucket here; see RECOGNIZER_PHOTOS and RECOGNIZER_DROPPED_SECONDS")
        try:
            objects = named_objects(notification)
        except ValueError as error:
            raise InvalidParameter(f"notification: {error}") from None
        response.status = falcon.HTTP_202
        return {"named": looker.wake(objects)}
