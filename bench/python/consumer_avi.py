"""Topic -> AVI through cv2.VideoWriter.

--format binary  video-save-path-as-avi.py:             JPEG value
--format json    video-save-consumer-10fps-tested.py:   {"frame": base64, "timestamp": ..., "size": ...}
--fourcc XVID (what the scripts write) or MJPG
"""
import base64
import json
import os

import cv2
import numpy as np

from common import Meter, args, messages

a = args([("--format", {"choices": ["binary", "json"], "required": True}), ("--out", {"required": True}),
          ("--fourcc", {"default": "XVID"})])
os.makedirs(a.out, exist_ok=True)
m, i, writer, total, path = Meter(), 0, None, 0, f"{a.out}/{a.topic}.avi"
for v in messages(a.client, a.topic, a.n, m):
    i += 1
    total += len(v)
    if a.format == "json":
        v = base64.b64decode(json.loads(v.decode("utf-8"))["frame"])
    frame = cv2.imdecode(np.frombuffer(v, np.uint8), cv2.IMREAD_COLOR)
    if writer is None:
        h, w = frame.shape[:2]
        writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*a.fourcc), 30.0 if a.format == "binary" else 10.0, (w, h))
    writer.write(frame)
    if i == a.n:
        writer.release()
        m.report(f"avi-{a.fourcc}-{a.format}/{a.client}", a.n, total, avi_bytes=os.path.getsize(path))
