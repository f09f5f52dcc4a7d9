"""Where events are sent: the webhooks and the MQTT broker of the settings."""

from __future__ import annotations

from pathlib import Path

from recognizer import __version__
from recognizer.core.errors import RecognizerError, SettingsError
from recognizer.core.settings import Settings
from recognizer.fetching.fetcher import Fetcher
from recognizer.galleries.contract import Gallery
from recognizer.service.event_service import KeptEvents
from recognizer.service.video_service import Video


def deliver(settings: Settings, events: KeptEvents, video: Video, gallery: Gallery) -> None:
    """Send events to the webhooks and the broker from now on.

    Raises
    ------
    SettingsError, StorageError
    """
    from recognizer.events.delivery import Delivery
    from recognizer.events.mqtt import Mqtt, MqttOptions, parse_broker
    from recognizer.events.webhooks import Webhook, WebhookRules, key_of

    if not (settings.webhooks or settings.mqtt_url) or not events.wanted:
        return
    hub = events.hub
    sinks: list[Delivery] = []
    secret = _secret(settings.webhook_secret, settings.webhook_secret_file, "webhook_secret")
    rules = WebhookRules(key_of(secret) if secret else None, settings.webhook_retry_hours * 3600)
    fetcher = Fetcher(allow=settings.webhook_allow, timeout=settings.fetch_timeout)
    for number, url in enumerate(settings.webhooks, 1):
        try:
            sinks.append(Webhook(hub.log, url, fetcher, rules))
        except RecognizerError as error:
            raise SettingsError(f"webhooks: URL {number} cannot be used: {error.message}") from None
    if settings.mqtt_url:
        password = _secret(None, settings.mqtt_password_file, "mqtt_password")
        broker = parse_broker(settings.mqtt_url, password, str(settings.mqtt_ca_file) if settings.mqtt_ca_file else None)
        discovery = "" if settings.mqtt_discovery == "none" else settings.mqtt_discovery
        options = MqttOptions(prefix=settings.mqtt_prefix, discovery=discovery, version=__version__)
        sinks.append(Mqtt(hub, broker, options, cameras=video.names, people=gallery.subjects))
    hub.deliver_to(sinks)


def _secret(value: str | None, file: Path | None, name: str) -> str | None:
    """A secret from its setting, or from the file that a setting names.

    Raises
    ------
    SettingsError
        Both are given, or the file cannot be read or is empty.
    """
    if file is None:
        return value
    if value is not None:
        raise SettingsError(f"{name}: expected it as a setting or in a file, got both")
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, ValueError):
        text = ""
    if not text:
        raise SettingsError(f"{name}_file: the file is missing, cannot be read, or is empty")
    return text
