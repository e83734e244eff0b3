//! The rules of a `CameraStream`.

use crate::table;

#[test]
fn a_camera_keeps_to_its_rules() {
    let source = "mjpeg: {url: \"http://gate/video\"}";
    let topic = "  topic: {name: Gate}\n";
    let with = |more: &str| format!("{topic}  {more}\n");
    table(&[
        (
            topic,
            &with("activeHours: {timeZone: Europe/Roma, windows: [{}]}"),
            "14:27: CameraStream/gate: spec.activeHours.timeZone: there is no time zone `Europe/Roma`; did \
             you mean `Europe/Rome`?",
        ),
        (
            topic,
            &with("activeHours: {windows: [{from: \"24:00\"}]}"),
            "14:34: CameraStream/gate: spec.activeHours.windows[0].from: no window begins at the end of a day; \
             write `00:00`",
        ),
        (
            topic,
            &with("activeHours: {windows: [{until: \"8:00\"}]}"),
            "14:35: CameraStream/gate: spec.activeHours.windows[0].until: `8:00` is not a time of day; write \
             it as `08:00`, `24:00` at most",
        ),
        (
            topic,
            &with("activeHours: {windows: []}"),
            "14:17: CameraStream/gate: spec.activeHours.windows: the list is empty; give at least one",
        ),
        (
            topic,
            &with(&format!("activeHours: {{windows: [{}]}}", "{},".repeat(51))),
            "14:17: CameraStream/gate: spec.activeHours.windows: the list has 51 entries; 50 are the most",
        ),
        (
            source,
            "mjpeg: {url: \"http://\"}",
            "12:18: CameraStream/gate: spec.source.mjpeg.url: the URL names no camera; write its host behind `//`, as in \
             `//camera/…`",
        ),
        (
            source,
            "rtsp: {url: \"rtsp:///x\"}",
            "12:17: CameraStream/gate: spec.source.rtsp.url: the URL names no camera; write its host behind `//`, as in \
             `//camera/…`",
        ),
        (
            source,
            "rtsp: {url: \"RTSP://gate/x\"}",
            "12:17: CameraStream/gate: spec.source.rtsp.url: `RTSP://` is in capitals; write it in small letters: `rtsp://`",
        ),
        (
            source,
            "mjpeg: {url: \"http://gate/my video\"}",
            "12:18: CameraStream/gate: spec.source.mjpeg.url: there is a blank or a line break in the URL; take it out; within a \
             path or a login, write a blank as `%20`",
        ),
        (
            source,
            "rtsp: {url: \"rtsp://gate/x\\n\"}",
            "12:17: CameraStream/gate: spec.source.rtsp.url: there is a blank or a line break in the URL; take it out; within a \
             path or a login, write a blank as `%20`",
        ),
        (
            source,
            "mjpeg: {url: \"http://ann:secret@gate:99999\"}",
            "12:18: CameraStream/gate: spec.source.mjpeg.url: this is not a URL: invalid port number; \
             write it as `http://camera/video`",
        ),
        (
            source,
            "mjpeg: {url: \"http://ann:secret@gate\", credentialsSecretRef: {name: x}}",
            "12:44: CameraStream/gate: spec.source.mjpeg.credentialsSecretRef: the URL has a login too, \
             and only one can be used; take the login out of the URL",
        ),
        (
            source,
            "mjpeg: {url: \"http://gate\", tls: {}}",
            "12:33: CameraStream/gate: spec.source.mjpeg.tls: the URL is `http://`, which has no TLS; \
             use `https://`, or take `tls` out",
        ),
        (
            source,
            "mjpeg: {url: \"https://gate\", tls: {insecureSkipVerify: true, caSecretRef: {name: a, key: b}}}",
            "12:66: CameraStream/gate: spec.source.mjpeg.tls.caSecretRef: with `insecureSkipVerify` no \
             certificate is looked at; keep one of the two",
        ),
        (
            source,
            "snapshot: {url: \"http://gate\", interval: 5ms}",
            "12:46: CameraStream/gate: spec.source.snapshot.interval: `5ms` is out of range; write \
             `10ms` to `24h`",
        ),
        (
            source,
            "snapshot: {url: \"http://gate\", interval: 10s}",
            "10:1: CameraStream/gate: spec.watchdog.stall: `10s` is not longer than the snapshots' \
             interval, `10s`; make it a few times the interval: else the camera counts as broken between \
             two pictures",
        ),
        (
            source,
            "synthetic: {size: 100x100}",
            "12:23: CameraStream/gate: spec.source.synthetic.size: `100x100` is not a picture size; \
             write width × height, each 64 to 7680 and a multiple of 16, as in `1280x720`",
        ),
        (
            source,
            "synthetic: {frameBytes: 1k}",
            "12:29: CameraStream/gate: spec.source.synthetic.frameBytes: `1k` is out of range; write \
             `2k` to `10M`",
        ),
        (
            source,
            "synthetic: {frameBytes: 2Mi}",
            "12:29: CameraStream/gate: spec.source.synthetic.frameBytes: `2Mi` is more than \
             `encoding.maxFrameBytes`, `750Ki`: every frame would be dropped; make it smaller, or \
             `maxFrameBytes` larger",
        ),
        (
            topic,
            &with("frameRate: {target: 5, minimum: 10, adaptive: true}"),
            "14:35: CameraStream/gate: spec.frameRate.minimum: 10 is more than `target`, 5; make it at \
             most `target`",
        ),
        (
            topic,
            &with("frameRate: {adaptive: true}"),
            "14:25: CameraStream/gate: spec.frameRate.adaptive: it needs `target`, the rate to come back \
             to; give `frameRate.target`",
        ),
        (
            topic,
            &with("frameRate: {target: 5, minimum: 1}"),
            "14:35: CameraStream/gate: spec.frameRate.minimum: only `adaptive` goes down to it, and that \
             is off; set `adaptive: true`, or take `minimum` out",
        ),
        (
            topic,
            &with("encoding: {maxFrameBytes: 1k}"),
            "14:29: CameraStream/gate: spec.encoding.maxFrameBytes: `1k` is smaller than any picture; \
             write at least `1Ki`",
        ),
        (
            topic,
            &with("encoding: {maxFrameBytes: 900M, format: json}\n  buffer: {memory: 1Gi}"),
            "14:29: CameraStream/gate: spec.encoding.maxFrameBytes: a record with such a frame has \
             1200004096 bytes, and Kafka's client sends 1000000000 at most; make it smaller",
        ),
        (
            topic,
            &with("buffer: {memory: 500k}"),
            "14:20: CameraStream/gate: spec.buffer.memory: `500k` cannot hold one frame of \
             `encoding.maxFrameBytes`, `750Ki`; make it at least that, better a few seconds of frames",
        ),
        (
            topic,
            &with("watchdog: {stall: 0s}"),
            "14:21: CameraStream/gate: spec.watchdog.stall: it is zero: every camera would count as \
             broken; give the time without a frame, as in `10s`",
        ),
        (
            topic,
            &with("producer: {deliveryTimeout: 10ms}"),
            "14:31: CameraStream/gate: spec.producer.deliveryTimeout: `10ms` is out of range; write `1s` \
             to `24h`",
        ),
        (
            topic,
            &with("producer: {deliveryTimeout: 5s, linger: 10s}"),
            "14:31: CameraStream/gate: spec.producer.deliveryTimeout: `5s` is not longer than `linger`, \
             `10s`; make it a good deal longer",
        ),
        (
            topic,
            &with("producer: {linger: 20m, deliveryTimeout: 1h}"),
            "14:22: CameraStream/gate: spec.producer.linger: `20m` is out of range; write `0s` to `15m`",
        ),
        (
            topic,
            &with("producer: {batchBytes: 4Gi}"),
            "14:26: CameraStream/gate: spec.producer.batchBytes: `4Gi` is out of range; write `1Ki` up \
             to 2 GiB",
        ),
        (
            topic,
            "  topic: {name: \"..\"}\n",
            "13:17: CameraStream/gate: spec.topic.name: `..` cannot be a topic's name; choose another \
             name",
        ),
        (
            topic,
            "  topic: {name: a, ensure: exists, replicationFactor: 3}\n",
            "13:55: CameraStream/gate: spec.topic.replicationFactor: with `ensure: exists` it is not \
             looked at; take it out, or use `ensure: verify`",
        ),
        (
            topic,
            "  topic: {name: a, ensure: exists, config: {retention.ms: \"1\"}}\n",
            "13:36: CameraStream/gate: spec.topic.config: with `ensure: exists` it is not looked at; \
             take it out, or use `ensure: verify`",
        ),
        (
            topic,
            "  topic: {name: a, config: {retention.sm: \"1\"}}\n",
            "13:43: CameraStream/gate: spec.topic.config[\"retention.sm\"]: topics have no such setting; \
             did you mean `retention.ms`?",
        ),
        (
            topic,
            "  topic: {name: a, config: {Retention: \"1\"}}\n",
            "13:40: CameraStream/gate: spec.topic.config.Retention: topics have no such setting; did you \
             mean `retention.ms`?",
        ),
        (
            topic,
            "  topic: {name: a, config: {retention.ms: 7d}}\n",
            "13:43: CameraStream/gate: spec.topic.config[\"retention.ms\"]: `7d` is not a whole number; \
             Kafka wants milliseconds, as in \"604800000\" for 7 days",
        ),
        (
            topic,
            "  topic: {name: a, config: {max.message.bytes: \"772095\"}}\n",
            "13:48: CameraStream/gate: spec.topic.config[\"max.message.bytes\"]: 772095 bytes do not \
             hold a record with a frame of `encoding.maxFrameBytes`, which has 772096; write at least \
             \"772096\", or make `maxFrameBytes` smaller",
        ),
        (topic, "  topic: {name: a, config: {max.message.bytes: \"1028096\"}}\n  encoding: {format: json}\n", ""),
        (
            topic,
            "  topic: {name: a, config: {max.message.bytes: \"1028095\"}}\n  encoding: {format: json}\n",
            "13:48: CameraStream/gate: spec.topic.config[\"max.message.bytes\"]: 1028095 bytes do not \
             hold a record with a frame of `encoding.maxFrameBytes`, which has 1028096; write at least \
             \"1028096\", or make `maxFrameBytes` smaller",
        ),
        (
            topic,
            "  topic: {name: a, replicationFactor: 1, config: {min.insync.replicas: \"2\"}}\n",
            "13:72: CameraStream/gate: spec.topic.config[\"min.insync.replicas\"]: 2 is more than \
             `replicationFactor`: nothing could be acknowledged; make it smaller",
        ),
        (
            topic,
            "  topic: {name: a, config: {cleanup.policy: \"delete,compact\"}}\n",
            "13:45: CameraStream/gate: spec.topic.config[\"cleanup.policy\"]: compaction keeps only the \
             last frame of each key; write \"delete\", or take it out",
        ),
    ]);
}
