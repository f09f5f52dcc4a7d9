"""Cameras, live video and single pictures."""

# Hug reads the annotations of parameters, so they must not be postponed.
import falcon

from recognizer.core.answers import ATTRIBUTES
from recognizer.core.errors import CameraElsewhere, InvalidParameter
from recognizer.http import replies
from recognizer.http.forwarding import forwarded
from recognizer.http.hug_adapter import Router, over
from recognizer.http.parameters import areas, fraction, ids, number, periods, switch, text
from recognizer.http.site import Site
from recognizer.video.camera_settings import parse_settings, plain_settings, renamed_zones
from recognizer.video.output import mjpeg, wall
from recognizer.video.output.mjpeg import view_key
from recognizer.video.sources.cameras import DEFAULT as DEFAULT_CAMERA
from recognizer.video.sources.cameras import CameraEntry


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""
    _add_cameras(route, site)
    _add_live_video(route, site)


def _add_cameras(route: Router, site: Site) -> None:
    def shown(entry: CameraEntry) -> dict:
        return replies.camera(entry, site.service.video.settings_of(entry.id).zone_names())

    @route.get("/cameras")
    def list_cameras():
        """Every camera and its state."""
        listed = site.service.video.cameras
        removed = [{"id": id_, "name": name} for id_, name in listed.removed().items()]
        return {"cameras": [shown(entry) for entry in listed.all()], "removed": removed}

    @route.post("/cameras")
    def add_camera(response, source: text, name: text = None, always: switch = False, group: text = None):
        """Add a camera: a webcam number, a stream URL, a file that the settings allow, or test: for a test pattern."""
        named = site.service.groups.get(group).name
        entry = site.service.video.cameras.add(source, name, always, named)
        site.service.audit.append("camera_add", camera=entry.id)
        response.status = falcon.HTTP_201
        return shown(entry)

    @route.get("/cameras/{camera}")
    def get_camera(camera: text):
        """One camera and its state."""
        return shown(site.service.video.cameras.get(camera))

    @route.patch("/cameras/{camera}")
    def update_camera(camera: text, name: text = None, source: text = None, always: switch = None, group: text = None):
        """Change a camera's name, its source, whether it always runs, or whose people are named."""
        if name is None and source is None and always is None and group is None:
            raise InvalidParameter("expected name, source, always or group")
        named = None if group is None else site.service.groups.get(group).name
        entry = site.service.video.cameras.change(camera, name=name, source=source, always=always, group=named)
        site.service.audit.append("camera_change", camera=entry.id)
        return shown(entry)

    @route.delete("/cameras/{camera}")
    def delete_camera(camera: text):
        """Remove a camera from the list."""
        removed = site.service.video.remove(camera).id
        site.service.audit.append("camera_remove", camera=removed)
        return {"deleted": removed}

    @route.get("/cameras/{camera}/settings")
    def get_camera_settings(camera: text):
        """A camera's zones, masks and schedule, and its own limits."""
        entry = site.service.video.cameras.get(camera)
        return plain_settings(site.service.video.current_settings(entry.id))

    @route.put("/cameras/{camera}/settings")
    def replace_camera_settings(
        camera: text,
        zones: areas = None,
        masks: areas = None,
        schedule: periods = None,
        events: switch = True,
        min_face: number = None,
        stranger_rate: fraction = None,
        unknown_quality: fraction = None,
    ):
        """Replace all settings of a camera; those that are not given get their defaults."""
        entry = site.service.video.cameras.get(camera)
        said = {"zones": zones, "masks": masks, "schedule": schedule, "events": events, "min_face": min_face}
        settings = parse_settings({**said, "stranger_rate": stranger_rate, "unknown_quality": unknown_quality})
        before = site.service.video.current_settings(entry.id)
        site.service.video.configure(entry.id, settings)
        site.service.audit.append("camera_settings", camera=entry.id)
        site.service.rules.zones_changed(entry.id, renamed_zones(before, settings))
        return plain_settings(settings)


def _add_live_video(route: Router, site: Site) -> None:
    @route.get("/wall", examples="cameras=default,door&width=480")
    def stream_wall(
        request,
        response,
        cameras: ids,
        width: number = None,
        fps: fraction = None,
        quality: number = None,
        overlay: text = None,
    ):
        """Live video of several cameras in one reply: JPEGs as parts, of which the header X-Camera names the camera."""
        wanted: list[str] = list(dict.fromkeys(cameras))
        if not 1 <= len(wanted) <= wall.MOST_VIEWS:
            raise InvalidParameter(f"cameras: expected 1 to {wall.MOST_VIEWS} ids, got {len(wanted)}")
        keys = [view_key(camera, width, fps, quality, overlay) for camera in wanted]
        listed = site.service.video.cameras
        here = [key for key in keys if listed.get(key.camera).here and listed.elsewhere(key.camera) is None]
        if not here:
            raise CameraElsewhere("all of these cameras are read by other nodes")
        site.service.attribute_finder.chosen(keys[0].layers.intersection(ATTRIBUTES))
        viewer = site.service.video.live.watch_all(here, over(request))
        response.content_type = wall.CONTENT_TYPE
        response.set_header("X-Cameras", ",".join(key.camera for key in here))
        return viewer

    @route.get("/stream", examples="width=640&fps=10&overlay=faces,clock")
    def stream(request, response, width: number = None, fps: fraction = None, quality: number = None, overlay: text = None):
        """Live video of the camera `default` with names drawn: MJPEG, for a browser's `<img src>`."""
        return live_stream(request, response, DEFAULT_CAMERA, width, fps, quality, overlay)

    @route.get("/cameras/{camera}/stream")
    def stream_camera(
        request,
        response,
        camera: text,
        width: number = None,
        fps: fraction = None,
        quality: number = None,
        overlay: text = None,
    ):
        """Live video of a camera with names drawn, as MJPEG."""
        return live_stream(request, response, camera, width, fps, quality, overlay)

    def live_stream(request, response, camera, width, fps, quality, overlay):
        key = view_key(camera, width, fps, quality, overlay)
        other = site.service.video.cameras.elsewhere(camera)
        if other is not None:
            return forwarded(request, response, camera, other)
        site.service.attribute_finder.chosen(key.layers.intersection(ATTRIBUTES))
        viewer = site.service.video.live.watch(key, over(request))
        response.content_type = mjpeg.CONTENT_TYPE
        return viewer

    @route.get("/cameras/{camera}/snapshot.jpg")
    def get_snapshot(
        request, response, camera: text, width: number = None, quality: number = None, overlay: text = None, raw: switch = False
    ):
        """The current picture of a camera: with names drawn, or `raw` as it came."""
        if raw and overlay is not None:
            raise InvalidParameter("overlay: expected none beside raw, which draws nothing")
        key = view_key(camera, width, None, quality, "none" if raw else overlay)
        other = site.service.video.cameras.elsewhere(camera)
        if other is not None:
            return forwarded(request, response, camera, other)
        site.service.attribute_finder.chosen(key.layers.intersection(ATTRIBUTES))
        taken = site.service.video.live.snapshot(key)
        response.content_type = "image/jpeg"
        response.set_header("X-Timestamp", f"{taken.time:.6f}")
        return taken.jpeg
