"""What the virtual machine does when its disks are there (see init.sh): it runs each NAME.sh that comes into the shared directory, in
a process group of its own. NAME.out and NAME.err have what it says, NAME.pid its number, NAME.rc how it ended.

    guest SHARED_DIRECTORY DIRECTORY_OF_PREPARE
"""

import os
import subprocess
import sys
import threading
import time

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ADDRESS, HOST = "10.0.2.15", "10.0.2.2"  # as QEMU's network has them


def written(name, text):
    """A file that is there as a whole or not at all."""
    with open(f"{name}.new", "w") as file:
        file.write(f"{text}\n")
    os.rename(f"{name}.new", name)


def run(name):
    with open(f"{name}.out", "wb") as out, open(f"{name}.err", "wb") as err:
        child = subprocess.Popen(["sh", f"{name}.run"], stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
    written(f"{name}.pid", child.pid)
    code = child.wait()
    # As shells have it.
    written(f"{name}.rc", code if code >= 0 else 128 - code)


def main():
    share, prepared = sys.argv[1:]
    os.environ.update(PATH=PATH, HOME="/run", TMPDIR="/run", MODULES=prepared)
    os.chdir(share)
    for words in ("link set lo up", f"address add {ADDRESS}/24 dev eth0", "link set eth0 up", f"route add default via {HOST}"):
        subprocess.run(["ip", *words.split()], check=True)
    written("ready", "")
    while True:
        for script in sorted(os.listdir(".")):
            name, ending = os.path.splitext(script)
            if ending == ".sh":
                os.rename(script, f"{name}.run")
                threading.Thread(target=run, args=(name,)).start()
        time.sleep(0.1)


main()
