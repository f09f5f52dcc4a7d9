"""The page, the reference of the API, and the OpenAPI document."""

# Hug reads the annotations of parameters, so they must not be postponed.
import json
import threading
from functools import lru_cache

import falcon

from recognizer.core.version import __version__
from recognizer.http import openapi
from recognizer.http.hug_adapter import Router, described_routes
from recognizer.http.pages import Reply, wants_page
from recognizer.http.parameters import text
from recognizer.http.site import Site
from recognizer.http.statuses import status_of


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    @route.get("/")
    def get_page(request, response):
        """The web page, for browsers; for programs this API as Hug describes it."""
        if wants_page(request.get_header("Accept") or ""):
            if not request.env.get("PATH_INFO"):
                return send_to(response, request.env["SCRIPT_NAME"] + "/")
            return send_file(response, site.pages.page("index.html", asked(request)))
        response.set_header("Vary", "Accept")
        return get_hug_docs(request)

    @route.get("/docs")
    def get_docs(request, response):
        """The reference of this API: Swagger UI with the document of /openapi.json."""
        if request.env["PATH_INFO"].endswith("/"):
            return send_to(response, "../docs")
        return send_file(response, site.pages.page("docs.html", asked(request)))

    @route.get("/docs/hug")
    def get_hug_docs(request):
        """This API as Hug describes it."""
        return route.api.http.documentation(prefix=request.prefix)

    @route.get("/web/{version}/{asset}")
    def get_page_asset(request, response, version: text, asset: text):
        """A script, a style or a picture of the page."""
        return send_file(response, site.pages.asset(version, asset, asked(request)))

    def send_to(response, address: str) -> bytes:
        """Send a browser to the address of a page from which its relative addresses are right."""
        response.status = falcon.HTTP_308
        response.set_header("Location", address)
        return b""

    def asked(request) -> dict[str, str | None]:
        """The headers that decide how a file is sent."""
        return {name: request.get_header(name) for name in ("Accept-Encoding", "If-None-Match")}

    def send_file(response, found: Reply):
        """Answer with a file of the page."""
        response.status = getattr(falcon, f"HTTP_{found.status}")
        for name, value in found.headers.items():
            response.set_header(name, value)
        return found.body

    @route.get("/openapi.json")
    def get_openapi(request, response):
        """This API as an OpenAPI 3.1 document."""
        response.content_type = "application/json"
        with making:  # not by every thread that is asked meanwhile
            return openapi_document(site.keys.required(), request.env.get("SCRIPT_NAME", "").rstrip("/"))

    making = threading.Lock()

    @lru_cache(maxsize=8)
    def openapi_document(locked: bool, prefix: str) -> bytes:
        document = openapi.document(described_routes(route.api), status_of, __version__, locked=locked, prefix=prefix)
        return json.dumps(document, ensure_ascii=False).encode()
