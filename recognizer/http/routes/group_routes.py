"""Groups: galleries besides known_faces."""

# Hug reads the annotations of parameters, so they must not be postponed.
import falcon

from recognizer.http import replies
from recognizer.http.hug_adapter import Router
from recognizer.http.parameters import text
from recognizer.http.site import Site


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    @route.get("/groups")
    def list_groups():
        """Every group with its counts; the first is the default group, which is known_faces."""
        groups = site.service.groups
        return {"groups": [replies.group(groups.get(name)) for name in groups.names()]}

    @route.post("/groups")
    def add_group(response, name: text):
        """Make a group: a folder of people of its own."""
        made = site.service.groups.add(name)
        response.status = falcon.HTTP_201
        return replies.group(made)

    @route.get("/groups/{group}")
    def get_group(group: text):
        """One group with its counts."""
        return replies.group(site.service.groups.get(group))

    @route.delete("/groups/{group}")
    def delete_group(group: text):
        """Erase everybody in a group, and the group."""
        return site.service.groups.delete(group)
