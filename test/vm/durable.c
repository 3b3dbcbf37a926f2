/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that were made durable, for a machine whose power is cut.
 *
 *   durable write NAME PATH SLOTS BATCH fsync|dsync|scattered|rename
 *       Writes record 0, 1, 2, ... to slot NUMBER % SLOTS until it is killed. After each BATCH it makes them durable,
 *       then says "durable NAME NUMBER". With dsync each write is O_DIRECT and O_DSYNC; scattered is the same to slot
 *       NUMBER * 1667 % SLOTS; with rename each record is a file of its own that replaces PATH.
 *   durable check PATH SLOTS LAST
 *       Succeeds when each slot has the record it had when record LAST was durable, or a later one.
 *
 * A record is a block that follows from its number; one that is half old and half new is found.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libgen.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 4096, WORDS = BLOCK / 8 };

static uint64_t *block;

static void fail(const char *what, const char *path)
{
	fprintf(stderr, "durable: %s %s: %m\n", what, path);
	exit(1);
}

static void make(uint64_t number)
{
	uint64_t state = (number + 1) * 0x9e3779b97f4a7c15u;
	block[0] = number;
	for (int i = 1; i < WORDS; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		block[i] = state;
	}
}

static int open_file(const char *path, int flags)
{
	int file = open(path, flags | O_CLOEXEC, 0600);
	if (file < 0)
		fail("open", path);
	return file;
}

static void replace(const char *path, uint64_t number)
{
	char new[256], folder[256];
	snprintf(new, sizeof new, "%s.new", path);
	snprintf(folder, sizeof folder, "%s", path);
	int file = open_file(new, O_WRONLY | O_CREAT | O_TRUNC);
	int parent = open_file(dirname(folder), O_RDONLY | O_DIRECTORY);
	make(number);
	if (write(file, block, BLOCK) != BLOCK || fsync(file) != 0 || rename(new, path) != 0 || fsync(parent) != 0)
		fail("replace", path);
	close(file);
	close(parent);
}

static _Noreturn void write_records(char **argv)
{
	const char *name = argv[2], *path = argv[3], *how = argv[6];
	uint64_t slots = strtoull(argv[4], NULL, 0), batch = strtoull(argv[5], NULL, 0);
	int renames = strcmp(how, "rename") == 0, scattered = strcmp(how, "scattered") == 0;
	int dsync = scattered || strcmp(how, "dsync") == 0;
	int file = renames ? -1 : open_file(path, O_WRONLY | O_CREAT | (dsync ? O_DIRECT | O_DSYNC : 0));
	for (uint64_t number = 0;; number++) {
		if (renames) {
			replace(path, number);
		} else {
			make(number);
			uint64_t slot = number * (scattered ? 1667 : 1) % slots;
			if (pwrite(file, block, BLOCK, (off_t)(slot * BLOCK)) != BLOCK)
				fail("write", path);
		}
		if (number % batch != batch - 1)
			continue;
		if (!renames && !dsync && fsync(file) != 0)
			fail("fsync", path);
		char line[128];
		int length = snprintf(line, sizeof line, "durable %s %llu\n", name, (unsigned long long)number);
		if (write(1, line, (size_t)length) != length)
			fail("write", "standard output");
	}
}

static int check_records(char **argv)
{
	const char *path = argv[2];
	uint64_t slots = strtoull(argv[3], NULL, 0), last = strtoull(argv[4], NULL, 0);
	int file = open_file(path, O_RDONLY);
	uint64_t *expected = aligned_alloc(BLOCK, BLOCK);
	int wrong = expected == NULL;
	for (uint64_t slot = 0; slot < slots && slot <= last; slot++) {
		uint64_t least = last - (last - slot) % slots;
		if (pread(file, expected, BLOCK, (off_t)(slot * BLOCK)) != BLOCK) {
			fprintf(stderr, "durable: %s: record %llu is missing\n", path, (unsigned long long)least);
			wrong = 1;
			continue;
		}
		make(expected[0]);
		if (expected[0] < least || expected[0] % slots != slot || memcmp(expected, block, BLOCK) != 0) {
			fprintf(stderr, "durable: %s: slot %llu has %llu, record %llu was durable\n", path,
				(unsigned long long)slot, (unsigned long long)expected[0], (unsigned long long)least);
			wrong = 1;
		}
	}
	return wrong;
}

int main(int argc, char **argv)
{
	block = aligned_alloc(BLOCK, BLOCK);
	if (block == NULL)
		fail("memory for", "a block");
	if (argc == 7 && strcmp(argv[1], "write") == 0)
		write_records(argv);
	if (argc == 5 && strcmp(argv[1], "check") == 0)
		return check_records(argv);
	fprintf(stderr, "usage: durable write NAME PATH SLOTS BATCH fsync|dsync|scattered|rename, or durable check "
			"PATH SLOTS LAST\n");
	return 1;
}
