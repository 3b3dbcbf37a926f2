#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuses an enclave image that could not run, or should not.

check-image.py --conf enclave.conf --symbols FILE IMAGE [OBJECT...]

IMAGE is what gets measured; FILE is the same link with symbols. Objects are
searched for relocations that would need the load address: linked at 0 they
leave no trace in the image. Prints one line per fault; exit status 1 if any.
"""
import re
import struct
import subprocess
import sys

PAGE = 4096
PT_LOAD, PT_GNU_STACK = 1, 0x6474E551
X, W, R = 1, 2, 4
TCS, UNMEASURED, RESERVED = 0x00100000, 0x00200000, 0x00400000
# Relative to RIP, or an offset inside the image that entry.S asks for.
RELATIVE = {"R_X86_64_PC32", "R_X86_64_PLT32", "R_X86_64_PC64", "R_X86_64_NONE"}
# #UD in an enclave, or a way for the host to answer.
FORBIDDEN = re.compile(
    r"^(syscall|sysenter|sysret|cpuid|rdtscp?|rdpmc|int|into|iret[qdw]?|in|out|ins[bwl]?|outs[bwl]?|hlt|"
    r"vmcall|vmfunc|s[gil]dt|str|sldt|l[gil]dt|ltr|smsw|lmsw|rdfsbase|rdgsbase|wrfsbase|wrgsbase|"
    r"xgetbv|xsetbv|clflush|monitor|mwait|lcall|ljmp|lretq?|encls|xbegin)$"
)
SEGMENT = re.compile(r"%[fg]s:|,%(ds|es|ss|fs|gs)$|^(lds|les|lss|lfs|lgs)")
# VEX and EVEX belong to functions that are called behind cpu_features only.
WIDE = re.compile(r"_(bmi2|avx2|avx512|vaes256|vaes512)(\.|$)")
# Functions that use an address of the host's themselves, and how they do.
CHECKS = re.compile(r"^(tresor_boundary_(read|write)|tresor_op_(sectors|blocks)|planted_fence.*)$")
HOST_ACCESS = re.compile(r"\brep movs|<(xts_(sectors|unit)|modes_\w+)>")

faults = []


def fault(text):
    faults.append(text)


def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def read_conf(path):
    lines = (line.split("#")[0].strip() for line in open(path))
    return {k.strip(): int(v, 0) for k, v in (line.split("=") for line in lines if line)}


def check_segments(data, size):
    if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<HH", data, 16) != (2, 62):
        fault("not a static x86-64 ELF executable")
        return
    (phoff,) = struct.unpack_from("<Q", data, 32)
    phentsize, phnum = struct.unpack_from("<HH", data, 54)
    end, threads = 0, 0
    for i in range(phnum):
        kind, flags, offset, vaddr, _, filesz, memsz, _ = struct.unpack_from("<IIQQQQQQ", data, phoff + i * phentsize)
        where = f"segment {i} at {vaddr:#x}"
        if kind == PT_GNU_STACK:
            continue
        if kind != PT_LOAD:
            fault(f"{where}: type {kind:#x} is not PT_LOAD")
            continue
        if flags & W and flags & X:
            fault(f"{where}: writable and executable")
        if flags & ~(R | W | X | TCS | UNMEASURED | RESERVED) or not flags & R:
            fault(f"{where}: flags {flags:#x} mean nothing to the loader")
        if vaddr % PAGE or memsz % PAGE or (filesz and offset % PAGE):
            fault(f"{where}: not aligned to pages")
        if vaddr < end:
            fault(f"{where}: overlaps the one before, or is out of order")
        end = vaddr + memsz
        if end > size:
            fault(f"{where}: ends at {end:#x}, beyond ELRANGE")
        if flags & (UNMEASURED | RESERVED) and (filesz or flags & X):
            fault(f"{where}: contents or code that nothing measures")
        if flags & TCS:
            threads += 1
            check_tcs(where, data[offset : offset + PAGE], memsz)
    if size & (size - 1) or not threads:
        fault(f"ELRANGE {size:#x}, {threads} threads: no enclave")


def check_tcs(where, tcs, memsz):
    state, flags, _, cssa, nssa, _, aep, fsbase, gsbase = struct.unpack_from("<QQQIIQQQQ", tcs)
    if memsz != PAGE or any(tcs[72:]):
        fault(f"{where}: TCS is not one page with zero reserved bytes")
    if state or flags or cssa or aep or fsbase or gsbase or nssa != 1:
        fault(f"{where}: TCS fields EADD clears are set, or NSSA is {nssa}, not 1")


def check_sections(image, symbols):
    for line in run("readelf", "-SW", image).splitlines() + run("readelf", "-SW", symbols).splitlines():
        match = re.match(r"\s*\[ *\d+\] (\S+)", line)
        if match and re.match(r"\.(got|plt|rel|dyn|interp|init|fini|ctors|dtors|tdata|tbss|eh_frame|note)", match[1]):
            if match[1] != ".dynamic_heap":
                fault(f"section {match[1]}: something is left for a loader to do")


def check_relocations(objects, symbols):
    # The linker, told to, resolves what is missing to 0 and forgets it.
    defined = {line.split()[-1] for line in run("nm", "--defined-only", symbols).splitlines()}
    for path in objects:
        for line in run("nm", "-u", path).splitlines():
            if line.split()[-1] not in defined | {"_GLOBAL_OFFSET_TABLE_"}:
                fault(f"{path}: undefined symbol {line.split()[-1]}")
        section = ""
        for line in run("readelf", "-rW", path).splitlines():
            if line.startswith("Relocation section"):
                section = line.split("'")[1]
            match = re.search(r"\b(R_X86_64_\w+)\s+(.*)", line)
            if match and match[1] not in RELATIVE and not re.match(r"\.rela\.(debug|eh_frame)", section):
                fault(f"{path}: {match[1]} in {section} needs the load address: {match[2].strip()}")


def check_code(symbols):
    function = ""
    for line in run("objdump", "-d", "-w", "--no-addresses", "-j", ".text", symbols).splitlines():
        match = re.match(r"<(.+)>:$", line)
        if match:
            function = match[1]
            continue
        parts = line.strip().split("\t")
        if len(parts) < 2:
            continue
        code, text = bytes.fromhex(parts[0].replace(" ", "")), parts[1].split("#")[0].strip()
        words = [w for w in text.split() if w not in ("rep", "repz", "repnz", "lock", "notrack", "data16", "bnd")]
        mnemonic = words[0] if words else ""
        if mnemonic == "(bad)":
            fault(f"{function}: bytes that are no instruction: {parts[0].strip()}")
        elif FORBIDDEN.match(mnemonic) or SEGMENT.search(text):
            fault(f"{function}: {text} is not for an enclave")
        # C4, C5 and 62 open VEX and EVEX in 64-bit mode and nothing else.
        elif re.sub(rb"^[\x2e\x3e\x65\x66\x67\xf2\xf3]+", b"", code)[:1] in (b"\xc4", b"\xc5", b"\x62"):
            if not WIDE.search(function):
                fault(f"{function}: {text} needs AVX, outside the functions that may")


def check_fences(symbols):
    """On every path, an lfence stands between the check of a host address and its use."""
    functions, code = {}, []
    for line in run("objdump", "-d", "-w", "--no-show-raw-insn", "-j", ".text", symbols).splitlines():
        match = re.match(r"[0-9a-f]+ <(.+)>:$", line)
        if match:
            code = functions.setdefault(match[1], [])
        elif re.match(r" *[0-9a-f]+:\t", line):
            address, text = line.split(":\t", 1)
            code.append((int(address, 16), text.strip()))
    for function, code in functions.items():
        if not CHECKS.match(function):
            continue
        index = {address: i for i, (address, _) in enumerate(code)}
        fenced, todo = {}, [(0, False)]
        while todo:
            i, state = todo.pop()
            if i >= len(code) or (i in fenced and (fenced[i] <= state)):
                continue
            fenced[i] = state = state and fenced.get(i, True)
            text = code[i][1]
            if text == "lfence":
                state = True
            elif "<tresor_boundary_outside>" in text:
                state = False
            jump = re.match(r"(j\w+) +([0-9a-f]+) ", text)
            if jump and int(jump[2], 16) in index:
                todo.append((index[int(jump[2], 16)], state))
            if not re.match(r"(jmp|ret)", text):
                todo.append((i + 1, state))
        for i, (_, text) in enumerate(code):
            if HOST_ACCESS.search(text) and not fenced.get(i, True):
                fault(f"{function}: {text} is reached without an lfence after the address was checked")
        if not any(HOST_ACCESS.search(text) for _, text in code):
            fault(f"{function}: no access to host memory found; the check of its fences checks nothing")


def check_enclu(data, symbols):
    # Bytes count, aligned or not: a jump into the middle would reach them.
    sections = run("readelf", "-SW", symbols)
    address, offset, size = (int(v, 16) for v in re.search(r"\.text\s+PROGBITS\s+(\w+) (\w+) (\w+)", sections).groups())
    text = open(symbols, "rb").read()[offset : offset + size]
    sites = [address + m.start() for m in re.finditer(rb"(?=\x0f\x01\xd7)", text)]
    named = [int(line.split()[0], 16) for line in run("nm", symbols).splitlines() if line.endswith(" tresor_enclu_site")]
    if len(sites) != 1 or sites != named:
        fault(f"ENCLU at {[hex(s) for s in sites]}, tresor_enclu_site at {[hex(s) for s in named]}: must be one")
    elif text[sites[0] - address + 3 :][:2] != b"\x90\x90":
        fault("tresor_enclu_site: no room for the software backend's branch")
    if text not in data:
        fault("the image and its symbols are not the same link")


def main():
    argv = sys.argv[1:]
    if len(argv) < 5 or argv[0] != "--conf" or argv[2] != "--symbols":
        sys.exit(__doc__)
    conf, symbols, image, objects = argv[1], argv[3], argv[4], argv[5:]
    data = open(image, "rb").read()
    check_segments(data, read_conf(conf)["size"])
    check_sections(image, symbols)
    check_relocations(objects, symbols)
    check_code(symbols)
    check_fences(symbols)
    check_enclu(data, symbols)
    for text in faults:
        print(f"check-image: {text}", file=sys.stderr)
    sys.exit(1 if faults else 0)


main()
