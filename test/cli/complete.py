#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Types into an interactive shell on a pseudo-terminal.

argv: the text that is typed (\\t is the key Tab), then the shell's command.
Prints what the terminal showed until the mark "DONE" or a time-out.
"""
import os
import pty
import select
import signal
import sys
import time

keys = sys.argv[1].encode().decode("unicode_escape")
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "dumb" if "bash" in sys.argv[2] else "xterm"
    os.execvp(sys.argv[2], sys.argv[2:])

seen = b""


def read_for(seconds, until=None):
    global seen
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (until is None or until not in seen):
        if select.select([fd], [], [], 0.05)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                return
            seen += data
            # fish asks what terminal this is, and waits for an answer.
            if b"\x1b[c" in data or b"\x1b[0c" in data:
                os.write(fd, b"\x1b[?62;c")


read_for(40, b"READY")
for part in keys.split("\t"):
    if part != keys.split("\t")[0]:
        os.write(fd, b"\t")
        read_for(2.5)
    os.write(fd, part.encode())
    read_for(0.3)
os.write(fd, b"\r")
read_for(20, b"DONE")
os.kill(pid, signal.SIGKILL)
os.write(1, seen)
