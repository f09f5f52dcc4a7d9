#!/usr/bin/env bash
# OpenCV 5.0.0.93 (opencv-python-headless, Linux x86_64, read 2026-11-30): VideoCapture asks an RTSP camera for TCP, as long as
# OPENCV_FFMPEG_CAPTURE_OPTIONS is not set. As soon as any option stands there, such as a timeout, it asks for UDP first, although
# nothing was said about the transport. Where packets are lost, pictures are torn from then on, and faces are missed; nothing says why.
# stimeout, the name in most guides, is no option of FFmpeg since version 5: it is ignored, and turns TCP off all the same.
# rtsp_transport;tcp has to be among the options.
#
#   bash findings/opencv-rtsp-options.sh
#
# Installs the pinned package into a temporary folder, and lets it open a camera that refuses every transport and writes down which
# are asked for. Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client opencv-python-headless==5.0.0.93
cd "$work"
cat > try.py <<'PY'
import socket
import threading

import cv2

SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"
asked = []


def answer(connection: socket.socket) -> None:
    """The replies of a camera up to SETUP."""
    lines = connection.makefile("r", newline="\r\n")
    for line in lines:
        method, head = line.split()[0], {}
        while (field := next(lines).strip()) != "":
            name, _, value = field.partition(":")
            head[name.lower()] = value.strip()
        status, more = "200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n"
        if method == "DESCRIBE":
            more = f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}"
        elif method == "SETUP":
            asked.append(head["transport"].split(";")[0])
            status = "461 Unsupported Transport"
        connection.sendall(f"RTSP/1.0 {status}\r\nCSeq: {head['cseq']}\r\n{more}".encode())


def listen() -> None:
    while True:
        threading.Thread(target=answer, args=server.accept()[:1], daemon=True).start()


server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=listen, daemon=True).start()
cv2.VideoCapture(f"rtsp://127.0.0.1:{server.getsockname()[1]}/live", cv2.CAP_FFMPEG)
print(asked[0])
PY
for options in "" "timeout;5000000" "stimeout;5000000" "stimeout;5000000|rtsp_transport;tcp"; do
    first=$(env ${options:+"OPENCV_FFMPEG_CAPTURE_OPTIONS=$options"} client/bin/python try.py 2> /dev/null)
    echo "options '$options': asks for $first first"
    found="${found:-}$first "
done
if [ "$found" = "RTP/AVP/TCP RTP/AVP/UDP RTP/AVP/UDP RTP/AVP/TCP " ]; then as_described "any option turns TCP off"; else changed; fi
