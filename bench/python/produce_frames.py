"""Fills a topic with the corpus' JPEG bytes; also the client's own produce limit (no capture)."""
import base64
import json

from common import Meter, args, corpus, producer

a = args([("--corpus", {"required": True}), ("--batch", {"type": int, "default": 1048576}), ("--linger", {"type": int, "default": 5}),
          ("--acks", {"default": "1"}), ("--json", {"action": "store_true"})])
c = corpus(a.corpus)
if a.json:  # the form of the topic FrontGATE1
    c = [json.dumps({"frame": base64.b64encode(v).decode(), "timestamp": "2024-06-04T10:30:00.123Z",
                     "size": round(len(v) / 1024, 2)}).encode() for v in c]
acks = a.acks if a.acks == "all" else int(a.acks)
p, m, total = producer(a.client, batch_size=a.batch, linger_ms=a.linger, acks=acks), Meter(), 0
m.start()
for i in range(a.n):
    v = c[i % len(c)]
    total += len(v)
    p.send(a.topic, v)
p.flush()
m.report(f"client-produce-limit-acks{a.acks}/{a.client}", a.n, total)
