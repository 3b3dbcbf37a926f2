"""confined.py UNIT PROGRAM ARGUMENTS...: runs PROGRAM as systemd would, as far as that needs no systemd as init.

SystemCallFilter (its sets by `systemd-analyze syscall-filter`), RestrictAddressFamilies, CapabilityBoundingSet,
NoNewPrivileges and LimitMEMLOCK of the unit, by libseccomp and prctl.
"""
import ctypes, os, resource, socket, subprocess, sys

unit, command = sys.argv[1], sys.argv[2:]
settings = {}
for line in open(unit):
    key, equals, value = line.strip().partition("=")
    if equals and not line.startswith("#"):
        settings.setdefault(key, []).append(value)

sets, current = {}, None
listing = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter"], capture_output=True, text=True, check=True)
for line in listing.stdout.splitlines():
    if line.startswith("@"):
        current = sets.setdefault(line.strip(), [])
    elif line.startswith("    ") and not line.strip().startswith("#"):
        current.append(line.strip())


def expand(word):
    if not word.startswith("@"):
        return {word}
    return set().union(*(expand(each) for each in sets[word]))


allowed = set()
for value in settings["SystemCallFilter"]:
    listed = set().union(*(expand(word) for word in value.lstrip("~").split()))
    allowed = allowed - listed if value.startswith("~") else allowed | listed
# Every allow list of systemd's has these (seccomp-util.c, @default).
allowed |= expand("@default")


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


libseccomp = ctypes.CDLL("libseccomp.so.2")
libseccomp.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(libseccomp.seccomp_init(0x00050000 | 1))
ALLOW, EQUAL = 0x7FFF0000, 4
families = [getattr(socket, name) for name in settings["RestrictAddressFamilies"][0].split()]
for name in sorted(allowed):
    number = libseccomp.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        continue
    if name == "socket":
        for family in families:
            rule = (Compare * 1)(Compare(0, EQUAL, int(family), 0))
            assert libseccomp.seccomp_rule_add_array(context, ALLOW, number, 1, rule) == 0
    else:
        assert libseccomp.seccomp_rule_add_array(context, ALLOW, number, 0, None) == 0, name

libc = ctypes.CDLL(None, use_errno=True)
kept = {"CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_IPC_LOCK": 14, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}
# As systemd merges a drop-in's.
bounding = {kept[name] for value in settings["CapabilityBoundingSet"] for name in value.split()}
if os.getuid() == 0:
    for capability in range(int(open("/proc/sys/kernel/cap_last_cap").read()) + 1):
        if capability not in bounding:
            assert libc.prctl(24, capability, 0, 0, 0) == 0
    # As far as it goes where root may not raise limits.
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libseccomp.seccomp_load(context) == 0
os.execv(command[0], command)
