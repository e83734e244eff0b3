"""mjpeg_source.py CORPUS PORT FPS: an MJPEG camera that serves the corpus' frames at FPS to every client."""
import socket
import sys
import threading
import time

from common import corpus

frames = corpus(sys.argv[1])
fps = float(sys.argv[3])
parts = [b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(f) + f + b"\r\n" for f in frames]
HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\nConnection: close\r\n\r\n"


def serve(c):
    try:
        c.recv(65536)
        c.sendall(HEAD)
        due = time.monotonic()
        i = 0
        while True:
            c.sendall(parts[i % len(parts)])
            i += 1
            due += 1 / fps
            time.sleep(max(0.0, due - time.monotonic()))
    except OSError:
        pass
    finally:
        c.close()


s = socket.create_server(("127.0.0.1", int(sys.argv[2])))
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
