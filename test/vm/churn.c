/* SPDX-License-Identifier: Apache-2.0 */
/*
 * churn PATH BYTES STEPS SEED: random operations on one file, as fsx does them: buffered, direct and mapped reads and
 * writes, truncation, holes, zeroed and preallocated ranges, fsync, the page cache dropped. A copy in memory says what
 * each read must give. The first difference ends it with the step and the offset.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LONGEST = 64 << 10, BLOCK = 4096 };

static uint64_t state;
static unsigned char *model, *buffer;
static size_t size;
static int file, direct;
static unsigned step;

static void fail(const char *what, size_t at)
{
	fprintf(stderr, "churn: step %u: %s at %zu: %m\n", step, what, at);
	exit(1);
}

static uint64_t random_number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void fill(unsigned char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = (unsigned char)(random_number() >> 32);
}

static void compare(const unsigned char *bytes, size_t at, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i] != model[at + i]) {
			fprintf(stderr,
				"churn: step %u: byte %zu of the read at %zu, length %zu, is %02x, was written as "
				"%02x\n",
				step, i, at, length, bytes[i], model[at + i]);
			exit(1);
		}
}

static void read_back(int from, size_t at, size_t length)
{
	if (pread(from, buffer, length, (off_t)at) != (ssize_t)length)
		fail("read", at);
	compare(buffer, at, length);
}

static void write_random(int to, size_t at, size_t length)
{
	fill(buffer, length);
	if (pwrite(to, buffer, length, (off_t)at) != (ssize_t)length)
		fail("write", at);
	memcpy(model + at, buffer, length);
}

static void through_map(size_t at, size_t length, int writes)
{
	size_t start = at / BLOCK * BLOCK, whole = at + length - start;
	unsigned char *map = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, file, (off_t)start);
	if (map == MAP_FAILED)
		fail("mmap", at);
	if (writes) {
		fill(map + (at - start), length);
		memcpy(model + at, map + (at - start), length);
	} else {
		compare(map + (at - start), at, length);
	}
	if (munmap(map, whole) != 0)
		fail("munmap", at);
}

static void allocate(int mode, size_t at, size_t length)
{
	if (fallocate(file, mode | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)length) != 0)
		fail("fallocate", at);
	if (mode != 0)
		memset(model + at, 0, length);
}

static void drop_cache(void)
{
	if (fsync(file) != 0)
		fail("fsync", 0);
	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: churn PATH BYTES STEPS SEED\n");
		return 1;
	}
	size = strtoull(argv[2], NULL, 0) / BLOCK * BLOCK;
	unsigned steps = (unsigned)strtoul(argv[3], NULL, 0);
	state = strtoull(argv[4], NULL, 0) * 0x9e3779b97f4a7c15u | 1;
	file = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	direct = open(argv[1], O_RDWR | O_DIRECT);
	model = calloc(1, size);
	buffer = aligned_alloc(BLOCK, LONGEST);
	if (file < 0 || direct < 0 || size < 2 * LONGEST || model == NULL || buffer == NULL ||
	    ftruncate(file, (off_t)size) != 0)
		fail("begin", 0);
	for (step = 0; step < steps; step++) {
		size_t at = random_number() % (size - LONGEST), length = 1 + random_number() % LONGEST;
		size_t whole = at / BLOCK * BLOCK, blocks = (length + BLOCK - 1) / BLOCK * BLOCK;
		unsigned what = random_number() % 100;
		if (what < 25) {
			write_random(file, at, length);
		} else if (what < 40) {
			write_random(direct, whole, blocks);
		} else if (what < 50) {
			through_map(at, length, 1);
		} else if (what < 62) {
			read_back(file, at, length);
		} else if (what < 74) {
			read_back(direct, whole, blocks);
		} else if (what < 80) {
			through_map(at, length, 0);
		} else if (what < 84) {
			allocate(FALLOC_FL_PUNCH_HOLE, at, length);
		} else if (what < 88) {
			allocate(FALLOC_FL_ZERO_RANGE, at, length);
		} else if (what < 90) {
			allocate(0, at, length);
		} else if (what < 93) {
			if (ftruncate(file, (off_t)at) != 0 || ftruncate(file, (off_t)size) != 0)
				fail("truncate", at);
			memset(model + at, 0, size - at);
		} else if (what < 96) {
			if (fsync(file) != 0)
				fail("fsync", 0);
		} else {
			drop_cache();
		}
	}
	drop_cache();
	for (size_t at = 0; at < size; at += LONGEST)
		read_back(file, at, size - at < LONGEST ? size - at : LONGEST);
	return 0;
}
