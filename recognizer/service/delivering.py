"""Where events are sent: the webhooks and brokers of the settings; and Frigate, whose events get names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from recognizer import __version__
from recognizer.core.errors import RecognizerError, SettingsError
from recognizer.core.settings import Settings
from recognizer.galleries.contract import Gallery
from recognizer.galleries.similarity import similarity
from recognizer.photos.results import Seen
from recognizer.service.event_service import KeptEvents
from recognizer.service.matcher import Matcher
from recognizer.service.recognition import Recognition
from recognizer.service.video_service import Video

if TYPE_CHECKING:
    from recognizer.events.delivery import Delivery
    from recognizer.events.double_take_topics import NamedFace
    from recognizer.events.event_log import EventLog
    from recognizer.events.frigate import FrigateApi
    from recognizer.events.mqtt_broker import Broker
    from recognizer.rules.push_sender import PushSender
    from recognizer.rules.rule_actions import RuleActions

log = logging.getLogger("recognizer.events")


def deliver(
    settings: Settings, events: KeptEvents, video: Video, gallery: Gallery, recognition: Recognition, matcher: Matcher
) -> None:
    """Send events to the webhooks and brokers from now on, and follow Frigate.

    Raises
    ------
    SettingsError, StorageError
    """
    from recognizer.events.frigate import Frigate, FrigateOptions
    from recognizer.events.mqtt import Mqtt, MqttOptions
    from recognizer.events.webhooks import Webhook, WebhookRules, key_of
    from recognizer.fetching.fetcher import Fetcher

    if settings.frigate_url:
        frigate_api(settings)
        if not settings.mqtt_url or not events.wanted:
            log.warning("Frigate's events are not followed: RECOGNIZER_MQTT_URL is not set, or RECOGNIZER_EVENTS is off")
    receivers = (settings.webhooks, settings.mqtt_url, settings.amqp_url, settings.kafka_url)
    if not any(receivers) or not events.wanted:
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
        broker = _broker(settings)
        discovery = "" if settings.mqtt_discovery == "none" else settings.mqtt_discovery
        twice = settings.mqtt_double_take
        options = MqttOptions(settings.mqtt_prefix, discovery, __version__, double_take=twice)

        def alike(distance: float, known: bool) -> float:
            limit = matcher.threshold_now()  # the decision was made over several frames: it stands
            return similarity(min(distance, limit) if known else max(distance, limit + 1e-6), limit, matcher.curve)

        sinks.append(Mqtt(hub, broker, options, cameras=video.names, people=gallery.subjects, alike=alike))
        if settings.frigate_url:
            api = frigate_api(settings)
            following = FrigateOptions(settings.frigate_topic, twice, discovery)
            look = lambda photo: findings(recognition.describe(photo), matcher)  # noqa: E731
            sinks.append(Frigate(hub.log, broker, api, look, following))
    hub.deliver_to([*sinks, *_queues(settings, hub.log)])


def rule_actions(settings: Settings, camera_names: Callable[[], dict[str, str]], push: PushSender | None = None) -> RuleActions:
    """What does what rules say, by these settings.

    Raises
    ------
    SettingsError
    """
    from recognizer.events.webhooks import key_of
    from recognizer.fetching.fetcher import Fetcher
    from recognizer.rules.rule_actions import RuleActions

    secret = _secret(settings.webhook_secret, settings.webhook_secret_file, "webhook_secret")
    reserved = [settings.mqtt_prefix, *([] if settings.mqtt_discovery == "none" else [settings.mqtt_discovery])]
    return RuleActions(
        Fetcher(allow=settings.webhook_allow, timeout=settings.fetch_timeout),
        settings.webhook_allow,
        key_of(secret) if secret else None,
        _broker(settings) if settings.mqtt_url else None,
        reserved,
        lambda camera: camera_names().get(camera, camera),
        push,
    )


def _broker(settings: Settings) -> Broker:
    from recognizer.events.mqtt_broker import parse_broker

    password = _secret(None, settings.mqtt_password_file, "mqtt_password")
    return parse_broker(settings.mqtt_url or "", password, _path(settings.mqtt_ca_file))


def _queues(settings: Settings, events: EventLog) -> list[Delivery]:
    """The message queues of the settings.

    Raises
    ------
    SettingsError
    """
    from recognizer.events.amqp import Amqp, AmqpOptions, parse_amqp
    from recognizer.events.kafka import Kafka, KafkaOptions, parse_kafka

    sinks: list[Delivery] = []
    if settings.amqp_url:
        password = _secret(None, settings.amqp_password_file, "amqp_password")
        server = parse_amqp(settings.amqp_url, password, _path(settings.amqp_ca_file))
        sinks.append(Amqp(events, server, AmqpOptions(settings.amqp_exchange, settings.amqp_queue, settings.events_key)))
    if settings.kafka_url:
        password = _secret(None, settings.kafka_password_file, "kafka_password")
        server = parse_kafka(settings.kafka_url, password, _path(settings.kafka_ca_file))
        sinks.append(Kafka(events, server, KafkaOptions(settings.kafka_topic, settings.events_key, settings.kafka_sasl)))
    return sinks


def _path(file: Path | None) -> str | None:
    return None if file is None else str(file)


def frigate_api(settings: Settings) -> FrigateApi:
    """The API of the Frigate that a setting names, wherever it is: the address is the administrator's.

    Raises
    ------
    SettingsError
    """
    from recognizer.events.frigate import FrigateApi
    from recognizer.fetching.fetcher import Fetcher, FetchHooks

    anywhere = FetchHooks(permit=lambda address: True)
    permitted = Fetcher(timeout=settings.fetch_timeout, max_bytes=settings.max_image_bytes, hooks=anywhere)
    try:
        return FrigateApi(settings.frigate_url or "", permitted)
    except RecognizerError as error:
        raise SettingsError(f"frigate_url: {error.message}") from None


def findings(seen: Seen, matcher: Matcher) -> list[NamedFace]:
    """The faces of a photo that were compared, with names and similarities, the largest first.

    Parameters
    ----------
    seen : Seen
        From `Recognition.recognize` or `Recognition.describe`.
    """
    from recognizer.events.double_take_topics import NamedFace

    found = []
    for face in sorted(seen.faces, key=lambda face: -face.box.area):
        match, alike = face.match, 0.0
        if match is not None and match.distance is not None and face.comparable is not False:
            alike = similarity(match.distance, match.threshold, matcher.curve)
        left, top, right, bottom = (round(edge) for edge in face.box)
        found.append(NamedFace(face.subject, alike, (left, top, right, bottom)))
    return found


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
