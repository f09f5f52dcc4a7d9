"""Where events are sent: webhooks, and an MQTT broker."""

# Hug reads the annotations of parameters, so they must not be postponed.
from recognizer.http.hug_adapter import Router
from recognizer.http.parameters import ids, switch, text, urls
from recognizer.http.site import Site
from recognizer.service.receivers import SETTING_NAMES


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    @route.get("/receivers")
    def list_receivers():
        """Where events are sent, how that goes, and which of these settings cannot be changed here."""
        return site.service.receivers.report()

    @route.patch("/receivers")
    def update_receivers(
        webhooks: urls = None,
        webhook_secret: text = None,
        webhook_events: ids = None,
        mqtt_url: text = None,
        mqtt_password: text = None,
        mqtt_prefix: text = None,
        mqtt_discovery: text = None,
        mqtt_double_take: switch = None,
    ):
        """Change where events are sent, at once and permanently; what is not given stays."""
        values = locals()
        given = {name: values[name] for name in SETTING_NAMES if values[name] is not None}
        site.service.receivers.change(given)
        return site.service.receivers.report()

    @route.post("/receivers/{receiver}/test")
    def test_receiver(receiver: text):
        """Send a test event to a webhook, by its id, or to the broker (`mqtt`), and report whether it was taken."""
        return {"tested": site.service.receivers.test(receiver)}
