"""What happens when people come or go at the cameras: rules that notify, call a webhook, or publish a message."""

# Hug reads the annotations of parameters, so they must not be postponed.
from typing import Any

import falcon
import hug

from recognizer.core.catalogues import LANGUAGES
from recognizer.core.errors import InvalidParameter
from recognizer.http.hug_adapter import Router
from recognizer.http.parameters import fraction, ids, number, switch, text
from recognizer.http.site import Site
from recognizer.rules import rule_actions, rule_model
from recognizer.service.rule_service import NOTICE

kind_type = hug.types.one_of(rule_model.KINDS)
who_type = hug.types.one_of(rule_model.WHO)
certainty_type = hug.types.one_of(rule_model.CERTAINTIES)
action_type = hug.types.one_of(rule_model.ACTIONS)
language_type = hug.types.one_of(LANGUAGES)

#: What a text is taken away by; an empty text does as well.
_NONE = ("", "none")
#: What stands for every camera, for the whole picture, and for every day.
_ALL = ["all"]
_REMOVABLE = ("start", "end", "timezone", "message", "off_payload")


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    @route.get("/rules")
    def list_rules():
        """What happens when people come or go at the cameras, and what can be done on this server."""
        broker = site.service.rules.actions().broker if site.service.rules.off is None else None
        return {
            "rules": [each.as_json() for each in site.service.rules.all()],
            "notice": NOTICE,
            "off": site.service.rules.off,
            "can_notify": rule_actions.can_notify(),
            "broker": None if broker is None else broker.shown,
        }

    @route.post("/rules")
    def add_rule(
        response,
        kind: kind_type = None,
        who: who_type = None,
        people: ids = None,
        group: text = None,
        cameras: ids = None,
        zones: ids = None,
        days: ids = None,
        start: text = None,
        end: text = None,
        timezone: text = None,
        sure: certainty_type = None,
        apart_minutes: fraction = None,
        most_per_hour: number = None,
        late_minutes: fraction = None,
        action: action_type = None,
        url: text = None,
        message: text = None,
        language: language_type = None,
        picture: switch = None,
        topic: text = None,
        payload: text = None,
        retain: switch = None,
        off_payload: text = None,
        off_seconds: fraction = None,
        enabled: switch = None,
    ):
        """Add a rule: who comes or goes, where and when, and what happens then."""
        given = _given(locals())
        if "people" in given:
            given.setdefault("who", "people")
        response.status = falcon.HTTP_201
        return site.service.rules.add(given).as_json()

    @route.patch("/rules/{rule}")
    def update_rule(
        rule: text,
        kind: kind_type = None,
        who: who_type = None,
        people: ids = None,
        group: text = None,
        cameras: ids = None,
        zones: ids = None,
        days: ids = None,
        start: text = None,
        end: text = None,
        timezone: text = None,
        sure: certainty_type = None,
        apart_minutes: fraction = None,
        most_per_hour: number = None,
        late_minutes: fraction = None,
        action: action_type = None,
        url: text = None,
        message: text = None,
        language: language_type = None,
        picture: switch = None,
        topic: text = None,
        payload: text = None,
        retain: switch = None,
        off_payload: text = None,
        off_seconds: fraction = None,
        enabled: switch = None,
    ):
        """Change a rule; what is not given stays. `none` removes a text, `all` stands for every camera, zone or day."""
        given = _given(locals())
        if not given:
            raise InvalidParameter("expected what is to be changed")
        return site.service.rules.change(rule, given).as_json()

    @route.delete("/rules/{rule}")
    def delete_rule(rule: text):
        """Remove a rule."""
        site.service.rules.remove(rule)
        return {"deleted": rule}

    @route.post("/rules/{rule}/test")
    def test_rule(rule: text):
        """Do once, now, what a rule says, as if it had happened: a message that says that it is a test, or the real switch."""
        tested = site.service.rules.test(rule)
        return {"tested": tested.id, "action": tested.action}


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """The fields of a rule that a request gives."""
    fields = set(rule_model.Rule.__dataclass_fields__) - {"id"}
    given = {name: value for name, value in arguments.items() if name in fields and value is not None}
    for name in _REMOVABLE:
        if given.get(name) in _NONE:
            given[name] = None
    for name in ("cameras", "zones", "days"):
        if name in given and not given[name]:  # an empty list must not mean everything
            raise InvalidParameter(f"{name}: expected some, or all")
        if given.get(name) == _ALL:
            given[name] = []
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
