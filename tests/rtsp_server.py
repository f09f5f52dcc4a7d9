"""An RTSP server for the tests, run with Debian's Python (python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-good).

    /usr/bin/python3 tests/rtsp_server.py PORT [USER:PASSWORD [CLIP.mp4]]

``/live`` is a moving picture as JPEG, for ever; ``/clip`` the H.264 of a file, once. With a login, both ask for it. Prints the
port once it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

SIZE = "video/x-raw,format=I420,width=320,height=240,framerate=25/1"
LIVE = f"( videotestsrc is-live=true pattern=ball ! {SIZE} ! jpegenc ! rtpjpegpay name=pay0 )"


def main(port: str, login: str = "", clip: str = "") -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth = GstRtspServer.RTSPAuth()
    if login:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*login.split(":")), token)
    else:
        auth.set_default_token(token)
    server.set_auth(auth)
    places = {"/live": LIVE}
    if clip:
        places["/clip"] = f"( filesrc location={clip} ! qtdemux ! rtph264pay name=pay0 config-interval=1 )"
    for path, pipeline in places.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(pipeline)
        factory.set_shared(path != "/clip")
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
