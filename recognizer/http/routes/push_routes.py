"""Notifications in browsers: which get them."""

# Hug reads the annotations of parameters, so they must not be postponed.
import time

import falcon

from recognizer.access.sessions import session_name
from recognizer.http.hug_adapter import Router
from recognizer.http.parameters import text
from recognizer.http.site import Site
from recognizer.rules.push_store import PushSubscription
from recognizer.service.push_service import contact_of


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    @route.get("/push")
    def list_subscriptions():
        """The server's public key for web push, and the browsers that get notifications."""
        return site.service.push.as_json()

    @route.post("/push/subscriptions")
    def subscribe_browser(
        request, response, endpoint: text, p256dh: text, auth: text, label: text = "", strangers: text = None
    ):
        """Subscribe a browser: with what its PushManager returned. It is removed when the key ends, or by signing out."""
        visit = site.gate.admit(request.env)
        given = PushSubscription(
            "",
            endpoint,
            p256dh,
            auth,
            " ".join(label.split()),
            strangers or None,
            contact_of(request.get_header("Origin")),
            time.time(),
            visit.key.id if visit.key else None,
            session_name(visit.session) if visit.session else None,
        )
        response.status = falcon.HTTP_201
        return site.service.push.add(given)

    @route.delete("/push/subscriptions/{subscription}")
    def unsubscribe_browser(subscription: text):
        """Remove a browser: it gets no notifications any more."""
        site.service.push.remove(subscription)
        return {"deleted": subscription}

    @route.post("/push/subscriptions/{subscription}/test")
    def test_browser(subscription: text, message: text = "Notifications work."):
        """Send a notification to one browser."""
        site.service.push.test(subscription, message)
        return {"tested": subscription}
