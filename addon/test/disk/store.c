/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/test/disk/store.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/faults.h"

const char *const engine_names[ENGINES] = { "ring", "wide ring", "pool" };
const char *test_directory;

uint8_t *pages(size_t size)
{
	uint8_t *memory = aligned_alloc(4096, (size + 4095) / 4096 * 4096);

	CHECK(memory != NULL);
	memset(memory, 0, size);
	return memory;
}

struct disk *store_open(enum engine_kind engine, uint64_t size)
{
	char path[4096];
	int cached, direct;
	struct disk *disk;

	snprintf(path, sizeof(path), "%s/store-XXXXXX", test_directory);
	cached = mkostemp(path, O_CLOEXEC);
	CHECK(cached >= 0);
	CHECK(posix_fallocate(cached, 0, (off_t)size) == 0);
	direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	unlink(path);
	disk = disk_open(cached, direct, engine == POOL ? DISK_ONLY_POOL : DISK_ONLY_RING);
	CHECK(disk != NULL);
	return disk;
}

struct disk_queue *store_queue(struct disk *disk, enum engine_kind engine, unsigned entries, uint8_t *memory,
			       size_t memory_size)
{
	const struct disk_queue_options options = {
		.entries = entries,
		.memory = memory,
		.memory_size = memory_size,
		.wide = engine == WIDE_RING,
	};
	struct disk_queue *queue = disk_queue_open(disk, &options);

	CHECK(queue != NULL);
	return queue;
}

static void tell_waiting(struct disk_io *io)
{
	struct waiting *waiting = (struct waiting *)(void *)io;

	waiting->told++;
	waiting->told_at = faults_clock();
}

void put_waiting(struct disk_queue *queue, struct waiting *waiting, struct disk_io io)
{
	*waiting = (struct waiting){ .io = io };
	waiting->io.done = tell_waiting;
	disk_queue_put(queue, &waiting->io);
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

bool turn_until(struct disk_queue *queue, const struct waiting *waiting, int ms)
{
	const long long until = now_ms() + ms;

	while (waiting->told == 0) {
		struct pollfd event = { .fd = disk_queue_fd(queue), .events = POLLIN };
		const bool due = disk_queue_turn(queue, false);
		const long long left = until - now_ms();

		if (waiting->told > 0)
			break;
		if (left <= 0)
			return false;
		if (!due)
			poll(&event, 1, (int)left);
	}
	CHECK_EQUAL(waiting->told, 1);
	return true;
}

int carry(struct disk_queue *queue, struct disk_io io)
{
	struct waiting waiting;

	put_waiting(queue, &waiting, io);
	CHECK(turn_until(queue, &waiting, 30000));
	return waiting.io.error;
}
