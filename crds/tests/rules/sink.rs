//! The rules of a `FrameSink`.

use crate::table;

#[test]
fn a_sink_keeps_to_its_rules() {
    let from = "from: {streamRef: {name: gate}}\n  output:\n    jpegFiles: {directory: frames}\n";
    let output = "jpegFiles: {directory: frames}\n";
    let with = |more: &str| format!("{output}  {more}\n");
    table(&[
        (
            from,
            "from: {topics: [a]}\n  output: {jpegFiles: {}}\n",
            "19:1: FrameSink/files: spec.kafka: it is missing, and `from.topics` does not say where the \
             topics are; add `kafka: {connectionRef: {name: …}}`",
        ),
        (
            from,
            "from: {topics: [a, \"..\"]}\n  kafka: {connectionRef: {name: lab}}\n  output: {jpegFiles: {fileName: \"{topic}-{partition}-{offset}.jpg\"}}\n",
            "20:22: FrameSink/files: spec.from.topics[1]: `..` cannot be a topic's name; choose another \
             name",
        ),
        (
            from,
            "from: {topics: [a, a]}\n  kafka: {connectionRef: {name: lab}}\n  output: {jpegFiles: {fileName: \"{topic}-{partition}-{offset}.jpg\"}}\n",
            "20:22: FrameSink/files: spec.from.topics[1]: `a` is there twice; keep one of them",
        ),
        (
            from,
            "from: {topics: [a, b]}\n  kafka: {connectionRef: {name: lab}}\n  output: {jpegFiles: {}}\n",
            "22:12: FrameSink/files: spec.output.jpegFiles.fileName: without `{topic}` two frames could \
             get the same name; add it",
        ),
        (
            output,
            &with("startFrom: \"2024-13-04T10:30:00Z\""),
            "23:14: FrameSink/files: spec.startFrom: there is no time `2024-13-04T10:30:00Z`; write it \
             as `2024-06-04T10:30:00Z`",
        ),
        (output, &with("startFrom: 2024-06-04T10:30:00Z"), ""),
        (
            output,
            &with("durability: {flushInterval: 1ms}"),
            "23:31: FrameSink/files: spec.durability.flushInterval: `1ms` is out of range; write `10ms` \
             to `10m`",
        ),
        (
            output,
            &with("durability: {flushFrames: 0}"),
            "23:29: FrameSink/files: spec.durability.flushFrames: 0 is out of range; write a whole \
             number from 1 to 100000",
        ),
        (
            output,
            &with("replicas: -1"),
            "23:13: FrameSink/files: spec.replicas: -1 is out of range; write a whole number from 0 to \
             1000",
        ),
        (output, &with("replicas: 3"), ""),
        (output, "jpegFiles: {timeZone: Europe/Rome}\n", ""),
        (
            output,
            "jpegFiles: {timeZone: Europe/Roma}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.timeZone: there is no time zone `Europe/Roma`; did \
             you mean `Europe/Rome`?",
        ),
        (
            output,
            "video: {timeZone: CET+1}\n",
            "22:23: FrameSink/files: spec.output.video.timeZone: there is no time zone `CET+1`; write a name \
             of the IANA database, as `Europe/Rome`",
        ),
        (
            output,
            &with("onInvalid: deadLetter"),
            "19:1: FrameSink/files: spec.deadLetter: it is missing, and `onInvalid: deadLetter` needs \
             it; add `deadLetter: {topic: …}`",
        ),
        (
            output,
            &with("onInvalid: skip\n  deadLetter: {topic: dead}"),
            "24:3: FrameSink/files: spec.deadLetter: with `onInvalid: skip` nothing is sent there; set \
             `onInvalid: deadLetter`, or take `deadLetter` out",
        ),
        (
            output,
            &with("onInvalid: fail\n  deadLetter: {topic: dead}"),
            "24:3: FrameSink/files: spec.deadLetter: with `onInvalid: fail` nothing is sent there; set \
             `onInvalid: deadLetter`, or take `deadLetter` out",
        ),
        (output, &with("deadLetter: {topic: dead}"), ""),
        (
            output,
            &with("deadLetter: {topic: .}"),
            "23:23: FrameSink/files: spec.deadLetter.topic: `.` cannot be a topic's name; choose another \
             name",
        ),
        (
            output,
            &with("deadLetter: {topic: Gate}"),
            "23:23: FrameSink/files: spec.deadLetter.topic: the sink reads `Gate` itself: a bad record \
             would come round for ever; use a topic of its own",
        ),
        (
            output,
            "jpegFiles: {directory: /frames}\n",
            "22:28: FrameSink/files: spec.output.jpegFiles.directory: `/frames` is absolute, and \
             directories are below the storage's root; leave the `/` at the beginning out; the root is \
             `storage.hostPath.path`",
        ),
        (
            output,
            "jpegFiles: {directory: a/../b}\n",
            "22:28: FrameSink/files: spec.output.jpegFiles.directory: `a/../b` leads out of its \
             directory with `..`; write the path without `..`",
        ),
        (
            output,
            "jpegFiles: {directory: \"a\\0b\"}\n",
            "22:28: FrameSink/files: spec.output.jpegFiles.directory: `a�b` holds a control character; \
             take it out",
        ),
        (
            output,
            "jpegFiles: {directory: a/.edgereel}\n",
            "22:28: FrameSink/files: spec.output.jpegFiles.directory: `a/.edgereel` is in `.edgereel`, where sinks keep what they \
             have to remember; use another name",
        ),
        (
            output,
            "jpegFiles: {fileName: \".edgereel/{partition}-{offset}.jpg\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: `.edgereel/{partition}-{offset}.jpg` is in `.edgereel`, where \
             sinks keep what they have to remember; use another name",
        ),
        (
            output,
            "dataset: {annotations: .edgereel/x.csv}\n",
            "22:28: FrameSink/files: spec.output.dataset.annotations: `.edgereel/x.csv` is in `.edgereel`, where sinks keep what \
             they have to remember; use another name",
        ),
        (
            output,
            "jpegFiles: {fileName: \"\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: it is empty; give a text",
        ),
        (
            output,
            "jpegFiles: {fileName: \"/tmp/{partition}-{offset}.jpg\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: `/tmp/{partition}-{offset}.jpg` is \
             absolute, and files are below the output's directory; leave the `/` at the beginning out",
        ),
        (
            output,
            "jpegFiles: {fileName: \"../{partition}-{offset}.jpg\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: `../{partition}-{offset}.jpg` leads \
             out of its directory with `..`; write the path without `..`",
        ),
        (
            output,
            "jpegFiles: {fileName: \"{partition}//{offset}.jpg\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: `{partition}//{offset}.jpg` has an \
             empty part; write one `/` between names",
        ),
        (
            output,
            "jpegFiles: {fileName: \"{partition}-{offset}.png\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: `{partition}-{offset}.png` does not \
             end in `.jpg`, `.jpeg`; add the ending",
        ),
        (
            output,
            "jpegFiles: {fileName: \"{partition}-{offset}/.jpg\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: nothing stands before `.jpg`; give \
             a name",
        ),
        (
            output,
            "jpegFiles: {fileName: \"{partition}-{ofset}.jpg\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: there is no field `{ofset}`; the \
             fields are `{camera}`, `{topic}`, `{partition}`, `{offset}`, `{timestamp}`, `{sequence}`, \
             `{segment}`, `{annotation}`, `{file}`",
        ),
        (
            output,
            "jpegFiles: {fileName: \"{partition}-{offset:6}.jpg\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: `{offset:6}` is not a way to write \
             a number; give a zero and a width up to 20, as in `{offset:06}`",
        ),
        (
            output,
            "jpegFiles: {fileName: \"{timestamp}.jpg\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: without `{partition}` and \
             `{offset}` two frames could get the same name; add it",
        ),
        (
            output,
            "jpegFiles: {fileName: \"{partition}-{offset}-{segment}.jpg\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: a picture has no `{segment}`; take it \
             out",
        ),
        (output, "jpegFiles: {fileName: \"day/{timestamp:%Y-%m-%d}/{partition}/{offset}.JPEG\"}\n", ""),
        (
            output,
            "jpegFiles: {fileName: \"{partition}{offset}.jpg\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: where `{partition}` and `{offset}` ends \
             cannot be told in a name, so that two frames could get the same one; put a character that cannot \
             stand in the values between the fields, such as `-` between numbers or `/` after names",
        ),
        (output, "jpegFiles: {fileName: \"{topic}{partition}-{offset}_{timestamp}.jpg\"}\n", ""),
        (
            from,
            "from: {topics: [a, b]}\n  kafka: {connectionRef: {name: lab}}\n  output: {jpegFiles: {fileName: \"{topic}{partition}-{offset}.jpg\"}}\n",
            "22:34: FrameSink/files: spec.output.jpegFiles.fileName: where `{partition}` and `{topic}` ends \
             cannot be told in a name, so that two frames could get the same one; put a character that cannot \
             stand in the values between the fields, such as `-` between numbers or `/` after names",
        ),
        (
            from,
            "from: {topics: [_a, .a]}\n  kafka: {connectionRef: {name: lab}}\n  output: {jpegFiles: {fileName: \"{topic}/{partition}-{offset}.jpg\"}}\n",
            "20:23: FrameSink/files: spec.from.topics[1]: in file names `.a` and `_a` are the same; use one sink for each",
        ),
        (
            output,
            "jpegFiles: {fileName: \"{timestamp:%A %A %A %A %A %A %A %A %A %A %A %A %A %A}{timestamp:%A %A %A %A %A %A %A %A %A %A %A %A %A %A}-{partition}-{offset}.jpg\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: a name can have 313 bytes, more than the 255 that \
             there may be; make it shorter, or leave fields out",
        ),
        (
            output,
            "jpegFiles: {fileName: \"{partition}-{offset}-{file}.jpg\"}\n",
            "22:27: FrameSink/files: spec.output.jpegFiles.fileName: only the pictures of a data set have `{file}`; take it \
             out, or use `output.dataset`",
        ),
        (
            "path: /data",
            "path: data",
            "23:30: FrameSink/files: spec.storage.hostPath.path: `data` is not an absolute path; begin \
             it with `/`",
        ),
        (
            "path: /data",
            "path: /data/../etc",
            "23:30: FrameSink/files: spec.storage.hostPath.path: `/data/../etc` leads out of its \
             directory with `..`; write the path without `..`",
        ),
        (
            output,
            "jpegFiles: {}\n    video: {}\n",
            "23:5: FrameSink/files: spec.output: `jpegFiles`, `video` are given, the first in line 22; \
             only one can be; keep one of them",
        ),
        (
            "video: {directory: archive}\n",
            "video: {directory: archive}\n  replicas: 2\n",
            "33:13: FrameSink/video: spec.replicas: 2 workers cannot write one video; set `replicas: 1`, \
             or use one sink for each camera",
        ),
        (
            "video: {directory: archive}",
            "video: {directory: archive, segment: {}}",
            "32:33: FrameSink/video: spec.output.video.segment: it has no limit; give `maxDuration` or \
             `maxBytes`; for one file that grows on, take `segment` out",
        ),
        (
            "video: {directory: archive}",
            "video: {directory: archive, segment: {maxDuration: 1ms}}",
            "32:56: FrameSink/video: spec.output.video.segment.maxDuration: `1ms` is too short; write at \
             least `1s`",
        ),
        (
            "video: {directory: archive}",
            "video: {directory: archive, segment: {maxBytes: 1k}}",
            "32:53: FrameSink/video: spec.output.video.segment.maxBytes: `1k` is too small; write at \
             least `1Mi`",
        ),
        (
            "video: {directory: archive}",
            "video: {fileName: a.avi, segment: {maxDuration: 1m}}",
            "32:23: FrameSink/video: spec.output.video.fileName: every segment would get the same name; \
             add `{timestamp}` or `{segment}`",
        ),
        ("video: {directory: archive}", "video: {fileName: \"{segment:03}.avi\", segment: {maxDuration: 1m}}", ""),
        (
            "video: {directory: archive}",
            "video: {fileName: a.mp4}",
            "32:23: FrameSink/video: spec.output.video.fileName: `a.mp4` does not end in `.avi`; add the \
             ending",
        ),
        (
            "video: {directory: archive}",
            "video: {mergeWindow: 6s}",
            "32:26: FrameSink/video: spec.output.video.mergeWindow: `6s` is out of range; write `0s` to `5s`",
        ),
        ("video: {directory: archive}", "video: {mergeWindow: 0s}", ""),
        (
            "video: {directory: archive}",
            "video: {frameRate: 0}",
            "32:24: FrameSink/video: spec.output.video.frameRate: `0` is not a video's rate; write \
             `source` or a whole number of frames a second from 1 to 240",
        ),
    ]);
}

#[test]
fn a_data_set_keeps_to_its_rules() {
    let output = "jpegFiles: {directory: frames}\n";
    table(&[
        (output, "dataset: {}\n", ""),
        (
            output,
            "dataset: {directory: set, rotate: {every: day, maxBytes: 1Mi}, timeZone: Europe/Rome, formulas: keep}\n",
            "",
        ),
        (output, "dataset: {fileName: \"{annotation}/{partition}-{offset}\", annotations: \"{segment:04}.csv\"}\n", ""),
        (
            output,
            "dataset: {fileName: \"{partition}-{offset}.png\"}\n",
            "22:25: FrameSink/files: spec.output.dataset.fileName: `.png` would stand twice: each picture gets its own ending; \
             take it out",
        ),
        (
            output,
            "dataset: {fileName: \"{file}\"}\n",
            "22:25: FrameSink/files: spec.output.dataset.fileName: without `{partition}` and `{offset}` two frames could get the \
             same name; add it",
        ),
        (
            output,
            "dataset: {annotations: labels.txt}\n",
            "22:28: FrameSink/files: spec.output.dataset.annotations: `labels.txt` does not end in `.csv`; add the ending",
        ),
        (
            output,
            "dataset: {annotations: a.csv, rotate: {every: day}}\n",
            "22:28: FrameSink/files: spec.output.dataset.annotations: every file would get the same name; add `{timestamp}` or \
             `{segment}`",
        ),
        (
            output,
            "dataset: {rotate: {}}\n",
            "22:15: FrameSink/files: spec.output.dataset.rotate: it has no limit; give `every` or `maxBytes`; for one file that \
             grows on, take `rotate` out",
        ),
        (
            output,
            "dataset: {rotate: {maxBytes: 1k}}\n",
            "22:34: FrameSink/files: spec.output.dataset.rotate.maxBytes: `1k` is too small; write at least `1Ki`",
        ),
        (
            output,
            "dataset: {mergeWindow: 6s}\n",
            "22:28: FrameSink/files: spec.output.dataset.mergeWindow: `6s` is out of range; write `0s` to `5s`",
        ),
        (
            output,
            "dataset: {}\n  replicas: 2\n",
            "23:13: FrameSink/files: spec.replicas: 2 workers cannot write one data set; set `replicas: 1`, or use one sink for \
             each camera",
        ),
        (
            "video: {directory: archive}",
            "dataset: {directory: frames, fileName: \"frame_{partition}-{offset:06}_{timestamp}\"}",
            "32:5: FrameSink/video: spec.output.dataset: FrameSink/files could write files of the same names into the same \
             directory; give each sink its own `directory`, or another `fileName`",
        ),
    ]);
}

#[test]
fn an_archive_keeps_to_its_rules() {
    let output = "jpegFiles: {directory: frames}\n";
    let with = |s3: &str| format!("video: {{segment: {{maxDuration: 10m}}}}\n  archive: {{s3: {s3}}}\n");
    table(&[
        (output, &with("{bucket: recordings}"), ""),
        (
            output,
            &with(
                "{bucket: recordings, prefix: site-a/gate, region: eu-central-1, maxBytesPerSecond: 4Mi, accessKeyIdSecretRef: {name: a, key: id}, secretAccessKeySecretRef: {name: a, key: secret}}",
            ),
            "",
        ),
        (output, &with("{bucket: recordings, endpoint: \"http://10.0.0.1:9000\", allowHttp: true}"), ""),
        (output, "dataset: {rotate: {every: day}}\n  archive: {s3: {bucket: recordings}}\n", ""),
        (
            output,
            "jpegFiles: {}\n  archive: {s3: {bucket: recordings}}\n",
            "23:3: FrameSink/files: spec.archive: each frame would be an object: only what is closed as a whole is uploaded; use \
             `output.video` with `segment`, or `output.dataset` with `rotate`",
        ),
        (
            output,
            "video: {}\n  archive: {s3: {bucket: recordings}}\n",
            "23:3: FrameSink/files: spec.archive: without `segment` a video is one file that grows on and is never closed; give \
             `output.video.segment`",
        ),
        (
            output,
            "dataset: {}\n  archive: {s3: {bucket: recordings}}\n",
            "23:3: FrameSink/files: spec.archive: without `rotate` a data set is one CSV that grows on and is never closed; give \
             `output.dataset.rotate`",
        ),
        (
            output,
            &with("{bucket: recordings, accessKeyIdSecretRef: {name: a, key: id}}"),
            "23:13: FrameSink/files: spec.archive.s3.secretAccessKeySecretRef: it is missing, and an access key is two values; name \
             the Secret and its key: `{name: …, key: …}`; or take both out, for the identity of the machine or the pod",
        ),
        (
            output,
            &with("{bucket: recordings, endpoint: \"http://10.0.0.1:9000\"}"),
            "23:48: FrameSink/files: spec.archive.s3.endpoint: without TLS, whoever listens on the way sees the recordings; write \
             `https://…`, or set `allowHttp: true` where the network is trusted",
        ),
        (
            output,
            &with("{bucket: recordings, endpoint: \"minio:9000\"}"),
            "23:48: FrameSink/files: spec.archive.s3.endpoint: `minio:9000` is not a server's address; write it as \
             `https://minio.lan:9000`, without a path or a login",
        ),
        (
            output,
            &with("{bucket: Recordings}"),
            "23:26: FrameSink/files: spec.archive.s3.bucket: `Recordings` is not a bucket's name; use small letters, digits, `-` \
             and `.`, a letter or digit at both ends",
        ),
        (
            output,
            &with("{bucket: recordings, prefix: ../other}"),
            "23:46: FrameSink/files: spec.archive.s3.prefix: `../other` is not the beginning of objects' names; write it as \
             `site-a/gate`, without `/` at an end, `.` and `..`",
        ),
        (
            output,
            &with("{bucket: recordings, maxBytesPerSecond: 1k}"),
            "23:57: FrameSink/files: spec.archive.s3.maxBytesPerSecond: `1k` is too slow; write at least `64Ki`",
        ),
        (
            output,
            &with("{bucket: recordings, caSecretRef: {name: a, key: b}, caConfigMapRef: {name: a, key: b}}"),
            "23:70: FrameSink/files: spec.archive.s3.caConfigMapRef: there is `caSecretRef` beside it; keep one of them",
        ),
    ]);
}

#[test]
fn a_retention_keeps_to_its_rules() {
    let output = "jpegFiles: {directory: frames}\n";
    let with = |retention: &str| format!("{output}  retention: {retention}\n");
    table(&[
        (output, &with("{}"), ""),
        (output, &with("{maxAge: 168h, maxBytes: 400Gi, minFree: 10%, whenFull: wait}"), ""),
        (
            output,
            &with("{maxAge: 1s}"),
            "23:23: FrameSink/files: spec.retention.maxAge: `1s` is too short; write at least `1m`",
        ),
        (
            output,
            &with("{minFree: much}"),
            "23:24: FrameSink/files: spec.retention.minFree: `much` is not a part of a disk; write `10%`, or bytes as `50Gi`",
        ),
        (
            output,
            &with("{maxBytes: 1k}"),
            "23:25: FrameSink/files: spec.retention.maxBytes: `1k` is too small; write at least `1Mi`",
        ),
        (
            output,
            "video: {}\n  retention: {}\n",
            "23:3: FrameSink/files: spec.retention: without `segment` a video is one file that grows on, of which nothing can \
             go; give `output.video.segment`, or take `retention` out",
        ),
        (
            output,
            "dataset: {}\n  retention: {}\n",
            "23:3: FrameSink/files: spec.retention: a data set is kept whole: rows would lead to pictures that are gone; take it \
             out, or keep only `minFree` with `whenFull: wait`; to begin a data set anew, use another `directory`",
        ),
        (
            output,
            "dataset: {}\n  retention: {maxAge: 1h, whenFull: wait}\n",
            "23:3: FrameSink/files: spec.retention: a data set is kept whole: rows would lead to pictures that are gone; take it \
             out, or keep only `minFree` with `whenFull: wait`; to begin a data set anew, use another `directory`",
        ),
        (output, "dataset: {}\n  retention: {minFree: 10%, whenFull: wait}\n", ""),
        (output, &with("{minFree: 0}"), ""),
        (output, &with("{minFree: 1Mi}"), ""),
        (
            output,
            &with("{minFree: 10}"),
            "23:24: FrameSink/files: spec.retention.minFree: `10` is that many bytes, and too small; write `10%` for a part of the \
             disk, or at least `1Mi`",
        ),
        (
            output,
            &with("{minFree: 10k}"),
            "23:24: FrameSink/files: spec.retention.minFree: `10k` is that many bytes, and too small; write a part of the disk as \
             `10%`, or at least `1Mi`",
        ),
    ]);
}
