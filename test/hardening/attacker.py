"""attacker.py WAY UID COMMAND...: another process of the same user tries to get at COMMAND from its first moment.

WAY: mem   opens /proc/PID/mem for writing, again and again, and sees whether one of them reads Node's program
     trace attaches as a debugger as soon as the child exists, and lets it go on under the tracer
     usr1  sends SIGUSR1, again and again, and sees whether the child listens on TCP
Root loses CAP_SYS_PTRACE and CAP_DAC_OVERRIDE first, so that it is to the child what a user is to his.
Prints one line: what was reached, and how the child ended.
"""
import ctypes, os, signal, sys, time

libc = ctypes.CDLL(None, use_errno=True)
way, uid, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
PTRACE_SEIZE, PTRACE_CONT = 0x4206, 7
NODE = 0x3201000  # read-only data of the pinned Node, linked to fixed addresses; nothing of this Python lies there


class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


def drop_capabilities():
    for capability in (1, 2, 19):
        libc.prctl(24, capability, 0, 0, 0)
    header = Header(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc.capget(ctypes.byref(header), sets)
    for i in range(3):
        sets[i] &= ~(1 << 1 | 1 << 2 | 1 << 19)
    assert libc.capset(ctypes.byref(header), sets) == 0
    # Changing capabilities made this process, and would make its child, not dumpable: exec makes it so again.


if uid != os.getuid():
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.execv(sys.executable, [sys.executable] + sys.argv)
if uid == 0 and "DROPPED" not in os.environ:
    drop_capabilities()
    os.environ["DROPPED"] = "1"
    os.execv(sys.executable, [sys.executable] + sys.argv)

# Inherited: the child begins with it blocked, so that the first one does not just end the launcher.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
child = os.fork()
if child == 0:
    if way == "trace":
        time.sleep(0.05)
    os.execv(command[0], command)


def listens(pid):
    inodes = set()
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    except OSError:
        pass
    with open("/proc/net/tcp") as table:
        return any(f"socket:[{line.split()[9]}]" in inodes for line in table.readlines()[1:] if line.split()[3] == "0A")


reached, opened, status = 0, [], None
if way == "trace":
    if libc.ptrace(PTRACE_SEIZE, child, None, 1 << 4) != 0:
        reached = -1
deadline = time.monotonic() + 20
sent = 0
while time.monotonic() < deadline:
    if way == "mem":
        try:
            opened.append(os.open(f"/proc/{child}/mem", os.O_RDWR))
            # Of the program before Node, if anything; a few are kept to see whether they become Node's.
            if len(opened) > 200:
                os.close(opened.pop(100))
            reached += os.pread(opened[-1], 4, NODE) != b""
        except OSError:
            pass
    if way == "usr1":
        os.kill(child, signal.SIGUSR1)
        sent += 1
        time.sleep(0.0002)
    pid, status = os.waitpid(child, os.WNOHANG | 0x40000000)
    if pid == child and os.WIFSTOPPED(status):
        libc.ptrace(PTRACE_CONT, child, None, 0)
    elif pid == child:
        break
    if way == "usr1" and sent % 200 == 0 and listens(child):
        reached += 1
for fd in opened:
    try:
        reached += os.pread(fd, 4, NODE) != b""
    except OSError:
        pass
print(f"reached {reached} exit {os.WEXITSTATUS(status) if os.WIFEXITED(status) else 'signal'}")
