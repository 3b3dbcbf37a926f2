#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds both images from copies of the sources in two other directories, with
# other paths, time and umask, and compares the bytes with those of the build given.
set -eu
build=$(realpath "$1")
root=$(realpath "$(dirname "$0")/../..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for where in a "another directory/deeper"; do
	mkdir -p "$work/$where"
	(cd "$root" && tar cf - --exclude=build --exclude=test enclave abi) | tar xf - -m -C "$work/$where"
	(umask 077 && cd "$work/$where/enclave" && TZ=Asia/Tokyo LC_ALL=C make -s ${CC:+CC="$CC"})
	for image in tresor.elf vectors/vectors.elf; do
		cmp "$build/$image" "$work/$where/enclave/build/$image"
	done
done
echo "ok - both images are the same from three directories"
