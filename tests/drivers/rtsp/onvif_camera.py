"""A camera with a loudspeaker, by GStreamer: what comes over its back channel goes into a file. Run by the system's Python.

Arguments: file for the raw mu-law, payload type and encoding of the back channel. The port is printed.
"""
# mypy: ignore-errors

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

Gst.init(None)
path, payload, encoding = sys.argv[1:4]
server = GstRtspServer.RTSPOnvifServer.new()
server.set_address("127.0.0.1")
server.set_service("0")
auth = GstRtspServer.RTSPAuth()
auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
token = GstRtspServer.RTSPToken()
token.set_string("media.factory.role", "viewer")
auth.add_digest("village", "s3cret", token)
server.set_auth(auth)
factory = GstRtspServer.RTSPOnvifMediaFactory.new()
factory.set_media_gtype(GstRtspServer.RTSPOnvifMedia.__gtype__)
# Without the tee the picture that nobody has set up ends all of it by an error, now and then before the first sound.
factory.set_launch(
    "( videotestsrc is-live=1 ! video/x-raw,width=320,height=240,framerate=10/1 ! tee allow-not-linked=true "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 )"
)
if payload != "none":
    depay = {"PCMU": "rtppcmudepay", "PCMA": "rtppcmadepay"}[encoding]
    factory.set_backchannel_launch(
        f'( capsfilter caps="application/x-rtp,media=audio,payload={payload},clock-rate=8000,encoding-name={encoding}" '
        f"name=depay_backchannel ! {depay} ! filesink location={path} buffer-mode=unbuffered sync=false async=false )"
    )
role = "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
factory.add_role_from_structure(Gst.Structure.new_from_string(role))
server.get_mount_points().add_factory("/yard", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
