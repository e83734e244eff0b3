"""Within the virtual machine: a port of its loopback leads to the same port of the loopback of the machine that runs it."""

import socket
import sys
import threading

HOST = "10.0.2.2"  # by which QEMU's network knows the machine that it runs on


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def main():
    port = int(sys.argv[1])
    with socket.create_server(("127.0.0.1", port)) as listener:
        print("listening", flush=True)
        while True:
            near, _ = listener.accept()
            try:
                far = socket.create_connection((HOST, port))
            except OSError:
                near.close()
                continue
            for ends in ((near, far), (far, near)):
                threading.Thread(target=pump, args=ends, daemon=True).start()


main()
