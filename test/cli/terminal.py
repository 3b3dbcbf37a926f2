#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command on a pseudo-terminal and types answers.

argv: a JSON list of [text to wait for, text to type], then the command.
The terminal has $TERMINAL_COLUMNS columns, when that is set; the command has $TERMINAL_SECONDS, or 60. @LATER@ before a
text to type waits first. @KEY@ in a text to type is the recovery key that was shown, @WRONG5@ the
same with another fifth group. Prints what the terminal showed; exits with the command's code, 124 on timeout.
"""
import json
import os
import pty
import re
import select
import signal
import sys
import fcntl
import struct
import termios
import time

script = json.loads(sys.argv[1])
columns = int(os.environ.get("TERMINAL_COLUMNS", "0"))
pid, fd = pty.fork()
if pid == 0:
    if columns:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    # As every terminal of today: a backspace takes back a whole letter, not one byte of it.
    mode = termios.tcgetattr(0)
    mode[0] |= 0o40000  # IUTF8
    termios.tcsetattr(0, termios.TCSANOW, mode)
    os.execvp(sys.argv[2], sys.argv[2:])

seen = b""
unread = b""
deadline = time.monotonic() + int(os.environ.get("TERMINAL_SECONDS", "60"))
while True:
    ready, _, _ = select.select([fd], [], [], 0.2)
    if ready:
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b""
        if not data:
            break
        seen += data
        unread += data
    while script and script[0][0].encode() in unread:
        wanted, typed = script.pop(0)
        unread = unread.split(wanted.encode(), 1)[1]
        # The prompt is printed before echo is off.
        time.sleep(0.1)
        if typed.startswith("@LATER@"):
            typed = typed[7:]
            time.sleep(2.5)
        if typed == "^C":
            os.write(fd, b"\x03")
        else:
            keys = re.findall(rb"(?:[b-v]{8}-){7}[b-v]{8}", seen)
            if keys:
                key = keys[0].decode()
                groups = key.split("-")
                groups[4] = ("b" if groups[4][0] == "c" else "c") + groups[4][1:]
                typed = typed.replace("@KEY@", key).replace("@WRONG5@", "-".join(groups))
            os.write(fd, typed.encode())
    if time.monotonic() > deadline:
        os.kill(pid, signal.SIGKILL)
        os.write(1, seen)
        sys.exit(124)

_, status = os.waitpid(pid, 0)
os.write(1, seen)
sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
