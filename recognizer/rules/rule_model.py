"""A rule: whose coming or going it is about, where, when and how sure, and what happens then."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import urlsplit

from recognizer.core.brief import brief
from recognizer.core.catalogues import ENGLISH, LANGUAGES, translated
from recognizer.core.errors import InvalidParameter
from recognizer.core.names import DEFAULT_GROUP
from recognizer.events.event_files import seconds

KINDS = ("comes", "leaves")
WHO = ("people", "group", "known", "unknown", "anybody")
ACTIONS = ("notify", "push", "webhook", "mqtt")
CERTAINTIES = ("likely", "sure")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: Of pairs of different people, the share that is as similar as a pair that counts as `sure`; the page's words use the same.
SURE_RATE = 1e-5
#: Between the name of a group and that of a person in events.
SEPARATOR = "/"
#: Between the id of a camera, which has none, and the name of one of its zones.
ZONE_SEPARATOR = "/"
MOST_PEOPLE, MOST_CAMERAS, MOST_ZONES = 100, 64, 64
_LONGEST_URL, _LONGEST_TEXT, _LONGEST_TOPIC, _LONGEST_ZONE = 2000, 500, 200, 200
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
#: What a message may have filled in.
PLACES = ("who", "camera", "zone", "time")
_PLACE = re.compile(rf"\{{({'|'.join(PLACES)})\}}")
#: What is sent where a rule has no message of its own: by what happened.
_TEXTS = {
    "comes": "{who} is at {camera} ({time})",
    "entered": "{who} entered {zone} at {camera} ({time})",
    "leaves": "{who} left {camera} ({time})",
}
#: The same for browsers: a name on a locked screen is only there for whoever wants it.
_NAMELESS_TEXTS = {
    "comes": "Somebody is at {camera} ({time})",
    "entered": "Somebody entered {zone} at {camera} ({time})",
    "leaves": "Somebody left {camera} ({time})",
}
#: The same about somebody unknown: a sentence of its own, since in some languages it is not the same one.
_UNKNOWN_TEXTS = {
    "comes": "Somebody unknown is at {camera} ({time})",
    "entered": "Somebody unknown entered {zone} at {camera} ({time})",
    "leaves": "Somebody unknown left {camera} ({time})",
}
#: Between the names of zones in a message, where a language has another comma.
_COMMAS = {"ar": "، ", "ja": "、", "zh": "、"}
#: What an empty place leaves behind: brackets with nothing in them, a comma too much, and spaces where there was one word less.
_LEFTOVERS = (
    (re.compile(r"\(\s*\)|\[\s*\]|（\s*）"), ""),
    (re.compile(r"([,;、،])(?:\s*\1)+"), r"\1"),
    (re.compile(r"\s+(?=[\s,.;:!?)\]、。،؟])|(?<=[(\[])\s+"), ""),
)
_UNKNOWN = "Somebody unknown"
_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: Minutes for which a message may still be sent, by action: a switch that is moved late is worse than one that is not.
_LATE_MINUTES = {"notify": 1440.0, "push": 60.0, "webhook": 1440.0, "mqtt": 1.0}


@dataclass(frozen=True)
class Rule:
    """One rule. `make_rule` and `changed_rule` check what they are given.

    Attributes
    ----------
    id : str
        Ten hexadecimal digits.
    kind : str
        One of `KINDS`: what happens before the camera.
    who : str
        One of `WHO`. With ``people``, only those of `people`.
    people : tuple of str
        Names, as they are in the group.
    group : str
        Whose people `people` and ``who="group"`` mean.
    cameras : tuple of str
        Ids; empty for every camera.
    zones : tuple of str
        ``CAMERA/ZONE``: of a camera that has some here, only what happens in these zones counts. Each camera is in `cameras`.
    days : tuple of str
        Of `DAYS`; empty for every day. Hours that pass midnight belong to the day on which they begin.
    start, end : str or None
        ``HH:MM``; both None for the whole day.
    timezone : str or None
        IANA name; None for the zone of the server.
    sure : str
        One of `CERTAINTIES`; only for people with a name.
    apart_minutes : float
        Least time between two messages about the same person.
    most_per_hour : int
        How many messages at most in an hour, whoever they are about.
    late_minutes : float
        Age at which an event is dropped that could not be reported.
    action : str
        One of `ACTIONS`.
    url : str or None
        Secret: where the notification goes, as Apprise writes it, or the webhook's URL.
    message : str or None
        Text of a notification, with the places {who}, {camera}, {zone} and {time}. Without one, browsers show no name.
    language : str
        One of `catalogues.LANGUAGES`: of the default message, and of what stands for somebody unknown.
    picture : bool
        Whether a notification contains the picture of the face.
    topic, payload : str or None
        Of the MQTT message.
    retain : bool
        Whether the broker retains it.
    off_payload : str or None
        What is published `off_seconds` later, for something that is switched on for a time.
    off_seconds : float
    enabled : bool
    """

    id: str
    kind: str = "comes"
    who: str = "anybody"
    people: tuple[str, ...] = ()
    group: str = DEFAULT_GROUP
    cameras: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None
    timezone: str | None = None
    sure: str = "likely"
    apart_minutes: float = 5.0
    most_per_hour: int = 60
    late_minutes: float = 1440.0
    action: str = "notify"
    url: str | None = field(default=None, repr=False)
    message: str | None = None
    language: str = ENGLISH
    picture: bool = False
    topic: str | None = None
    payload: str | None = None
    retain: bool = False
    off_payload: str | None = None
    off_seconds: float = 0.0
    enabled: bool = True

    @property
    def prefix(self) -> str:
        """Before the names of the group's people in events."""
        return "" if self.group == DEFAULT_GROUP else self.group + SEPARATOR

    def names(self) -> tuple[str, ...]:
        """The names of `people` in events."""
        return tuple(self.prefix + name for name in self.people)

    def concerns(self, event: Mapping[str, Any], rate: float | None) -> bool:
        """Whether an event is one that the rule is about; how often it may be reported is not asked.

        Parameters
        ----------
        event : mapping
            As the event log has it.
        rate : float or None
            The false-match rate with which the person was recognised.
        """
        kinds = ("left",) if self.kind == "leaves" else ("appeared", "unknown", "entered")
        if event["kind"] not in kinds or "same_as" in event or not self._is_place(event):
            return False
        return self._means(event.get("subject"), rate) and self.is_time(seconds(event["time"]))

    def zones_at(self, camera: str) -> tuple[str, ...]:
        """The names of the zones of a camera, by its id, that the rule is about; empty for the whole picture."""
        return tuple(zone for each in self.zones for at, zone in [zone_parts(each)] if at == camera)

    def _is_place(self, event: Mapping[str, Any]) -> bool:
        """Whether an event is at one of the rule's cameras, and in one of the zones there if the rule names some."""
        if self.cameras and event["camera"] not in self.cameras:
            return False
        wanted = {each.casefold() for each in self.zones_at(event["camera"])}
        if not wanted:
            return event["kind"] != "entered"  # whoever enters a zone has come to the camera before
        return any(each.casefold() in wanted for each in event.get("zones") or ())

    def _means(self, subject: str | None, rate: float | None) -> bool:
        if subject is None:
            return self.who in ("unknown", "anybody")
        if self.sure == "sure" and (rate is None or rate > SURE_RATE):
            return False
        if self.who == "people":
            return subject in self.names()
        if self.who == "group":
            return subject.rpartition(SEPARATOR)[0] == self.prefix.removesuffix(SEPARATOR)
        return self.who in ("known", "anybody")

    def is_time(self, moment: float) -> bool:
        """Whether a time, in seconds since 1970, is on the rule's days and within its hours."""
        local = self.local_time(moment)
        day, clock = local, local.strftime("%H:%M")
        if self.start is not None and self.end is not None:
            if self.start < self.end:
                inside = self.start <= clock < self.end
            else:  # past midnight, or the whole day from one time on
                inside = clock >= self.start or clock < self.end
                if clock < self.start:
                    day = local - timedelta(days=1)
            if not inside:
                return False
        return not self.days or DAYS[day.weekday()] in self.days

    def local_time(self, moment: float) -> datetime:
        """A time, in seconds since 1970, on the clocks of the rule's time zone."""
        zone = None if self.timezone is None else _zone(self.timezone)
        return datetime.fromtimestamp(moment, zone) if zone else datetime.fromtimestamp(moment).astimezone()

    def notification(self, event: Mapping[str, Any], camera: str) -> str:
        """The text of a notification.

        Parameters
        ----------
        camera : str
            The name of the event's camera.
        """
        subject = event.get("subject")
        values = {
            "who": translated(_UNKNOWN, self.language) if subject is None else subject.rpartition(SEPARATOR)[2],
            "camera": camera,
            "zone": _COMMAS.get(self.language, ", ").join(self._zones_of(event)),
            "time": self.local_time(seconds(event["time"])).strftime("%H:%M"),
        }
        named = _NAMELESS_TEXTS if self.action == "push" else _TEXTS
        happened = "entered" if event["kind"] == "entered" and values["zone"] else self.kind
        text = self.message or translated((_UNKNOWN_TEXTS if subject is None else named)[happened], self.language)
        said = _PLACE.sub(lambda place: values[place[1]], text)
        if not values["zone"] and "{zone}" in text:
            for leftover, instead in _LEFTOVERS:
                said = leftover.sub(instead, said)
            said = said.strip(" ,;、،")
        return said

    def _zones_of(self, event: Mapping[str, Any]) -> list[str]:
        """The zones that an event is in; of those, where the rule is about some at that camera, these."""
        wanted = {each.casefold() for each in self.zones_at(event["camera"])}
        return [each for each in event.get("zones") or () if not wanted or each.casefold() in wanted]

    def sentence(self, cameras: Mapping[str, str]) -> str:
        """The rule in a sentence; `cameras` has their names by id."""
        words = {
            "people": _listed(self.people, "or"),
            "group": "somebody enrolled" if self.group == DEFAULT_GROUP else f"somebody of the group {self.group}",
            "known": "somebody with a name",
            "unknown": "somebody unknown",
            "anybody": "anybody",
        }[self.who]
        verb = "comes to" if self.kind == "comes" else "leaves"
        said = f"When {words} {verb} {_listed([self._place(each, cameras) for each in self.cameras], 'or') or 'any camera'}"
        if self.days:
            said += f" on {_listed([_DAY_NAMES[DAYS.index(each)] for each in self.days], 'or')}"
        if self.start is not None:
            said += f" from {self.start} to {self.end}"
        if self.sure == "sure" and self.who != "unknown":
            said += ", and the name is sure"
        said += f", {self._deed()}"
        often = f"at most {self.most_per_hour} times an hour"
        if self.apart_minutes:
            often += f", and {_number(self.apart_minutes)} minutes apart for each person"
        return f"{said}; {often}."

    def _place(self, camera: str, cameras: Mapping[str, str]) -> str:
        zones, name = self.zones_at(camera), cameras.get(camera, camera)
        return f"{name} (only in {_listed(zones, 'or')})" if zones else name

    def _deed(self) -> str:
        if self.action == "mqtt":
            said = f"publish {self.payload!r} to {self.topic}"
            return f"{said}, and {self.off_payload!r} {_number(self.off_seconds)} seconds later" if self.off_seconds else said
        if self.action == "push":
            return "notify the subscribed browsers"
        if self.action == "webhook":
            return f"call {shown_url(self.url)}"
        return f"notify {shown_url(self.url)}{' with a picture' if self.picture else ''}"


def plain(rule: Rule) -> dict[str, Any]:
    """A rule as it is stored."""
    return asdict(rule)


def parsed(stored: Mapping[str, Any]) -> Rule:
    """A rule as it was stored.

    Raises
    ------
    ValueError, TypeError, KeyError, InvalidParameter
    """
    known = {each.name for each in fields(Rule)}
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items() if name in known
    }
    return _checked(Rule(**given), zone=False)  # a zone that is missing here stops its rule only


def shown(rule: Rule) -> dict[str, Any]:
    """A rule as replies show it: of where it sends something, only what is not secret."""
    said = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(rule).items()}
    said["url"] = shown_url(rule.url)
    return said


def shown_url(url: str | None) -> str | None:
    """A URL without its secrets. Of a service that has no server, such as Telegram, everything after its name is secret."""
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme in ("http", "https", "json", "jsons", "xml", "xmls", "form", "forms"):
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return f"{parts.scheme}://***"


def make_rule(id_: str, given: Mapping[str, Any]) -> Rule:
    """A new rule of the given fields; those that are missing have their defaults.

    Raises
    ------
    InvalidParameter
    """
    action = given.get("action", "notify")
    late = _LATE_MINUTES.get(action, 1440.0)
    return _of_its_kind(_checked(_placed(replace(Rule(id_, late_minutes=late), **given), given)))


def changed_rule(rule: Rule, given: Mapping[str, Any]) -> Rule:
    """A rule with other values in the given fields.

    Raises
    ------
    InvalidParameter
        A field is wrong, or what the rule does now needs one that is missing.
    """
    action = given.get("action", rule.action)
    changes = dict(given)
    if action != rule.action:
        changes = {"url": None, "late_minutes": _LATE_MINUTES.get(action, 1440.0), **changes}
    return _of_its_kind(_checked(_placed(replace(rule, **changes), given)))


def without(rule: Rule, name: str) -> Rule | None:
    """A rule that does not mention a person any more, by the name in events. None if nothing of it would be left."""
    own = name.rpartition(SEPARATOR)[2]
    if sends(rule, name):
        return None
    if rule.who == "people" and name in rule.names():
        left = tuple(each for each in rule.people if rule.prefix + each != name)
        if not left:  # no people would mean nobody, and a rule about nobody is of no use
            return None
        rule = replace(rule, people=left)
    return replace(rule, message=None) if mentions(rule.message, own) else rule


def renamed(rule: Rule, old: str, new: str) -> Rule:
    """A rule after a person got another name; both as in events. What it sends to machines stays."""
    was, now = old.rpartition(SEPARATOR)[2], new.rpartition(SEPARATOR)[2]
    if rule.who == "people" and old in rule.names():
        names = (now if rule.prefix + each == old else each for each in rule.people)
        rule = replace(rule, people=tuple(dict.fromkeys(names)))
    if rule.message is not None and mentions(rule.message, was):
        text = _word(was).sub(lambda _: now, unicodedata.normalize("NFC", rule.message))
        rule = replace(rule, message=text if len(text) <= _LONGEST_TEXT else None)
    return rule


def zone_parts(zone: str) -> tuple[str, str]:
    """The camera's id and the zone's name of ``CAMERA/ZONE``."""
    camera, _, name = zone.partition(ZONE_SEPARATOR)
    return camera, name


def with_renamed_zones(rule: Rule, camera: str, names: Mapping[str, str]) -> Rule:
    """A rule after zones of a camera got other names: `names` has the new ones by the old ones."""
    new = {f"{camera}{ZONE_SEPARATOR}{old}".casefold(): f"{camera}{ZONE_SEPARATOR}{now}" for old, now in names.items()}
    return replace(rule, zones=tuple(dict.fromkeys(new.get(each.casefold(), each) for each in rule.zones)))


def is_about(rule: Rule, name: str) -> bool:
    """Whether a rule mentions a person, by the name in events."""
    own = name.rpartition(SEPARATOR)[2]
    listed = rule.who == "people" and name in rule.names()
    return listed or mentions(rule.message, own) or sends(rule, name)


def sends(rule: Rule, name: str) -> bool:
    """Whether a rule sends a person's name to machines; the name is as in events."""
    return any(mentions(text, name.rpartition(SEPARATOR)[2]) for text in _sent(rule))


def mentions(text: str | None, name: str) -> bool:
    """Whether a text contains a name as words of their own, also as machines write it: ``ada_lovelace/home``."""
    return text is not None and name != "" and _word(name).search(unicodedata.normalize("NFC", text)) is not None


def _word(name: str) -> re.Pattern[str]:
    words = r"[\s_-]+".join(map(re.escape, unicodedata.normalize("NFC", name).split()))
    return re.compile(rf"(?<![^\W_]){words}(?![^\W_])", re.IGNORECASE)


def _sent(rule: Rule) -> Iterator[str]:
    """What a rule sends to machines and may name somebody; the words of switches name nobody."""
    for text in (rule.topic, rule.payload, rule.off_payload):
        if text is not None and text.lower() not in ("on", "off", "true", "false"):
            yield text


# -- checks -----------------------------------------------------------------------------------------------------------


def _placed(rule: Rule, given: Mapping[str, Any]) -> Rule:
    """The rule with the cameras of its zones, if it has no other cameras.

    Raises
    ------
    InvalidParameter
    """
    if not rule.zones:
        return rule
    for each in rule.zones:
        if not all(zone_parts(each)):
            raise InvalidParameter(f"zones: expected CAMERA/ZONE, such as door/porch, got {brief(each)!r}")
    cameras = tuple(dict.fromkeys(zone_parts(each)[0] for each in rule.zones))
    if rule.cameras:
        astray = next((each for each in rule.zones if zone_parts(each)[0] not in rule.cameras), None)
        if astray is not None:
            raise InvalidParameter(
                f"zones: expected zones of the rule's cameras, which are {_listed(rule.cameras, 'and')}, got {brief(astray)!r}"
            )
        return rule
    if "cameras" in given:
        raise InvalidParameter(
            f"cameras: every camera contradicts the zones of {_listed(cameras, 'and')}; zones=all removes them"
        )
    return replace(rule, cameras=cameras)


def _checked(rule: Rule, zone: bool = True) -> Rule:
    """The rule itself; see `make_rule`."""
    _one_of("kind", rule.kind, KINDS)
    _one_of("who", rule.who, WHO)
    _one_of("sure", rule.sure, CERTAINTIES)
    _one_of("action", rule.action, ACTIONS)
    _one_of("language", rule.language, LANGUAGES)
    for day in rule.days:
        _one_of("days", day, DAYS)
    if rule.who == "people" and not rule.people:
        raise InvalidParameter("people: expected names, got none")
    if len(rule.people) > MOST_PEOPLE:
        raise InvalidParameter(f"people: expected at most {MOST_PEOPLE} names, got {len(rule.people)}")
    if len(rule.cameras) > MOST_CAMERAS:
        raise InvalidParameter(f"cameras: expected at most {MOST_CAMERAS} ids, got {len(rule.cameras)}")
    if len(rule.zones) > MOST_ZONES:
        raise InvalidParameter(f"zones: expected at most {MOST_ZONES}, got {len(rule.zones)}")
    for each in rule.zones:
        _short("zones", each, _LONGEST_ZONE)
    if (rule.start is None) != (rule.end is None):
        raise InvalidParameter("start: expected start and end, or neither")
    for name, value in (("start", rule.start), ("end", rule.end)):
        if value is not None and not _TIME.fullmatch(value):
            raise InvalidParameter(f"{name}: expected HH:MM, got {brief(value)!r}")
    if rule.start is not None and rule.start == rule.end:
        raise InvalidParameter("end: expected another time than start")
    if zone and rule.timezone is not None:
        _zone(rule.timezone)
    _within("apart_minutes", rule.apart_minutes, 0, 10_080)
    _within("most_per_hour", rule.most_per_hour, 1, 600)
    _within("late_minutes", rule.late_minutes, 0.1, 10_080)
    _within("off_seconds", rule.off_seconds, 0, 86_400)
    _short("message", rule.message, _LONGEST_TEXT)
    _short("url", rule.url, _LONGEST_URL)
    _short("topic", rule.topic, _LONGEST_TOPIC)
    _short("payload", rule.payload, _LONGEST_TEXT)
    _short("off_payload", rule.off_payload, _LONGEST_TEXT)
    return rule


def _of_its_kind(rule: Rule) -> Rule:
    """The rule, with nothing that its action, and what it is about, do not use.

    Raises
    ------
    InvalidParameter
        Something is missing.
    """
    if rule.who != "people":
        rule = replace(rule, people=())
    if rule.who not in ("people", "group"):
        rule = replace(rule, group=DEFAULT_GROUP)
    if rule.who == "unknown":
        rule = replace(rule, sure="likely")
    rule = replace(rule, days=tuple(day for day in DAYS if day in rule.days) if len(set(rule.days)) < len(DAYS) else ())
    if rule.action == "push":
        rule = replace(rule, url=None, picture=False)
        return replace(rule, topic=None, payload=None, retain=False, off_payload=None, off_seconds=0.0)
    if rule.action != "mqtt":
        if not rule.url:
            raise InvalidParameter("url: expected where the message goes")
        _check_url(rule)
        rule = replace(rule, topic=None, payload=None, retain=False, off_payload=None, off_seconds=0.0)
        return rule if rule.action == "notify" else replace(rule, message=None, picture=False, language=ENGLISH)
    if not rule.topic or rule.payload is None:
        raise InvalidParameter("topic: expected a topic, and a payload")
    if set("+#\0") & set(rule.topic) or rule.topic.startswith(("$", "/")):
        raise InvalidParameter(
            f"topic: expected one without + and #, that does not begin with $ or /, got {brief(rule.topic)!r}"
        )
    if (rule.off_payload is None) != (rule.off_seconds == 0):
        raise InvalidParameter("off_payload: expected it together with off_seconds, or neither")
    return replace(rule, url=None, message=None, picture=False, language=ENGLISH)


def _check_url(rule: Rule) -> None:
    try:
        scheme = urlsplit(rule.url or "").scheme
    except ValueError:
        scheme = ""
    allowed = scheme in ("http", "https") if rule.action == "webhook" else scheme != ""
    if not allowed:
        expected = "http:// or https://" if rule.action == "webhook" else "SERVICE://..., such as ntfy://TOPIC"
        raise InvalidParameter(f"url: expected {expected}")  # never the URL itself, which is secret


def _one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InvalidParameter(f"{name}: expected one of {', '.join(allowed)}, got {brief(str(value))!r}")


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # also for NaN
        raise InvalidParameter(f"{name}: expected a number from {least:g} to {most:g}, got {brief(value)}")


def _short(name: str, value: str | None, most: int) -> None:
    if value is not None and (len(value) > most or not value.isprintable()):
        raise InvalidParameter(f"{name}: expected printable text of at most {most} characters")


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # KeyError: ZoneInfoNotFoundError
        raise InvalidParameter(
            f"timezone: expected a time zone that this server knows, such as Europe/Berlin, got {brief(name)!r}"
        ) from None


def _listed(words: Sequence[str], last: str) -> str:
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _number(value: float) -> str:
    return f"{value:g}"
