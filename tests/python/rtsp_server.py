"""GStreamer's RTSP server: rtsp://ADDRESS:PORT/h264, /mjpeg. Arguments: ADDRESS PORT WIDTHxHEIGHT [USER PASSWORD].

Runs with the system's Python, whose packages python3-gst-1.0 and gir1.2-gst-rtsp-server-1.0 it needs.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

address, port, size, *login = sys.argv[1:]
width, height = size.split("x")
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address(address)
server.set_service(port)
PICTURES = (
    "videotestsrc is-live=true pattern=ball ! "
    f"video/x-raw,format=I420,width={width},height={height},framerate=30/1 ! "
)
H264 = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! rtph264pay name=pay0 pt=96 config-interval=1"
STREAMS = {"/h264": H264, "/mjpeg": "jpegenc quality=80 ! rtpjpegpay name=pay0 pt=26"}
permissions = GstRtspServer.RTSPPermissions()
if login:
    user, password = login
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth = GstRtspServer.RTSPAuth()
    # Digest, which knows the password; without it the server asks for basic.
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user, password, token)
    server.set_auth(auth)
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
for path, encode in STREAMS.items():
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {PICTURES} {encode} )")
    factory.set_shared(True)
    if login:
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory(path, factory)
server.attach(None)
GLib.MainLoop().run()
