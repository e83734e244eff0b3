# A camera that we did not write, for the end-to-end tests: FFmpeg serves MJPEG (`mpjpeg`) on port 8080. It takes one client
# at a time and ends when that one leaves, hence the loop.
ARG WORKER_BASE=docker.io/library/debian:bookworm-slim
FROM ${WORKER_BASE}
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends ffmpeg \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
USER 65532:65532
ENTRYPOINT ["/bin/sh", "-c", "trap 'kill $!; exit 0' TERM; while :; do ffmpeg -v error -re -f lavfi -i testsrc2=size=640x480:rate=15 -q:v 5 -f mpjpeg -boundary_tag frame -content_type 'multipart/x-mixed-replace;boundary=frame' -listen 1 http://0.0.0.0:8080/cam.mjpg & wait $!; done"]
