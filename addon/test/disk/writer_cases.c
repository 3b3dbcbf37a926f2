/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that writes for another: results, lateness, and an owner that leaves first. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "addon/io/writer.h"
#include "addon/test/disk/check.h"
#include "addon/test/disk/faults.h"
#include "addon/test/disk/store.h"

#define SIZE	(64u * 1024u)

static int new_file(void)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/written-XXXXXX", test_directory);
	fd = mkostemp(path, O_CLOEXEC);
	CHECK(fd >= 0);
	unlink(path);
	CHECK(ftruncate(fd, SIZE) == 0);
	return fd;
}

static void pause_ms(long ms)
{
	const struct timespec time = { .tv_nsec = ms * 1000000 };

	nanosleep(&time, NULL);
}

static void give(struct writer *writer, uint32_t row, uint64_t offset, uint32_t length, int with)
{
	memset(writer_memory(writer) + row * 4096, with, length);
	writer_rows(writer)[row] = (struct writer_row){ .offset = offset, .at = row * 4096, .length = length };
}

static bool holds(int fd, uint64_t offset, int with)
{
	uint8_t bytes[4096], expected[4096];

	memset(expected, with, sizeof(expected));
	return pread(fd, bytes, sizeof(bytes), (off_t)offset) == (ssize_t)sizeof(bytes) &&
	       memcmp(bytes, expected, sizeof(bytes)) == 0;
}

/* Rows next to each other and not, and past the end of the file. */
static void written(void)
{
	const int fd = new_file();
	struct writer *writer = writer_open(fd);

	CHECK(writer != NULL && writer_ready(writer) && !writer_busy(writer));
	for (unsigned round = 1; round < 200; round++) {
		give(writer, 0, 0, 4096, (int)round);
		give(writer, 1, 4096, 4096, (int)round + 1);
		give(writer, 2, 32768, 4096, (int)round + 2);
		give(writer, 3, SIZE - 4096, 4096, (int)round + 3);
		give(writer, 4, SIZE, 4096, (int)round + 4);
		CHECK(writer_write(writer, 5));
		for (unsigned row = 0; row < 3; row++)
			CHECK_EQUAL(writer_rows(writer)[row].result, 0);
		/* Together they end past the end. */
		CHECK_EQUAL(writer_rows(writer)[3].result, EAGAIN);
		CHECK_EQUAL(writer_rows(writer)[4].result, EAGAIN);
		CHECK(holds(fd, 0, (int)round) && holds(fd, 4096, (int)round + 1) && holds(fd, 32768, (int)round + 2));
	}
	CHECK_EQUAL(lseek(fd, 0, SEEK_END), SIZE);
	writer_close(writer);
	close(fd);
}

/* A write that takes long goes on by itself, and the next ones are left to others for a while. */
static void late(void)
{
	const int fd = new_file();
	struct writer *writer = writer_open(fd);

	CHECK(writer != NULL);
	faults_slow_writes(200);
	give(writer, 0, 4096, 4096, 7);
	CHECK(!writer_write(writer, 1));
	CHECK(writer_busy(writer) && !writer_ready(writer));
	while (writer_busy(writer))
		pause_ms(1);
	CHECK_EQUAL(writer_rows(writer)[0].result, 0);
	CHECK(holds(fd, 4096, 7));
	CHECK(!writer_ready(writer));
	faults_slow_writes(0);
	for (unsigned i = 0; !writer_ready(writer); i++) {
		CHECK(i < 2000);
		pause_ms(10);
	}
	give(writer, 0, 4096, 4096, 8);
	CHECK(writer_write(writer, 1) && holds(fd, 4096, 8));
	writer_close(writer);
	close(fd);
}

/* Whose owner has gone meanwhile. */
static void left(void)
{
	const int fd = new_file();
	struct writer *writer = writer_open(fd);

	CHECK(writer != NULL);
	faults_slow_writes(200);
	give(writer, 0, 0, 4096, 9);
	CHECK(!writer_write(writer, 1));
	writer_close(writer);
	faults_slow_writes(0);
	for (unsigned i = 0; !holds(fd, 0, 9); i++) {
		CHECK(i < 2000);
		pause_ms(10);
	}
	/* The thread lets go of what it had. */
	pause_ms(50);
	close(fd);
}

static void refused(void)
{
	const int fd = new_file();

	refusals.thread = EAGAIN;
	CHECK(writer_open(fd) == NULL && errno == EAGAIN);
	refusals.thread = 0;
	CHECK(writer_open(-1) == NULL && errno == EBADF);
	close(fd);
}

const struct test_case writer_cases[] = {
	{ "a writer writes what it is given, and nothing past the end", written },
	{ "a late write goes on while its owner does", late },
	{ "a late write outlives its owner", left },
	{ "a writer without a thread does not open", refused },
	{ NULL, NULL },
};
