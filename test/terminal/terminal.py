#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks for a passphrase under a shell with job control and watches the terminal's echo.

argv: the command. Prints one line of JSON: the echo flag and what was shown,
after each step.
"""
import json
import os
import pty
import select
import shlex
import sys
import termios
import time

pid, fd = pty.fork()
if pid == 0:
    os.environ["PS1"] = "$ "
    os.execvp("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])


def wait_for(text):
    seen = b""
    deadline = time.monotonic() + 20
    while text not in seen and time.monotonic() < deadline:
        if select.select([fd], [], [], 0.1)[0]:
            seen += os.read(fd, 65536)
    return seen


steps = []
wait_for(b"$ ")
for typed, until in [
    (shlex.join(sys.argv[1:]).encode() + b"\n", b"Passphrase: "),
    (b"half\x1a", b"$ "),
    (b"fg\n", b"Passphrase: "),
    (b"whole\n", b"$ "),
    (shlex.join(sys.argv[1:]).encode() + b"\n", b"Passphrase: "),
    (b"half\x03", b"$ "),
]:
    os.write(fd, typed)
    shown = wait_for(until)
    echo = bool(termios.tcgetattr(fd)[3] & termios.ECHO)
    steps.append({"echo": echo, "shown": shown.decode(errors="replace")})
os.write(fd, b"exit\n")
os.waitpid(pid, 0)
print(json.dumps(steps))
