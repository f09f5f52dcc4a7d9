"""Who may do what: the gate that each request passes before its body is read; `route_roles` has the role of each route.

While there are no keys, the gate is for the person at the machine: it serves loopback alone, and refuses what pages of
other sites send there, directly or under a name that they made lead to this machine. Once there are keys, it asks for one.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from typing import Any

from recognizer.access import signing
from recognizer.access.access_file import ApiKey
from recognizer.access.dialects import ADMIN, ANYONE, DialectAccess
from recognizer.access.keys import ROLES, Keys
from recognizer.access.rates import Rates
from recognizer.access.route_roles import ROUTES
from recognizer.access.sessions import Sessions, csrf_token
from recognizer.access.signing import SigningSecrets
from recognizer.core import origins
from recognizer.core.errors import (
    BadRequest,
    CsrfRefused,
    HostRefused,
    InvalidKey,
    KeyRequired,
    LoopbackOnly,
    OriginRefused,
    RecognizerError,
    RoleRequired,
    SettingsError,
    UnknownRoute,
)
from recognizer.core.headers import SECURITY_HEADERS

_RANK = {role: rank for rank, role in enumerate((ANYONE, *ROLES))}

_HSTS = "max-age=31536000"

CSRF_HEADER = "X-CSRF-Token"
#: Wrong keys per address: hashing one costs more than refusing a request.
_ATTEMPTS = "30/minute"
#: Largest body that is read from somebody who shows no key.
_ANONYMOUS_BYTES = 16 * 1024
_STILL_SECONDS = 1.0
_SAFE = ("GET", "HEAD", "OPTIONS")
#: Headers that browsers send, and programs do not.
_OF_BROWSERS = ("HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_LONGEST_PREFIX = 200
#: Headers that proxies add.
_FORWARDED = tuple(
    "HTTP_" + name
    for name in (
        *("FORWARDED", "VIA", "X_FORWARDED_FOR", "X_FORWARDED_HOST", "X_FORWARDED_PREFIX", "X_FORWARDED_PROTO"),
        *("X_FORWARDED_PORT", "X_FORWARDED_SERVER", "X_REAL_IP", "X_CLIENT_IP", "TRUE_CLIENT_IP", "CF_CONNECTING_IP"),
    )
)
_VISIT = "recognizer.visit"
#: In the WSGI environ: whether the client of an endless reply may still receive it.
STILL_ALLOWED = "recognizer.still_allowed"


@dataclass(frozen=True)
class AccessRules:
    """What the settings say about access; `Settings` tells what each means."""

    anyone: bool = False
    hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    rate_key: str = "off"
    rate_address: str = "off"


@dataclass
class Visit:
    """One request as the gate sees it.

    Attributes
    ----------
    address : str
        Who asks, as counted and logged.
    scheme, host : str
        As the client sees this server; `host` as `origins.normal_host` gives it, empty where the request named none.
    role : str
        The permissions of the client.
    here : bool
        Whether it is somebody at this machine: connected from a loopback address, and not through a proxy.
    key : ApiKey or None
        The key that was shown, itself or by a session.
    session : str or None
        The session's token.
    cors : str or None
        A listed origin that asked.
    preflight : bool
        A browser asks whether a page of `cors` may ask.
    error : RecognizerError or None
        Why this request is refused.
    dialect : DialectAccess or None
        The dialect of another service in which the answer is expected.
    awaits_key : bool
        The key is expected in the body, which has to be read first; see `Gate.take_key`.
    """

    address: str = ""
    scheme: str = "http"
    host: str = ""
    role: str = ANYONE
    here: bool = False
    key: ApiKey | None = None
    session: str | None = None
    cors: str | None = None
    preflight: bool = False
    error: RecognizerError | None = None
    dialect: DialectAccess | None = None
    awaits_key: bool = False

    @property
    def actor(self) -> str:
        """Who asks, as the audit log has it: the key, or without one `local`, or from where."""
        if self.key is not None:
            return f"key:{self.key.id}"
        return "local" if self.here else f"address:{self.address}"


class Gate:
    """Decides about requests. Knows WSGI, no web framework; owns nothing that changes but the counters in `rates`.

    Parameters
    ----------
    keys : Keys
    sessions : Sessions
    rules : AccessRules
    routes : mapping, optional
        The table of roles, without those of dialects.
    dialects : sequence of DialectAccess, optional
        The dialects that are on.
    secrets : SigningSecrets, optional
        The keys that may sign requests.
    """

    def __init__(
        self,
        keys: Keys,
        sessions: Sessions,
        rules: AccessRules,
        routes: Mapping[tuple[str, str], str] = ROUTES,
        dialects: Sequence[DialectAccess] = (),
        secrets: SigningSecrets | None = None,
    ):
        self._secrets = secrets
        self.keys, self.sessions, self.rules, self.dialects = keys, sessions, rules, tuple(dialects)
        #: The role of every route, those of dialects with their prefixes.
        self.routes: dict[tuple[str, str], str] = dict(routes)
        for dialect in self.dialects:
            self.routes |= dialect.placed()
        self.rates = Rates()
        self._proxies = origins.Networks(rules.proxies)
        self._public = [(method, path_pattern(template)) for (method, template), role in self.routes.items() if role == ANYONE]

    # -- before the body is read ------------------------------------------------------------------------------------

    def admit(self, environ: dict[str, Any]) -> Visit:
        """Look at a request's head, once; the visit's `error` says whether it is refused."""
        visit = environ.get(_VISIT)
        if visit is None:
            visit = environ[_VISIT] = Visit()
            try:
                self._examine(environ, visit)
            except RecognizerError as error:
                visit.error = error
            environ[STILL_ALLOWED] = self._still_allowed(visit)
        return visit

    def reads_body(self, environ: dict[str, Any]) -> bool:
        """Whether a request's body is worth reading: False where the answer will be a refusal."""
        visit = self.admit(environ)
        return visit.error is None and not visit.preflight

    def _examine(self, environ: dict[str, Any], visit: Visit) -> None:
        peer, client = self._addresses(environ, visit)
        visit.address = origins.rate_group(client)
        visit.here = peer is not None and peer.is_loopback and not _is_forwarded(environ)
        path = environ.get("PATH_INFO", "")
        method = environ.get("REQUEST_METHOD", "")
        visit.dialect = next((each for each in self.dialects if each.claims(path, method)), None)
        own = self._host(environ, visit)
        visit.cors = self._listed(environ.get("HTTP_ORIGIN"))
        locked = self.keys.required()
        public = self._is_public(environ)
        if not locked:
            self._check_open_house(environ, visit, own, public)
        elif self.rules.hosts and not self._is_ours(visit.host, loopback=True):
            raise HostRefused("this server has other names; RECOGNIZER_ALLOWED_HOSTS lists them")
        if visit.dialect is not None and visit.dialect.automatic and (locked or self.rules.anyone):
            name = visit.dialect.name
            raise UnknownRoute(f"where there are keys, or others are served, RECOGNIZER_DIALECTS has to name {name}")
        if environ.get("REQUEST_METHOD") == "OPTIONS" and environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD"):
            if visit.cors is None:
                raise OriginRefused("pages of this origin may not ask; RECOGNIZER_CORS lists those that may")
            visit.preflight = True
            return
        if locked:
            self.rates.hit(self.rules.rate_address, "address", visit.address)
        safe = environ.get("REQUEST_METHOD") in _SAFE
        if locked and public and not safe and self._is_foreign(environ, own, ()):
            raise OriginRefused("a page of another site sent this")
        self._identify(environ, visit, own, public and safe)
        if not locked:
            visit.role = ADMIN
        elif visit.key is None:
            if visit.dialect is not None and visit.dialect.signed and signing.is_signed(environ):
                self._signing_key(environ, visit)  # nothing is read from somebody whose key is not known
                visit.awaits_key = True
                return
            if not public and visit.dialect is not None and visit.dialect.key_field and not safe:
                self.rates.check(_ATTEMPTS, "attempt", visit.address)
                visit.awaits_key = True
                return
            if not public:
                raise KeyRequired("expected a key: X-Api-Key, Authorization: Bearer, or a session")
            if _announced(environ) > _ANONYMOUS_BYTES:
                raise KeyRequired("expected a key with a body of this size")
        else:
            self.rates.hit(self.rules.rate_key, "key", visit.key.id)

    def take_key(self, environ: dict[str, Any], shown: str | None) -> None:
        """Take the key that the body of a request showed, where the visit awaits one. A body without a key counts as a wrong
        key: it was read.

        Raises
        ------
        KeyRequired
        InvalidKey
        KeyExpired
        RateLimited
        """
        visit = self.admit(environ)
        if not visit.awaits_key or visit.dialect is None:
            return
        visit.awaits_key = False
        if not shown:
            self.rates.hit(_ATTEMPTS, "attempt", visit.address)
            raise KeyRequired(f"expected a key: X-Api-Key, Authorization: Bearer, or the field {visit.dialect.key_field}")
        visit.key = self._check(visit, shown)
        visit.role = visit.key.role
        self.rates.hit(self.rules.rate_key, "key", visit.key.id)

    def take_signature(self, environ: dict[str, Any], body: bytes) -> None:
        """Check the signature of a request, where the visit awaits that.

        Raises
        ------
        InvalidKey
        RateLimited
        """
        visit = self.admit(environ)
        if not visit.awaits_key:
            return
        visit.awaits_key = False
        key, secret = self._signing_key(environ, visit)
        try:
            signing.check(environ, body, secret)
        except InvalidKey:
            self.rates.hit(_ATTEMPTS, "attempt", visit.address)
            raise
        visit.key, visit.role = key, key.role
        self.rates.hit(self.rules.rate_key, "key", key.id)

    def _signing_key(self, environ: Mapping[str, Any], visit: Visit) -> tuple[ApiKey, str]:
        """The key with which a request says that it is signed, and its secret."""
        self.rates.check(_ATTEMPTS, "attempt", visit.address)
        id = signing.read(environ).key
        key, secret = self.keys.living(id), None if self._secrets is None else self._secrets.get(id)
        if key is None or secret is None:
            self.rates.hit(_ATTEMPTS, "attempt", visit.address)
            raise InvalidKey("no key with this id may sign; `python -m recognizer keys add NAME --signing` makes one")
        return key, secret

    def require(self, visit: Visit, role: str, what: str) -> None:
        """Require a role that depends on the request.

        Raises
        ------
        RoleRequired
        """
        if _RANK[visit.role] < _RANK[role]:
            raise RoleRequired(f"expected a key with the role {role} {what}, got {visit.role}", role=visit.role, needed=role)

    def counted_as(self, text: str) -> str | None:
        """Under what the connections of an address are counted; None where a trusted proxy's clients share it."""
        peer = _peer(text)
        return None if peer in self._proxies else origins.rate_group(peer)

    def _addresses(self, environ: dict[str, Any], visit: Visit) -> tuple[origins.Address | None, origins.Address | None]:
        """The address of the connection's peer, and that of the client behind trusted proxies."""
        visit.scheme = environ.get("wsgi.url_scheme", "http")
        peer = _peer(environ.get("REMOTE_ADDR") or "")
        if peer not in self._proxies:
            return peer, peer
        _mount(environ)
        proto = environ.get("HTTP_X_FORWARDED_PROTO", "").split(",")[-1].strip().lower()
        if proto in ("http", "https"):
            visit.scheme = proto
        try:
            return peer, origins.client_address(peer, environ.get("HTTP_X_FORWARDED_FOR", ""), self._proxies)
        except ValueError:
            raise BadRequest("X-Forwarded-For: expected addresses") from None

    def _host(self, environ: Mapping[str, Any], visit: Visit) -> str:
        """Note the host; this server's origin as a page of it would send it."""
        given = environ.get("HTTP_HOST")
        if given is None:  # HTTP/1.0; no browser leaves it out
            return ""
        try:
            visit.host = origins.normal_host(given)
            return origins.normal_origin(f"{visit.scheme}://{given}")
        except ValueError:
            raise HostRefused("the Host header names no host") from None

    def _check_open_house(
        self,
        environ: Mapping[str, Any],
        visit: Visit,
        own: str,
        public: bool,
    ) -> None:
        """Without keys: is it somebody at this machine, who means to ask this server? No header can say so, whoever sent it."""
        if not self.rules.anyone and not visit.here:
            if _is_forwarded(environ):
                raise LoopbackOnly(
                    "this came through a proxy, and without keys only this machine is served: create a key with "
                    "`python -m recognizer keys add`, or set RECOGNIZER_ANYONE_MAY_DO_ANYTHING=on to serve everyone"
                )
            raise LoopbackOnly("without keys only this machine is served; `python -m recognizer keys add` makes one")
        if visit.host and not self._is_ours(visit.host, loopback=not self.rules.anyone):
            raise HostRefused("this server does not go by that name; RECOGNIZER_ALLOWED_HOSTS can list it")
        if self._is_foreign(environ, own, self.rules.cors) and not (public and _is_visit_of_a_page(environ)):
            raise OriginRefused("a page of another site sent this; RECOGNIZER_CORS lists the sites that may")

    def _is_ours(self, host: str, loopback: bool) -> bool:
        """Whether a host can be meant for this server: no name that a stranger can make lead here."""
        if origins.is_loopback(host) or host in self.rules.hosts:
            return True
        return not loopback and (origins.is_address(host) or host in _own_names())

    def _listed(self, origin: str | None) -> str | None:
        with contextlib.suppress(ValueError):
            if origin and origins.normal_origin(origin) in self.rules.cors:
                return origin
        return None

    def _is_foreign(self, environ: Mapping[str, Any], own: str, listed: tuple[str, ...]) -> bool:
        """Whether a browser says that a page of an origin which is not ours, nor listed, sent this."""
        origin = environ.get("HTTP_ORIGIN")
        if origin is None:
            site = environ.get("HTTP_SEC_FETCH_SITE")
            if site in ("same-origin", "none"):
                return False
            origin = environ.get("HTTP_REFERER")
            if not origin:
                return site is not None
        with contextlib.suppress(ValueError):
            return origins.origin_of_url(origin) not in (own, *listed)
        return True

    def _is_public(self, environ: Mapping[str, Any]) -> bool:
        method, path = _routed(environ.get("REQUEST_METHOD", "")), environ.get("PATH_INFO", "")
        return any(method == public and pattern.fullmatch(path) for public, pattern in self._public)

    # -- who it is --------------------------------------------------------------------------------------------------

    def _identify(self, environ: Mapping[str, Any], visit: Visit, own: str, harmless: bool) -> None:
        if visit.dialect is not None:
            if not self.keys.required():
                return  # these clients cannot be set up without some key
            if visit.dialect.signed and signing.is_signed(environ):
                return  # checked with the body
            shown = next((environ[name] for name in visit.dialect.key_headers if environ.get(name)), None)
            shown = _shown_key(environ) if shown is None else shown.strip()
        else:
            shown = _shown_key(environ)
        if shown is not None:
            visit.key = self._check(visit, shown)
            visit.role = visit.key.role
            return
        token = _cookie(environ, visit.scheme)
        found = self.sessions.find(token) if token else None
        if token is None or found is None:
            return
        if self._is_foreign(environ, own, ()):
            if harmless:
                return  # as somebody without a session
            raise OriginRefused("a page of another site used this session")
        if environ.get("REQUEST_METHOD") not in _SAFE:
            self._check_page(environ, token)
        visit.key, visit.session, visit.role = found[0], token, found[0].role

    def _check(self, visit: Visit, shown: str) -> ApiKey:
        return self.keys.check(
            shown,
            before_slow=lambda: self.rates.check(_ATTEMPTS, "attempt", visit.address),
            after_wrong=lambda: self.rates.hit(_ATTEMPTS, "attempt", visit.address),
        )

    def _check_page(self, environ: Mapping[str, Any], token: str) -> None:
        """What changes something by a session needs a browser's word on who sent it, and the token of the page."""
        given = environ.get("HTTP_" + CSRF_HEADER.upper().replace("-", "_"), "")
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), csrf_token(token).encode()):
            raise CsrfRefused(f"expected the header {CSRF_HEADER} with the token that GET /session tells")
        if environ.get("HTTP_ORIGIN") is None and environ.get("HTTP_SEC_FETCH_SITE") is None:
            raise CsrfRefused("expected a browser to say by Origin or Sec-Fetch-Site which page sent this")

    def log_in(self, visit: Visit, shown: str | None) -> tuple[str, ApiKey, float]:
        """Begin a session with the key that the request showed, or else with `shown`: its token, key and end.

        Raises
        ------
        KeyRequired
        InvalidKey
        KeyExpired
        RateLimited
        """
        key = visit.key
        if shown:
            key = self._check(visit, shown)
        elif visit.session:
            key = None
        if key is None:
            raise KeyRequired("expected a key: X-Api-Key, Authorization: Bearer, or key in the body")
        token, expires = self.sessions.begin(key)
        return token, key, expires

    # -- once the route is known --------------------------------------------------------------------------------------

    def allow(self, visit: Visit, method: str, template: str) -> None:
        """Let a visit through to a route, or not.

        Raises
        ------
        RoleRequired
        """
        wanted = self.routes.get((_routed(method), template), ADMIN)
        if _RANK[visit.role] < _RANK[wanted]:
            raise RoleRequired(f"expected a key with the role {wanted}, got {visit.role}", role=visit.role, needed=wanted)

    def _still_allowed(self, visit: Visit) -> Callable[[], bool]:
        """Whether the key of a visit still lives: asked with every frame, looked up once a second."""
        until, allowed = time.monotonic() + _STILL_SECONDS, True

        def still() -> bool:
            nonlocal until, allowed
            if allowed and time.monotonic() >= until:
                until, allowed = time.monotonic() + _STILL_SECONDS, self._lives(visit)
            return allowed

        return still

    def _lives(self, visit: Visit) -> bool:
        if visit.key is None:
            return not self.keys.required()  # the house was open when this began
        if visit.session is not None:
            return self.sessions.find(visit.session) is not None
        return self.keys.living(visit.key.id) is not None

    # -- what replies carry -------------------------------------------------------------------------------------------

    def headers(self, visit: Visit | None) -> dict[str, str]:
        """The headers of a reply to a visit."""
        shown = dict(SECURITY_HEADERS)
        if visit is None:
            return shown
        if visit.scheme == "https" and not origins.is_loopback(visit.host):
            shown["Strict-Transport-Security"] = _HSTS
        if self.rules.cors:
            shown["Vary"] = "Origin"
        if visit.cors is not None:
            shown["Access-Control-Allow-Origin"] = visit.cors
            shown["Access-Control-Expose-Headers"] = "Retry-After, Recognizer-Change"
            shown["Cross-Origin-Resource-Policy"] = "cross-origin"
        if visit.preflight:
            shown["Access-Control-Allow-Methods"] = "GET, POST, PATCH, PUT, DELETE"
            shown["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-Api-Key"
            shown["Access-Control-Max-Age"] = "600"
        return shown

    # -- starting -----------------------------------------------------------------------------------------------------

    def check_host(self, host: str) -> None:
        """See that a server may listen on a host.

        Raises
        ------
        SettingsError
            Other machines could reach it, and there is neither a key nor the setting that does without.
        """
        if self.rules.anyone or self.keys.required() or not _reaches_others(host):
            return
        raise SettingsError(
            f"listening on {host} would let other machines in, and there are no keys. Make one with "
            "`python -m recognizer keys add NAME --role admin`, or set RECOGNIZER_ANYONE_MAY_DO_ANYTHING=on"
        )


def _routed(method: str) -> str:
    """The method whose route answers."""
    return "GET" if method == "HEAD" else method


def set_cookie(visit: Visit, token: str | None, seconds: float = 0) -> str:
    """The Set-Cookie header that begins a session, or that ends one where `token` is None."""
    end = f"Max-Age={int(seconds)}" if token else "Max-Age=0"
    secure = "; Secure" if visit.scheme == "https" else ""
    return f"{_cookie_name(visit.scheme)}={token or ''}; {end}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _cookie_name(scheme: str) -> str:
    # Browsers keep others from setting a cookie of that prefix, but take it over HTTPS only.
    return "__Host-recognizer_session" if scheme == "https" else "recognizer_session"


def handed_on(environ: Mapping[str, Any], scheme: str) -> dict[str, str]:
    """Headers that show another node's gate, asked over `scheme`, the key or the session that a request shows."""
    given = {"X-Api-Key": environ.get("HTTP_X_API_KEY"), "Authorization": environ.get("HTTP_AUTHORIZATION")}
    token = _cookie(environ, "https") or _cookie(environ, "http")
    cookie = None if token is None else f"{_cookie_name(scheme)}={token}"
    return {name: value for name, value in {**given, "Cookie": cookie}.items() if value is not None}


def _cookie(environ: Mapping[str, Any], scheme: str) -> str | None:
    text = environ.get("HTTP_COOKIE")
    if not text:
        return None
    try:
        found = SimpleCookie(text).get(_cookie_name(scheme))
    except CookieError:
        return None
    return found.value if found is not None else None


def _shown_key(environ: Mapping[str, Any]) -> str | None:
    """The key in a request's headers.

    Raises
    ------
    InvalidKey
        There are two, or an Authorization header of another kind.
    """
    own: str | None = environ.get("HTTP_X_API_KEY")
    given: str | None = environ.get("HTTP_AUTHORIZATION")
    if not given:
        return own.strip() if own is not None else None
    kind, _, bearer = given.strip().partition(" ")
    if kind.lower() == "basic" and own is None:
        return _basic_key(environ, bearer.strip())
    if kind.lower() != "bearer" or (own is not None and own.strip() != bearer.strip()):
        raise InvalidKey("expected one key: X-Api-Key, or Authorization: Bearer")
    return bearer.strip()


def _basic_key(environ: Mapping[str, Any], login: str) -> str:
    """The key in place of a password, for programs that know nothing else, such as viewers of cameras. They only read, and
    browsers, which would send it along with what other pages ask for, are refused.

    Raises
    ------
    InvalidKey
    """
    if environ.get("REQUEST_METHOD") not in _SAFE or any(environ.get(name) for name in _OF_BROWSERS):
        raise InvalidKey("Authorization: Basic is for programs that read, not for changes and not for browsers")
    try:
        name, colon, password = base64.b64decode(login, validate=True).decode().partition(":")
    except ValueError:
        colon = password = ""
    if not colon:
        raise InvalidKey("Authorization: Basic: expected a name and a key as password")
    return password.strip()


def _mount(environ: dict[str, Any]) -> None:
    """Move the path below which a proxy has put this server from the path to ``SCRIPT_NAME``, as WSGI has it.

    Raises
    ------
    BadRequest
    """
    given = environ.get("HTTP_X_FORWARDED_PREFIX", "")
    prefix = "".join(part.strip().rstrip("/") for part in given.split(","))
    if not prefix:
        return
    if len(prefix) > _LONGEST_PREFIX or not _PREFIX.fullmatch(prefix):
        raise BadRequest("X-Forwarded-Prefix: expected a path")
    path = environ.get("PATH_INFO", "")
    if path == prefix or path.startswith(prefix + "/"):  # some proxies take it off, some do not
        environ["PATH_INFO"] = path[len(prefix) :]  # empty where the slash at the end is missing
    mounted = environ.get("SCRIPT_NAME", "").rstrip("/")
    environ["SCRIPT_NAME"] = mounted if mounted.endswith(prefix) else mounted + prefix


def _is_forwarded(environ: Mapping[str, Any]) -> bool:
    """Whether a request came through a proxy, as far as headers tell."""
    return any(environ.get(name) is not None for name in _FORWARDED)


def _peer(text: str) -> origins.Address | None:
    """The address at the other end of a connection; None through a socket file."""
    try:
        return origins.parse_address(text)
    except ValueError:
        return None


def _announced(environ: Mapping[str, Any]) -> int:
    """How long a body is going to be; one of unknown length counts as too long."""
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return _ANONYMOUS_BYTES + 1
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isdigit() else 0


def _is_visit_of_a_page(environ: Mapping[str, Any]) -> bool:
    """Whether somebody followed a link: the page they come from learns nothing and sends nothing along."""
    if environ.get("REQUEST_METHOD") != "GET" or environ.get("HTTP_ORIGIN") is not None:
        return False
    if "HTTP_SEC_FETCH_SITE" not in environ:
        return True
    return environ.get("HTTP_SEC_FETCH_MODE") == "navigate" and environ.get("HTTP_SEC_FETCH_DEST") == "document"


def path_pattern(template: str) -> re.Pattern[str]:
    """What a route's template matches, and its path with a slash at the end."""
    parts = re.split(r"\{[^}]*\}", template.rstrip("/"))
    return re.compile("[^/]+".join(map(re.escape, parts)) + "/?")


@lru_cache(maxsize=1)
def _own_names() -> frozenset[str]:
    """This machine's name, plain and as the local network's name service tells it: no stranger can give them elsewhere."""
    name = socket.gethostname().lower().split(".")[0]
    return frozenset((name, f"{name}.local"))


def _reaches_others(host: str) -> bool:
    """Whether any address behind a host is not a loopback address."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except OSError:
        return False  # listening fails, and says why
    return not all(origins.parse_address(str(address[0])).is_loopback for *_, address in found)
