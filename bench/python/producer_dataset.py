"""Folder of labelled images -> JSON with base64, as the script sends each: -n of them."""
import base64
import glob
import json
import os

from common import Meter, args, producer

a = args([("--corpus", {"required": True})])
files = sorted(glob.glob(a.corpus + "/*.jpg"))
p = producer(a.client, batch_size=16384, linger_ms=0)


def encode(path):
    with open(path, "rb") as f:
        data = f.read()
    name = os.path.basename(path)
    d = {"image_name": name, "image": base64.b64encode(data).decode("utf-8"), "annotation": os.path.splitext(name)[0]}
    return json.dumps(d).encode("utf-8")


p.flush()
m, total = Meter(), 0
m.start()
for i in range(a.n):
    v = encode(files[i % len(files)])
    total += len(v)
    p.send(a.topic, v)
p.flush()
m.report(f"dataset-produce/{a.client}", a.n, total)
