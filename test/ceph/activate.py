"""As a systemd socket unit does: listens on a Unix socket, and starts the command with it when somebody connects, again
each time it has ended. Usage: activate.py SOCKET COMMAND...; SIGTERM ends both.

The socket's directory is read-only to the command, as by ReadOnlyPaths: QEMU removes a socket that it was given."""
import os
import select
import signal
import socket
import sys

path, command = sys.argv[1], sys.argv[2:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(16)
child = 0
CONFINED = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def end(*_):
    if child:
        os.kill(child, signal.SIGKILL)
    sys.exit(0)


signal.signal(signal.SIGTERM, end)
while True:
    select.select([listener], [], [])
    child = os.fork()
    if child == 0:
        os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
        os.execvp("unshare", ["unshare", "--mount", "sh", "-c", CONFINED, os.path.dirname(path), *command])
    os.waitpid(child, 0)
    child = 0
