"""Double Take's API: photos, uploads and Frigate's events recognised, people trained and removed, pictures of events.

What is recognised here is also published by Double Take's MQTT topics, where the setting of these is on.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from recognizer.core.brief import MESSAGE, cut
from recognizer.core.errors import (
    EventNotFound,
    InvalidParameter,
    NoImage,
    RecognizerError,
    SettingsError,
)
from recognizer.core.names import comparison_key, normalise
from recognizer.events.appearances import PEOPLE_KINDS, iso
from recognizer.events.double_take_topics import UNKNOWN, LookedAt, NamedFace, result, topic_part
from recognizer.events.frigate import checked_report, has_picture
from recognizer.events.frigate_api import FrigateApi
from recognizer.http.compat.shared import enrol_largest
from recognizer.http.dialect_requests import DialectRequest
from recognizer.http.hug_adapter import DialectReply, DialectRouter
from recognizer.http.site import Site
from recognizer.http.statuses import status_of
from recognizer.service.delivering import findings, frigate_api

_ENDING = ".jpg"
_MOST_DIGITS = 18


def shape_error(error: RecognizerError) -> tuple[int, Any]:
    """An error as Double Take sends it: a text."""
    return (400 if isinstance(error, SettingsError) else status_of(error)), {"error": cut(error.message, MESSAGE)}


def add_routes(route: DialectRouter, site: Site) -> None:
    """Add these routes to the dialect's API."""
    _add_recognition(route, site)
    _add_training(route, site)
    _add_pictures(route, site)


def _add_recognition(route: DialectRouter, site: Site) -> None:
    apis: list[FrigateApi] = []  # made with the first event; it remembers Frigate's sizes

    @route.add("GET", "/api/recognize")
    def by_url(asked: DialectRequest) -> dict:
        """Everybody on the photo behind a URL."""
        url = asked.query.get("url")
        if not url:
            raise InvalidParameter("url: expected the address of a photo")
        return shown([site.service.fetch(url)], asked, asked.query.get("camera") or "manual", "manual")

    @route.add("POST", "/api/recognize/upload", photos=True)
    def upload(asked: DialectRequest) -> dict:
        """Everybody on the photos that are sent."""
        photos = [data for _, data in asked.body.files]
        if not photos:
            raise NoImage("files[]: expected a photo")
        return {"success": True, **shown(photos, asked, asked.query.get("camera") or "manual", "manual")}

    @route.add("POST", "/api/recognize")
    def of_frigate(asked: DialectRequest) -> dict:
        """The person of an event of Frigate's, who gets the name there as well."""
        report = checked_report(asked.body.content)
        if report is None or not has_picture(report):
            raise InvalidParameter("expected an event of a person, as Frigate reports it, with a snapshot")
        if not site.settings.frigate_url:
            raise SettingsError("where Frigate is, is not known here: RECOGNIZER_FRIGATE_URL")
        if not apis:
            apis.append(frigate_api(site.settings))
        after, begun, api = report["after"], time.perf_counter(), apis[0]
        snapshot = api.snapshot(after)
        found = api.of_person(findings(site.service.recognition.describe(snapshot), site.service.matcher), after, snapshot)
        named = [each for each in found if each.name is not None]
        if named and not after.get("sub_label"):
            api.set_label(after, named)
        return said(found, after["id"], after["camera"], "snapshot", begun)

    def shown(photos: list[bytes], asked: DialectRequest, camera: str, kind: str) -> dict[str, Any]:
        begun = time.perf_counter()
        found = [each for photo in photos for each in findings(site.service.recognition.recognize(photo), site.service.matcher)]
        if asked.query.get("results") == "best":
            found = _best(found)
        return said(found, str(uuid.uuid4()), cut(camera), kind, begun)

    def said(found: list[NamedFace], id: str, camera: str, kind: str, begun: float) -> dict[str, Any]:
        picture = LookedAt(id, camera, iso(time.time()), kind, f"{id}{_ENDING}", time.perf_counter() - begun)
        site.service.events.tell(found, picture)
        return result(found, picture)


def _best(found: list[NamedFace]) -> list[NamedFace]:
    """Of each person the most similar face; of strangers all."""
    best: dict[str, NamedFace] = {}
    for each in found:
        if each.name is not None and (each.name not in best or each.similarity > best[each.name].similarity):
            best[each.name] = each
    return [each for each in found if each.name is None or best[each.name] is each]


def _add_training(route: DialectRouter, site: Site) -> None:
    @route.add("POST", "/api/train/add/{name}", photos=True)
    def train(asked: DialectRequest, name: str) -> dict:
        """Enrol photos of a person; of several faces the largest is taken."""
        photos = [data for _, data in asked.body.files]
        name = _named(name)
        if comparison_key(name) == UNKNOWN:
            raise InvalidParameter(f"name: {UNKNOWN} stands for strangers")
        if not photos:
            raise NoImage("files[]: expected a photo")
        trained = enrol_largest(site, name, photos)
        return {"success": True, "message": f"{trained} of {len(photos)} photos trained"}

    @route.add("DELETE", "/api/train/remove/{name}")
    def remove(asked: DialectRequest, name: str) -> dict:
        """Erase a person."""
        site.service.subjects.delete(_named(name))
        return {"success": True}


def _named(part: str) -> str:
    """The name in a path, in which an encoded slash is still encoded.

    Raises
    ------
    InvalidName
    """
    return normalise(part.replace("%2F", "/"))


def _add_pictures(route: DialectRouter, site: Site) -> None:
    @route.add("GET", "/api/storage/latest/{picture}")
    def latest(asked: DialectRequest, picture: str) -> DialectReply:
        """The newest picture of a person or a camera."""
        wanted, hub = topic_part(picture.removesuffix(_ENDING)), site.service.events.hub

        def fits(event: dict) -> bool:
            names = (event["camera"], UNKNOWN if event["subject"] is None else event["subject"])
            return event["kind"] in PEOPLE_KINDS and bool(event["thumbnail"]) and wanted in map(topic_part, names)

        found = hub.page(limit=1, wanted=fits)
        if not found:
            raise EventNotFound(f"there is no picture of {cut(picture)}")
        event = found[0]
        return _jpeg(hub.thumbnail(event["appearance"] if event["kind"] == "left" else event["id"]))

    @route.add("GET", "/api/storage/matches/{picture}")
    def of_event(asked: DialectRequest, picture: str) -> DialectReply:
        """The picture of an event, by the name that its message has."""
        number = picture.removesuffix(_ENDING)
        if not number.isdecimal() or not number.isascii() or len(number) > _MOST_DIGITS:
            raise EventNotFound(f"there is no picture {cut(picture)}")
        return _jpeg(site.service.events.hub.thumbnail(int(number)))


def _jpeg(data: bytes) -> DialectReply:
    return DialectReply(data, media_type="image/jpeg")
