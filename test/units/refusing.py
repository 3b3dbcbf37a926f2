"""refusing.py SYSCALL ERRNO PROGRAM ARGUMENTS...: runs PROGRAM with one system call that fails with ERRNO."""
import ctypes, errno, os, sys

name, error, command = sys.argv[1], getattr(errno, sys.argv[2]), sys.argv[3:]
libseccomp = ctypes.CDLL("libseccomp.so.2")
libseccomp.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(libseccomp.seccomp_init(0x7FFF0000))
number = libseccomp.seccomp_syscall_resolve_name(name.encode())
assert number >= 0, name
assert libseccomp.seccomp_rule_add_array(context, 0x00050000 | error, number, 0, None) == 0
assert libseccomp.seccomp_load(context) == 0
os.execv(command[0], command)
