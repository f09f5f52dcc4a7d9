"""Other services' dialects: their clients run against this server unchanged.

Each module is one dialect: a Hug API of its own, which the root extends, thin over the service. It has `add_routes`, which adds
its routes, and `shape_error`, which gives any error the status and the form that the dialect's clients know. Paths, roles and
the place for the key are in `recognizer.access.dialects`.
"""

from __future__ import annotations

from types import ModuleType

import hug

from recognizer.http.compat import azure, codeproject, compreface, deepface, deepstack, double_take, nextcloud
from recognizer.http.hug_adapter import DialectRouter
from recognizer.http.site import Site

#: The module of each dialect of `recognizer.access.dialects.DIALECTS`.
MODULES: dict[str, ModuleType] = {
    "deepstack": deepstack,
    "codeproject": codeproject,
    "compreface": compreface,
    "azure": azure,
    "nextcloud": nextcloud,
    "deepface": deepface,
    "double-take": double_take,
}


def extend(api: hug.API, site: Site) -> None:
    """Add the dialects that are on to the root API, each below its prefix."""
    for dialect in site.gate.dialects:
        module = MODULES[dialect.name]
        router = DialectRouter(module.__name__)
        module.add_routes(router, site)
        site.dialect_errors[dialect.name] = module.shape_error
        api.extend(router.api, dialect.prefix)
