"""Sessions of browsers, and keys."""

# Hug reads the annotations of parameters, so they must not be postponed.
import time

import falcon

from recognizer.access import gate
from recognizer.access.sessions import csrf_token, session_name
from recognizer.core import audit
from recognizer.core.errors import InvalidParameter, RecognizerError
from recognizer.http import replies
from recognizer.http.hug_adapter import Router, fraction, role_type, text
from recognizer.http.site import Site

#: A hundred years.
MOST_KEY_DAYS = 36_500


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    @route.get("/session")
    def get_session(request):
        """The caller's role and key; for a session also its end and its CSRF token."""
        visit = site.gate.admit(request.env)
        shown = {"role": visit.role, "key": visit.key and {"id": visit.key.id, "name": visit.key.name}}
        if visit.session:
            found = site.gate.sessions.find(visit.session)
            shown |= {"expires": found and found[1], "csrf_token": csrf_token(visit.session)}
        return shown

    @route.post("/session")
    def begin_session(request, response, key: text = None):
        """Exchange a key, from a header or the body, for a session: a cookie for the pages of this server."""
        if "key" in falcon.uri.parse_query_string(request.query_string):
            raise InvalidParameter("key: expected in the body or a header: a URL is written to logs and histories")
        visit = site.gate.admit(request.env)
        try:
            token, used, expires = site.gate.log_in(visit, key)
        except RecognizerError as error:
            site.refusals.note(visit.actor, error)
            raise
        with audit.acting(f"key:{used.id}"):
            site.access_log.append("sign_in", role=used.role)
        response.append_header("Set-Cookie", gate.set_cookie(visit, token, expires - time.time()))
        response.status = falcon.HTTP_201
        return {
            "role": used.role,
            "key": {"id": used.id, "name": used.name},
            "expires": expires,
            "csrf_token": csrf_token(token),
        }

    @route.delete("/session")
    def end_session(request, response):
        """End the session."""
        visit = site.gate.admit(request.env)
        try:
            if visit.session:  # first: who was not answered can sign out again
                site.forget_session(session_name(visit.session))
        finally:  # also where the file of browsers is damaged
            if visit.session:
                site.gate.sessions.end(visit.session)
                site.access_log.append("sign_out")
            response.append_header("Set-Cookie", gate.set_cookie(visit, None))
        return {"ended": visit.session is not None}

    @route.get("/keys")
    def list_keys():
        """Every key that was ever made, without the secret. `setting` says whether the settings define one as well."""
        return {
            "keys": [replies.key(key, time.time()) for key in site.keys.all()],
            "setting": site.settings.admin_key is not None,
        }

    @route.post("/keys")
    def add_key(response, name: text, role: role_type = "read", days: fraction = 365.0):
        """Make a key, which only this reply shows. From the first key on, every request needs one."""
        if not 0 <= days <= MOST_KEY_DAYS:
            raise InvalidParameter(f"days: expected 0 to {MOST_KEY_DAYS}, got {days}")
        made, shown = site.keys.add(name, role, time.time() + days * 86400 if days else None)
        site.access_log.append("key_add", key=made.id, role=made.role)
        response.status = falcon.HTTP_201
        return {**replies.key(made, time.time()), "key": shown}

    @route.delete("/keys/{key_id}")
    def revoke_key(key_id: text):
        """Revoke a key, and end every session that was begun with it."""
        revoked = site.keys.revoke(key_id)
        site.signing.remove(key_id)
        site.access_log.append("key_revoke", key=revoked.id)
        return replies.key(revoked, time.time())
