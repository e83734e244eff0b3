"""What a V4L2 device is set to: `v4l2_ask.py DEVICE rate` (VIDIOC_G_PARM) or `v4l2_ask.py DEVICE brightness` (VIDIOC_G_CTRL)."""

import fcntl
import struct
import sys

G_PARM = 0xC0CC5615
G_CTRL = 0xC008561B
BRIGHTNESS = 0x00980900

device, what = sys.argv[1:]
with open(device, "rb+", buffering=0) as file:
    if what == "rate":
        answer = fcntl.ioctl(file, G_PARM, struct.pack("<I200x", 1))
        parts, of = struct.unpack_from("<II", answer, 12)
        print(of / parts)
    else:
        print(struct.unpack("<Ii", fcntl.ioctl(file, G_CTRL, struct.pack("<Ii", BRIGHTNESS, 0)))[1])
