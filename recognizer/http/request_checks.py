"""What happens before and after each route: access, changes of other servers, parameters, and headers of replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import falcon

from recognizer.core import audit
from recognizer.core.brief import brief, cut
from recognizer.core.errors import InvalidParameter, RecognizerError
from recognizer.core.metrics import UNKNOWN
from recognizer.http import bodies
from recognizer.http.dialect_requests import DialectRequest
from recognizer.http.parameters import LISTS, as_choice, batch, check_json_type, check_query, message

if TYPE_CHECKING:
    from recognizer.http.site import Site

#: In the WSGI environ: whether other servers' changes could not be learned before the request.
OUTDATED = "recognizer.outdated"


class SecurityHeaders:
    """Adds the headers that limit what browsers may do with a reply."""

    def __init__(self, site: Site):
        self._gate = site.gate

    def process_response(self, request, response, resource, request_succeeded):
        for name, value in self._gate.headers(self._gate.admit(request.env)).items():
            if name == "Vary" or response.get_header(name) is None:
                response.append_header(name, value)


#: Carries the number of a change: in the reply to a change, and in requests that must see it on another node.
CHANGE_HEADER = "Recognizer-Change"
#: Seconds that such a request waits for its node to have the change.
CHANGE_SECONDS = 1.0


class ChangeNumbers:
    """Where nodes share a database: replies carry the number of the change that they made, and requests wait for theirs."""

    def __init__(self, site: Site):
        self._site = site

    def process_resource(self, request, response, resource, params):
        database, wanted = self._site.database, request.get_header(CHANGE_HEADER)
        if database is None:
            return
        database.forget_changes()
        if wanted is None:
            return
        if not wanted.isascii() or not wanted.isdigit() or len(wanted) > 18:
            raise InvalidParameter(f"{CHANGE_HEADER}: expected the number that a reply carried, got {brief(wanted)}")
        self._site.service.wait_for_change(int(wanted), CHANGE_SECONDS)

    def process_response(self, request, response, resource, request_succeeded):
        database = self._site.database
        if database is not None and (number := database.latest_change()):
            response.set_header(CHANGE_HEADER, str(number))


class AccessCheck:
    """Refuses requests of unknown clients before anything else is done, and those without the route's role once it is known."""

    def __init__(self, site: Site):
        self._gate, self._refusals = site.gate, site.refusals
        self._max_body, self._max_photos = site.settings.max_body_bytes, site.settings.max_photos

    def process_request(self, request, response):
        visit = self._gate.admit(request.env)
        audit.ACTOR.set(visit.actor)  # for this thread, until its next request
        if visit.error is not None:
            self._refusals.note(visit.actor, visit.error)
            raise visit.error
        if visit.preflight:
            response.status = falcon.HTTP_204
            response.complete = True

    def process_resource(self, request, response, resource, params):
        route = getattr(resource, f"on_{request.method.lower()}", None)
        if route is None:
            return
        visit = self._gate.admit(request.env)
        dialect = getattr(route, "interface", None) and getattr(route.interface.spec, "dialect", None)
        if dialect is not None:
            asked = DialectRequest(request.env, self._max_body, self._max_photos, dialect.takes_photos)
            request.context.dialect_request = asked
            if visit.awaits_key:
                self._take_key(request.env, visit, asked)
        self._gate.allow(visit, request.method, request.uri_template)

    def _take_key(self, environ, visit, asked: DialectRequest) -> None:
        """The key that stands in the body, or whose secret has signed it."""
        try:
            if visit.dialect.signed:
                self._gate.take_signature(environ, asked.raw)
            else:
                shown = asked.body.fields.get(visit.dialect.key_field)
                self._gate.take_key(environ, shown if isinstance(shown, str) else None)
        except RecognizerError as error:
            self._refusals.note(visit.actor, error)
            raise
        audit.ACTOR.set(visit.actor)


#: First parts of the paths of routes whose answers depend on who is enrolled.
_ABOUT_PEOPLE = frozenset({"people", "recognize", "verify", "unsorted"})


class SharedFolder:
    """Lets requests about people wait until this server knows what others changed in the folder that they share.

    If that cannot be known soon, because others keep changing it, a person who seems not to exist may exist: the answer is
    then `Busy`, which asks for another attempt, not that there is no such person.
    """

    def __init__(self, site: Site):
        self._site = site

    def process_resource(self, request, response, resource, params):
        route = getattr(resource, f"on_{request.method.lower()}", None)
        spec = getattr(getattr(route, "interface", None), "spec", None)
        about_people = request.path.strip("/").partition("/")[0] in _ABOUT_PEOPLE or hasattr(spec, "dialect")
        if about_people and self._site.loaded:
            request.env[OUTDATED] = not self._site.service.others.learn()


#: Fields that photos fill, and the parameter of a route that takes one.
PHOTO_FIELDS = (("file", "image_url"), ("other", "other_url"))


class RequestParameters:
    """Reads the body of each request, and refuses parameters that the route does not know, so that a typo is noticed."""

    def __init__(self, site: Site):
        self._max_body = site.settings.max_body_bytes

    def process_resource(self, request, response, resource, params):
        if request.method not in falcon.COMBINED_METHODS:  # falcon would answer 400
            raise falcon.HTTPMethodNotAllowed([name[3:].upper() for name in resource._fields])
        route = getattr(resource, f"on_{request.method.lower()}", None)
        if not hasattr(route, "all_parameters"):
            return
        check_query(request.env)
        if hasattr(route.interface.spec, "dialect"):
            request.params.clear()  # a dialect reads them itself, and Hug would put them before those of the path
            return
        known = set(route.all_parameters) - {"request", "response", *params}
        taken = {field for field, url in PHOTO_FIELDS if url in known}
        declared = route.interface.spec.__annotations__
        plain = bodies.BATCH_BYTES if batch in declared.values() else bodies.PLAIN_BYTES
        body = bodies.read(request.env, self._max_body, bool(taken), plain)
        request.context.body = body
        whole = next((name for name, kind in declared.items() if kind is message), None)
        for name, value in body.fields.items() if whole is None else [(whole, body.fields)]:
            value = as_choice(value, declared.get(name))
            check_json_type(name, value, declared.get(name))
            if name in request.params:
                raise InvalidParameter(f"{name}: expected once, got it in the URL and in the body")
            request.params[name] = value
        unknown = sorted(set(request.params) - known)
        if unknown:
            there_are = f"the parameters are {', '.join(sorted(known))}" if known else "there are none"
            raise InvalidParameter(f"{cut(unknown[0])}: no such parameter; {there_are}")
        for field in sorted(set(body.photos) - taken):
            ways = f"expected it as {' or '.join(sorted(taken))}" if taken else "no photo is taken here"
            raise InvalidParameter(f"{cut(field)}: got a photo or raw data in the body; {ways}")
        for name, value in request.params.items():
            if isinstance(value, (list, dict)) and declared.get(name) not in LISTS:
                raise InvalidParameter(f"{name}: expected one value, got several")
        for name in [name for name, value in request.params.items() if value is None or value == ""]:
            del request.params[name]

    def process_response(self, request, response, resource, request_succeeded):
        request.env["recognizer.route"] = request.uri_template or UNKNOWN
        if request.method == "HEAD" and response.data is not None:
            response.set_header("Content-Length", str(len(response.data)))
