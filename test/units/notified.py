#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Receives datagrams on a Unix socket and runs a program meanwhile; prints what came as JSON.

argv: the socket's path, then the program. The program's exit code is the last line.
"""
import json
import os
import socket
import subprocess
import sys

receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind(sys.argv[1])
receiver.settimeout(0.2)
child = subprocess.Popen(sys.argv[2:])
while True:
    ended = child.poll()
    try:
        print(json.dumps(receiver.recv(1 << 20).decode()), flush=True)
    except socket.timeout:
        if ended is not None:
            break
os.unlink(sys.argv[1])
print(json.dumps(child.returncode), flush=True)
