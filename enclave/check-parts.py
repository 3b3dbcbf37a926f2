#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the two images are made of.

check-parts.py product FILE.sym FILE.unused    nothing of the sources was left out as unused
check-parts.py vectors FILE.sym FILE.unused    no operation and no code that handles a key of somebody's
check-parts.py lines FILE.d...                 lines of C and assembly that go into the objects

FILE.unused is what ld --print-gc-sections said, FILE.d what gcc -MMD wrote.
"""
import os
import re
import subprocess
import sys

# What an operation of the second image may be, and what must not even be linked into it.
VECTORS = {"tresor_op_hello", "tresor_op_selftest", "tresor_op_benchmark", "tresor_op_assist"}
KEYED = re.compile(r"^tresor_(op_|volumes_|luks_|header_|message_|nonces_|channel_(open|inherit|bequeath)|local_report_|request_digest)")


def symbols(path):
    out = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1] for line in out.splitlines()}


def unused(path):
    """Functions and objects that the linker dropped: -ffunction-sections and -fdata-sections name them."""
    return re.findall(r"removing unused section '\.(?:text|rodata|data|bss)\.(\S+)' in file '(\S+)'", open(path).read())


def lines(paths):
    """Lines that are not blank, comments and headers included, of every file of ours that the compiler read."""
    files = set()
    for path in paths:
        files.update(os.path.normpath(name) for name in re.findall(r"[^\s\\]+\.[chS]\b", open(path).read()))
    groups = {"logic": 0, "algorithms": 0, "interface": 0}
    for name in sorted(files):
        if os.path.isabs(name):
            continue  # the compiler's own headers
        group = "interface" if name.startswith("..") else "algorithms" if name.startswith("crypto" + os.sep) else "logic"
        groups[group] += sum(1 for line in open(name) if line.strip())
    return groups


def main():
    if len(sys.argv) > 2 and sys.argv[1] == "lines":
        groups = lines(sys.argv[2:])
        print(f"our logic: {groups['logic']} lines")
        print(f"published algorithms: {groups['algorithms']} lines")
        print(f"the product image: {groups['logic'] + groups['algorithms']} lines")
        print(f"the interface, which the host reads too: {groups['interface']} lines")
        return
    if len(sys.argv) != 4 or sys.argv[1] not in ("product", "vectors"):
        sys.exit(__doc__)
    faults = []
    if sys.argv[1] == "product":
        faults += [f"{name} of {path} is not used" for name, path in unused(sys.argv[3])]
    else:
        faults += [f"{name} is in the second image" for name in symbols(sys.argv[2]) if KEYED.match(name) and name not in VECTORS]
        faults += [f"{name} of {path} is not used" for name, path in unused(sys.argv[3]) if "/vectors/" in path]
    for text in sorted(faults):
        print(f"check-parts: {text}", file=sys.stderr)
    sys.exit(1 if faults else 0)


main()
