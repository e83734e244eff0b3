"""Topic -> JPEG files (the users' `jpg-Consumer-22fps.py`).

--mode cv2  what the script does: imdecode -> imwrite (decodes and re-encodes)
--mode raw  write the bytes as they are
--mode null only receive (the client's own cost)
"""
import os
import time

import cv2
import numpy as np

from common import QUALITY, Meter, args, messages

a = args([("--mode", {"choices": ["cv2", "raw", "null"], "required": True}), ("--out", {"required": True})])
os.makedirs(a.out, exist_ok=True)
m, total, i = Meter(), 0, 0
for v in messages(a.client, a.topic, a.n, m):
    i += 1
    total += len(v)
    path = f"{a.out}/frame_{i:06d}_{time.strftime('%Y%m%d_%H%M%S')}.jpg"
    if a.mode == "cv2":
        frame = cv2.imdecode(np.frombuffer(v, np.uint8), cv2.IMREAD_COLOR)
        cv2.imwrite(path, frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    elif a.mode == "raw":
        with open(path, "wb") as f:
            f.write(v)
    if i == a.n:
        m.report(f"jpeg-files-{a.mode}/{a.client}", a.n, total)
