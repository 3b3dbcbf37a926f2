"""process_vm_readv(2) of PID at hexadecimal ADDRESS, 16 bytes: prints the hex, or the errno's name."""
import ctypes, errno, os, sys

class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]

libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(16)
local = iovec(ctypes.addressof(buffer), 16)
remote = iovec(int(sys.argv[2], 16), 16)
got = libc.process_vm_readv(int(sys.argv[1]), ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
print(buffer.raw[:got].hex() if got > 0 else errno.errorcode[ctypes.get_errno()])
