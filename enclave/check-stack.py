#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves the stack sizes of layout.h from gcc's call graph.

check-stack.py layout.h FILE.ci...

The deepest chain from tresor_main fits STACK_SIZE, the deepest from it through
the sector operations fits SHALLOW_STACK (what entry.S wipes after them).
Recursion, calls through pointers and frames of unknown size are refused.
"""
import re
import sys

SHALLOW = ("tresor_op_sectors", "tresor_op_blocks", "tresor_op_close")
# entry.S: four words and the return address; tresor_enclu below a leaf: three.
ENTRY, LEAF = 40, 24
ASSEMBLY = {"tresor_enclu": LEAF}


def read(paths):
    frames, calls = dict(ASSEMBLY), {}
    for path in paths:
        text = open(path).read()
        for title, label in re.findall(r'node: \{ title: "([^"]*)" label: "([^"]*)"', text):
            size = re.search(r"\\n(\d+) bytes \((\w+(?:,\w+)?)\)", label)
            if size:
                if size[2] not in ("static", "dynamic,bounded"):
                    sys.exit(f"check-stack: {title}: frame is {size[2]}")
                # 8 for the return address the call pushes is in gcc's figure.
                frames[title] = int(size[1])
        for source, target in re.findall(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"', text):
            calls.setdefault(source, set()).add(target)
    return frames, calls


def depth(name, frames, calls, path, cache):
    if name in path:
        sys.exit(f"check-stack: recursion: {' -> '.join(path + (name,))}")
    if name == "__indirect_call":
        sys.exit(f"check-stack: {path[-1]}: calls through a pointer")
    if name not in frames:
        sys.exit(f"check-stack: {path[-1]} calls {name}, whose frame is unknown")
    if name not in cache:
        deepest = max((depth(c, frames, calls, path + (name,), cache) for c in calls.get(name, ())), default=(0, ()))
        cache[name] = (frames[name] + deepest[0], (name,) + deepest[1])
    return cache[name]


def main():
    layout = dict(re.findall(r"#define (\w+)\s+(0x[0-9a-f]+)", open(sys.argv[1]).read()))
    frames, calls = read(sys.argv[2:])
    deep, chain = depth("tresor_main", frames, calls, (), {})
    shallow = max((depth(name, frames, calls, (), {})[0] for name in SHALLOW if name in frames), default=0)
    shallow += frames["tresor_main"] + frames.get("tresor_dispatch", 0)
    print(f"check-stack: {deep + ENTRY} bytes ({' -> '.join(chain)}), sectors {shallow + ENTRY}")
    if deep + ENTRY + 64 > int(layout["STACK_SIZE"], 0):
        sys.exit("check-stack: STACK_SIZE is too small")
    if shallow > int(layout["SHALLOW_STACK"], 0):
        sys.exit("check-stack: SHALLOW_STACK is too small")


main()
