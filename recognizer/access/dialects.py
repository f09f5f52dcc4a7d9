"""Other services' dialects as the gate sees them: the paths of each, where it shows its key, and the role of every route.

`recognizer.http.compat` answers these routes. A dialect may stand below a prefix; the templates here are without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from recognizer.core.errors import SettingsError

ANYONE, READ, WRITE, ADMIN = "anyone", "read", "write", "admin"
#: Values of the setting that stand for lists of dialects.
AUTO, ALL, NONE = "auto", "all", "none"


@dataclass(frozen=True)
class DialectAccess:
    """One dialect.

    Attributes
    ----------
    name : str
    roots : tuple of str
        Paths below which everything is the dialect's, without a slash at the end.
    routes : mapping
        (method, template) -> role.
    key_headers : tuple of str
        Where a request shows its key, beside X-Api-Key and Authorization: Bearer, as names of the WSGI environ.
    key_field : str or None
        The field of the body that shows the key where no header does.
    signed : bool
        Whether requests may be signed instead of showing a key; see `signing`.
    prefix : str
        The path below which the dialect stands, without a slash at the end.
    takes_root : bool
        Whether it stands without a prefix unless the setting gives one.
    shares_root : bool
        Whether, without a prefix, only its routes are its own and not all paths below its roots.
    automatic : bool
        Whether it is on only because nobody chose: then it answers while the server has no keys and serves this machine alone.
    """

    name: str
    roots: tuple[str, ...]
    routes: Mapping[tuple[str, str], str]
    key_headers: tuple[str, ...] = ()
    key_field: str | None = None
    signed: bool = False
    prefix: str = ""
    takes_root: bool = True
    shares_root: bool = False
    automatic: bool = False

    def claims(self, path: str, method: str = "") -> bool:
        """Whether a request to a path is this dialect's, whether or not there is such a route."""
        if self.shares_root and not self.prefix:
            return (method, path) in self.routes
        return any(path == root or path.startswith(root + "/") for root in map(self.prefix.__add__, self.roots))

    def placed(self) -> dict[tuple[str, str], str]:
        """The roles by method and template, with the prefix."""
        return {(method, self.prefix + template): role for (method, template), role in self.routes.items()}


_VISION = "/v1/vision"
_DEEPSTACK: dict[tuple[str, str], str] = {
    ("POST", f"{_VISION}/face"): READ,
    ("POST", f"{_VISION}/face/recognize"): READ,
    ("POST", f"{_VISION}/face/register"): WRITE,
    ("POST", f"{_VISION}/face/list"): READ,
    ("POST", f"{_VISION}/face/delete"): WRITE,
    ("POST", f"{_VISION}/face/match"): READ,
    ("POST", f"{_VISION}/detection"): READ,
    ("POST", f"{_VISION}/custom/{{model}}"): READ,
    ("POST", f"{_VISION}/scene"): READ,
    ("GET", "/v1/status/ping"): ANYONE,
    ("GET", "/v1/server/status/ping"): ANYONE,
    ("GET", "/v1/server/status/version"): ANYONE,
}

_COMPREFACE: dict[tuple[str, str], str] = {
    ("POST", "/api/v1/recognition/recognize"): READ,
    ("GET", "/api/v1/recognition/faces"): READ,
    ("POST", "/api/v1/recognition/faces"): WRITE,
    ("DELETE", "/api/v1/recognition/faces"): WRITE,  # of everybody: `admin`, as `compreface` sees to
    ("POST", "/api/v1/recognition/faces/delete"): WRITE,
    ("DELETE", "/api/v1/recognition/faces/{image_id}"): WRITE,
    ("GET", "/api/v1/recognition/faces/{image_id}/img"): READ,
    ("POST", "/api/v1/recognition/faces/{image_id}/verify"): READ,
    ("GET", "/api/v1/static/{service}/images/{image_id}"): READ,
    ("GET", "/api/v1/recognition/subjects"): READ,
    ("POST", "/api/v1/recognition/subjects"): WRITE,
    ("DELETE", "/api/v1/recognition/subjects"): ADMIN,
    ("PUT", "/api/v1/recognition/subjects/{subject}"): WRITE,
    ("DELETE", "/api/v1/recognition/subjects/{subject}"): WRITE,
    ("PUT", "/api/v1/recognition/subjects/{subject}/{rest}"): WRITE,
    ("DELETE", "/api/v1/recognition/subjects/{subject}/{rest}"): WRITE,
    ("POST", "/api/v1/recognition/embeddings/recognize"): READ,
    ("POST", "/api/v1/recognition/embeddings/faces/{image_id}/verify"): READ,
    ("POST", "/api/v1/detection/detect"): READ,
    ("POST", "/api/v1/verification/verify"): READ,
    ("POST", "/api/v1/verification/embeddings/verify"): READ,
    ("GET", "/api/v1/config"): ANYONE,
    ("GET", "/api/v1/consistence/status"): ANYONE,
}

_AZURE_GROUPS: dict[tuple[str, str], str] = {
    ("GET", ""): READ,
    ("PUT", "/{group}"): WRITE,
    ("GET", "/{group}"): READ,
    ("PATCH", "/{group}"): WRITE,
    ("DELETE", "/{group}"): ADMIN,  # erases everybody in it
    ("POST", "/{group}/train"): WRITE,
    ("GET", "/{group}/training"): READ,
}
_AZURE_PERSONS: dict[tuple[str, str], str] = {
    ("POST", "/{group}/persons"): WRITE,
    ("GET", "/{group}/persons"): READ,
    ("GET", "/{group}/persons/{person}"): READ,
    ("PATCH", "/{group}/persons/{person}"): WRITE,
    ("DELETE", "/{group}/persons/{person}"): WRITE,
    ("POST", "/{group}/persons/{person}/persistedfaces"): WRITE,
    ("GET", "/{group}/persons/{person}/persistedfaces/{face}"): READ,
    ("PATCH", "/{group}/persons/{person}/persistedfaces/{face}"): WRITE,
    ("DELETE", "/{group}/persons/{person}/persistedfaces/{face}"): WRITE,
}
_AZURE_FACES: dict[tuple[str, str], str] = {
    ("POST", "/{group}/persistedfaces"): WRITE,
    ("GET", "/{group}/persistedfaces"): READ,
    ("GET", "/{group}/persistedfaces/{face}"): READ,
    ("PATCH", "/{group}/persistedfaces/{face}"): WRITE,
    ("DELETE", "/{group}/persistedfaces/{face}"): WRITE,
}
_AZURE_BASE = "/face/{version}"
_AZURE: dict[tuple[str, str], str] = {
    ("POST", f"{_AZURE_BASE}/detect"): READ,
    ("POST", f"{_AZURE_BASE}/identify"): READ,
    ("POST", f"{_AZURE_BASE}/verify"): READ,
    ("POST", f"{_AZURE_BASE}/findsimilars"): READ,
    ("POST", f"{_AZURE_BASE}/group"): READ,
    **{
        (method, f"{_AZURE_BASE}/{kind}{template}"): role
        for kind, below in {
            **dict.fromkeys(("persongroups", "largepersongroups"), _AZURE_PERSONS),
            **dict.fromkeys(("facelists", "largefacelists"), _AZURE_FACES),
        }.items()
        for (method, template), role in {**_AZURE_GROUPS, **below}.items()
    },
}

_NEXTCLOUD: dict[tuple[str, str], str] = {
    ("GET", "/open"): READ,
    ("POST", "/detect"): READ,
    ("POST", "/compute"): READ,
    ("GET", "/health"): ANYONE,
    ("GET", "/welcome"): ANYONE,
}

_DEEPFACE: dict[tuple[str, str], str] = {
    ("POST", "/represent"): READ,
    ("POST", "/verify"): READ,
    ("POST", "/analyze"): READ,
    ("POST", "/search"): READ,
    ("POST", "/register"): WRITE,
    ("POST", "/build/index"): READ,
}

_DOUBLE_TAKE: dict[tuple[str, str], str] = {
    ("GET", "/api/recognize"): READ,
    ("POST", "/api/recognize"): WRITE,  # it changes something at Frigate
    ("POST", "/api/recognize/upload"): READ,
    ("POST", "/api/train/add/{name}"): WRITE,
    ("DELETE", "/api/train/remove/{name}"): WRITE,
    ("GET", "/api/storage/latest/{picture}"): READ,
    ("GET", "/api/storage/matches/{picture}"): READ,
}

#: One route for all operations; `rekognition` sees to their roles.
_REKOGNITION: dict[tuple[str, str], str] = {("POST", "/"): READ}

#: In the order in which they are given their places: of two that want the same paths, the later one gets a prefix.
DIALECTS = (
    DialectAccess("deepstack", ("/v1",), _DEEPSTACK, key_field="api_key"),
    DialectAccess("codeproject", ("/v1",), _DEEPSTACK, key_field="api_key"),
    DialectAccess("compreface", ("/api/v1",), _COMPREFACE),
    DialectAccess("azure", ("/face",), _AZURE, key_headers=("HTTP_OCP_APIM_SUBSCRIPTION_KEY",)),
    DialectAccess("nextcloud", ("",), _NEXTCLOUD, takes_root=False),
    DialectAccess("deepface", ("",), _DEEPFACE, takes_root=False),
    DialectAccess("double-take", ("/api/recognize", "/api/train", "/api/storage"), _DOUBLE_TAKE),
    DialectAccess("rekognition", ("",), _REKOGNITION, signed=True, takes_root=False, shares_root=True),
)
_ENTRY = re.compile(r"([a-z0-9-]+)(?:=(/|(?:/[A-Za-z0-9._~-]+)+))?")


def chosen(
    words: Sequence[str], taken: Sequence[tuple[str, str]], known: Sequence[DialectAccess] = DIALECTS
) -> list[DialectAccess]:
    """The dialects that the setting turns on, each at its place.

    Parameters
    ----------
    words : sequence of str
        ``auto``, ``all`` or ``none``; or names, each with its prefix if it has one: ``deepstack``, ``compreface=/cf``. A name
        without a prefix stands at the root, or below ``/<name>`` where another dialect has its paths.
    taken : sequence of (method, template)
        The routes of this server itself.

    Raises
    ------
    SettingsError
    """
    if tuple(words) == (NONE,):
        return []
    automatic = tuple(words) == (AUTO,)
    if automatic or tuple(words) == (ALL,):
        words = [each.name for each in known]
    by_name = {each.name: each for each in known}
    placed: list[DialectAccess] = []
    for word in words:
        form = _ENTRY.fullmatch(word)
        if form is None or form[1] not in by_name:
            names = ", ".join(sorted(by_name))
            raise SettingsError(
                f"dialects: expected auto, all, none, or some of {names}, each perhaps with =/prefix; got {word!r}"
            )
        if form[1] in (each.name for each in placed):
            raise SettingsError(f"dialects: expected {form[1]} once")
        placed.append(_placed(replace(by_name[form[1]], automatic=automatic), form[2], placed, taken))
    return placed


def _placed(
    dialect: DialectAccess, prefix: str | None, others: Sequence[DialectAccess], taken: Sequence[tuple[str, str]]
) -> DialectAccess:
    if prefix is None:
        free = dialect.takes_root and not _clash(replace(dialect, prefix=""), others, taken)
        prefix = "" if free else f"/{dialect.name}"
    dialect = replace(dialect, prefix=prefix.rstrip("/"))
    clash = _clash(dialect, others, taken)
    if clash:
        raise SettingsError(f"dialects: {dialect.name} cannot be at {prefix or '/'}: {clash} has these paths")
    return dialect


def _clash(dialect: DialectAccess, others: Sequence[DialectAccess], taken: Sequence[tuple[str, str]]) -> str | None:
    """Who else answers below one of the roots of a dialect."""
    if any(dialect.claims(template, method) for method, template in taken):
        return "this server itself"
    roots = [dialect.prefix + root for root in dialect.roots]
    for other in others:
        if any(other.claims(root) for root in roots) or any(dialect.claims(other.prefix + root) for root in other.roots):
            return other.name
    return None
