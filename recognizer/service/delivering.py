"""What delivers events to the webhooks and brokers of the settings; and Frigate, whose events get names."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recognizer import __version__
from recognizer.core.errors import RecognizerError, SettingsError
from recognizer.core.origins import Address
from recognizer.core.settings import PAGE, Settings
from recognizer.database import nodes
from recognizer.events.receiver_store import MQTT
from recognizer.galleries.contract import Gallery
from recognizer.galleries.similarity import similarity
from recognizer.photos.results import Seen
from recognizer.service.event_service import KeptEvents
from recognizer.service.matcher import Matcher
from recognizer.service.recognition import Recognition
from recognizer.service.video_service import Video

if TYPE_CHECKING:
    import ssl

    from recognizer.database.connection import Database
    from recognizer.events.delivery import Delivery
    from recognizer.events.double_take_topics import NamedFace
    from recognizer.events.event_log import EventLog
    from recognizer.events.frigate_api import FrigateApi
    from recognizer.events.mqtt import OtherNodes
    from recognizer.events.mqtt_broker import Broker
    from recognizer.fetching.fetcher import Fetcher
    from recognizer.rules.push_sender import PushSender
    from recognizer.rules.rule_actions import RuleActions
    from recognizer.video.sources.cameras import Cameras


@dataclass(frozen=True)
class WantedReceiver:
    """Somebody who is to get events.

    Attributes
    ----------
    key : str
        Tells receivers apart.
    recipe : tuple
        What the receiver is made of: if that changes, another one takes its place. Contains secrets.
    make : callable
        Makes what delivers to it.
    """

    key: str
    recipe: tuple[Any, ...] = field(repr=False)
    make: Callable[[], Delivery] = field(repr=False, compare=False)


class DeliveryTools:
    """What is needed to deliver events, besides settings.

    Parameters
    ----------
    permit : callable
        Whether a connection to an address of a broker is allowed that the page names.
    others : OtherNodes, optional
        Where nodes share a database.
    """

    def __init__(
        self,
        events: KeptEvents,
        video: Video,
        gallery: Gallery,
        recognition: Recognition,
        matcher: Matcher,
        permit: Callable[[Address], bool],
        others: OtherNodes | None = None,
    ):
        self.events, self.permit, self._others = events, permit, others
        self._video, self._gallery, self._recognition, self._matcher = video, gallery, recognition, matcher
        self._lock = threading.Lock()
        self._queues: list[Delivery] | None = None  # made once: they connect to the same brokers as long as the server runs

    def wanted(self, settings: Settings) -> list[WantedReceiver]:
        """Who is to get events by these settings.

        Raises
        ------
        SettingsError
        """
        found = [*self._webhooks(settings), *self._mqtt(settings)]
        queues = (settings.amqp_url, settings.kafka_url, settings.nats_url)
        if any(queues):
            with self._lock:
                if self._queues is None:  # these settings cannot be changed while the server runs
                    self._queues = _queues(settings, self.events.hub.log)
                found += [WantedReceiver(each.name, queues, partial(_itself, each)) for each in self._queues]
        return found

    def _webhooks(self, settings: Settings) -> list[WantedReceiver]:
        from recognizer.events.webhooks import Webhook, WebhookRules, webhook_id

        rules = WebhookRules(webhook_key(settings), settings.webhook_retry_hours * 3600, kinds=settings.webhook_events)
        fetcher = webhook_fetcher(settings)
        found = []
        for number, url in enumerate(dict.fromkeys(settings.webhooks), 1):
            try:
                fetcher.check(url)
            except RecognizerError as error:
                raise SettingsError(f"webhooks: URL {number} cannot be used: {error.message}") from None

            def make(url: str = url) -> Delivery:
                return Webhook(self.events.hub.log, url, fetcher, rules)

            found.append(WantedReceiver(webhook_id(url), (url, rules), make))
        return found

    def _mqtt(self, settings: Settings) -> list[WantedReceiver]:
        from recognizer.events.frigate import Frigate, FrigateOptions
        from recognizer.events.mqtt import Mqtt, MqttOptions

        if not settings.mqtt_url:
            return []
        broker = broker_of(settings, self.permit)
        discovery = "" if settings.mqtt_discovery == "none" else settings.mqtt_discovery
        twice, matcher = settings.mqtt_double_take, self._matcher
        node = self.events.node
        options = MqttOptions(settings.mqtt_prefix, discovery, __version__, double_take=twice, node=node)

        def alike(distance: float, known: bool) -> float:
            limit = matcher.threshold_now()  # the decision was made over several frames: it stands
            return similarity(min(distance, limit) if known else max(distance, limit + 1e-6), limit, matcher.curve)

        def mqtt() -> Delivery:
            cameras, people = self._video.names, self._gallery.subjects
            return Mqtt(self.events.hub, broker, options, cameras=cameras, people=people, alike=alike, others=self._others)

        def frigate() -> Delivery:
            following = FrigateOptions(settings.frigate_topic, twice, discovery)
            look = lambda photo: findings(self._recognition.describe(photo), matcher)  # noqa: E731
            return Frigate(self.events.hub.log, broker, frigate_api(settings), look, following)

        found = [WantedReceiver(MQTT, (broker, options), mqtt)]
        if settings.frigate_url:
            found.append(WantedReceiver("frigate", (broker, twice, discovery), frigate))
        return found


def other_nodes(database: Database, cameras: Cameras) -> OtherNodes:
    """What a node knows of the others; while the database is away, what it knew before."""
    from recognizer.events.mqtt import OtherNodes

    known: list[str] = []

    def ids() -> list[str]:
        nonlocal known
        with suppress(RecognizerError):
            known = nodes.ids(database)
        return known

    def elsewhere() -> list[str] | None:
        found = cameras.all()
        return [each.id for each in found if not each.here] if cameras.known else None

    return OtherNodes(elsewhere, ids)


def _itself(delivery: Delivery) -> Delivery:
    return delivery


def rule_actions(
    settings: Settings,
    camera_names: Callable[[], dict[str, str]],
    permit: Callable[[Address], bool] = lambda address: True,
    push: PushSender | None = None,
    node: str | None = None,
) -> RuleActions:
    """What does what rules say, by these settings.

    Raises
    ------
    SettingsError
    """
    from recognizer.rules.rule_actions import RuleActions, RuleTools

    reserved = [settings.mqtt_prefix, *([] if settings.mqtt_discovery == "none" else [settings.mqtt_discovery])]
    return RuleActions(
        RuleTools(
            webhook_fetcher(settings),
            settings.webhook_allow,
            webhook_key(settings),
            broker_of(settings, permit) if settings.mqtt_url else None,
            reserved,
            lambda camera: camera_names().get(camera, camera),
            push,
            node,
        )
    )


def webhook_fetcher(settings: Settings) -> Fetcher:
    """What posts to webhooks; private addresses only where a setting lists them."""
    from recognizer.fetching.fetcher import Fetcher

    return Fetcher(allow=settings.webhook_allow, timeout=settings.fetch_timeout)


def webhook_key(settings: Settings) -> bytes | None:
    """The key that signs webhooks.

    Raises
    ------
    SettingsError
    """
    from recognizer.events.webhooks import key_of

    secret = _secret(settings.webhook_secret, settings.webhook_secret_file, "webhook_secret")
    return key_of(secret) if secret else None


def broker_of(settings: Settings, permit: Callable[[Address], bool]) -> Broker:
    """The MQTT broker of the settings; `permit` says where one may be that was named on the page.

    Raises
    ------
    SettingsError
    """
    from recognizer.events.mqtt_broker import parse_broker

    password = _secret(settings.mqtt_password, settings.mqtt_password_file, "mqtt_password")
    broker = parse_broker(settings.mqtt_url or "", password, _path(settings.mqtt_ca_file))
    found = settings.found.get("mqtt_url")
    return replace(broker, permit=permit) if found is not None and found.where == PAGE else broker


def _queues(settings: Settings, events: EventLog) -> list[Delivery]:
    """The message queues of the settings.

    Raises
    ------
    SettingsError
    """
    from recognizer.events.amqp import Amqp, AmqpOptions, parse_amqp
    from recognizer.events.jetstream import JetStream, JetStreamOptions, parse_nats
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
    if settings.nats_url:
        password = _secret(None, settings.nats_password_file, "nats_password")
        server = parse_nats(settings.nats_url, password, _path(settings.nats_ca_file))
        sinks.append(JetStream(events, server, JetStreamOptions(settings.nats_stream, settings.events_key)))
    return sinks


def _path(file: Path | None) -> str | None:
    return None if file is None else str(file)


def frigate_api(settings: Settings) -> FrigateApi:
    """The API of the Frigate that a setting names, wherever it is: the address is the administrator's.

    Raises
    ------
    SettingsError
    """
    from recognizer.events.frigate_api import FrigateApi
    from recognizer.events.frigate_login import FrigateRequests, FrigateUser
    from recognizer.fetching.fetcher import Fetcher, FetchHooks

    name, password = settings.frigate_user, settings.frigate_password
    if (name is None) != (password is None):
        given, other = ("password", "user") if name is None else ("user", "password")
        raise SettingsError(f"frigate_{given}: frigate_{other} must be set as well")
    user = None if name is None or password is None else FrigateUser(name, password)
    anywhere = FetchHooks(permit=lambda address: True, tls=_frigate_tls(settings))
    permitted = Fetcher(timeout=settings.fetch_timeout, max_bytes=settings.max_image_bytes, hooks=anywhere)
    try:
        return FrigateApi(FrigateRequests(settings.frigate_url or "", permitted, user))
    except RecognizerError as error:
        raise SettingsError(f"frigate_url: {error.message}") from None


def _frigate_tls(settings: Settings) -> ssl.SSLContext | None:
    """How Frigate's certificate is checked; None where it has none to show."""
    if not (settings.frigate_url or "").lower().startswith("https:"):
        return None
    from recognizer.core.trust import accepting_context, trusting_context

    if settings.frigate_ca_file is None:
        return trusting_context() if settings.frigate_verify else accepting_context()
    if not settings.frigate_verify:
        raise SettingsError("frigate_ca_file: frigate_verify must be on, or no certificate is checked")
    try:
        return trusting_context(settings.frigate_ca_file)
    except OSError:  # ssl.SSLError is one
        raise SettingsError(
            "frigate_ca_file: the file is missing, cannot be read, or holds no certificate in PEM form"
        ) from None


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
