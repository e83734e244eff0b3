"""Camera -> topic (the users' `22-Fps-Producer.py`, without its 30 fps throttle).

--mode cv2  what the script does: cv2.VideoCapture -> cv2.imencode -> send
--mode raw  the best that Python could do: split the multipart body, send the camera's own JPEG bytes
"""
import cv2
import requests

from common import QUALITY, Meter, args, producer

a = args([("--url", {"required": True}), ("--mode", {"choices": ["cv2", "raw"], "required": True})])


def frames_cv2():
    cap = cv2.VideoCapture(a.url)
    while True:
        ok, frame = cap.read()
        if not ok:
            raise SystemExit("stream ended")
        yield cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def frames_raw():
    with requests.get(a.url, stream=True, timeout=10) as r:
        raw = r.raw
        while True:
            length = None
            while True:  # part header
                line = raw.readline()
                if not line:
                    raise SystemExit("stream ended")
                low = line.lower()
                if low.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
                elif line == b"\r\n" and length is not None:
                    break
            yield raw.read(length)


p, m, total = producer(a.client), Meter(), 0
src = frames_cv2() if a.mode == "cv2" else frames_raw()
for _ in range(5):  # warm: connection, metadata, codec
    p.send(a.topic, next(src))
p.flush()
m.start()
for _ in range(a.n):
    f = next(src)
    total += len(f)
    p.send(a.topic, f)
p.flush()
m.report(f"capture-{a.mode}/{a.client}", a.n, total, mean_frame=total // a.n)
