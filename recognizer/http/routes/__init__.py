"""The routes by subject; `api.py` puts them together."""

from recognizer.http.hug_adapter import Router
from recognizer.http.routes import (
    access_routes,
    archive_routes,
    camera_routes,
    dropped_routes,
    event_routes,
    group_routes,
    job_routes,
    operation_routes,
    page_routes,
    people_routes,
    photo_routes,
    push_routes,
    receiver_routes,
    rule_routes,
    stranger_routes,
    visit_routes,
)
from recognizer.http.site import Site

#: In the order in which the API's documents show them, after `recognize` and `enroll` of `api.py`.
MODULES = (
    photo_routes,
    job_routes,
    people_routes,
    group_routes,
    dropped_routes,
    camera_routes,
    event_routes,
    rule_routes,
    push_routes,
    receiver_routes,
    visit_routes,
    stranger_routes,
    archive_routes,
    access_routes,
    operation_routes,
    page_routes,
)


def add_all(route: Router, site: Site) -> None:
    """Add all these routes to the API."""
    for module in MODULES:
        module.add_routes(route, site)
