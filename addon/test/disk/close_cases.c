/* SPDX-License-Identifier: Apache-2.0 */
/* Closing: everything that can end does; what a device holds is given up after the time, and counted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/faults.h"
#include "addon/test/disk/store.h"

#define SIZE		(1024u * 1024u)
#define REQUESTS	24u
#define LONG_MS		30000
#define SHORT_MS	50

/* Never freed: devices write there when they answer. Reachable, which is no leak. */
struct stuck {
	struct disk *disk;
	struct disk_queue *queue;
	struct waiting requests[REQUESTS];
	uint8_t *memory;
	struct stuck *next;
};
static struct stuck *stuck_ones;

static struct stuck *stuck_open(enum engine_kind engine, unsigned entries)
{
	struct stuck *stuck = calloc(1, sizeof(*stuck));

	CHECK(stuck != NULL);
	check_run("%s", engine_names[engine]);
	stuck->next = stuck_ones;
	stuck_ones = stuck;
	stuck->disk = store_open(engine, SIZE);
	stuck->memory = pages(REQUESTS * 4096);
	stuck->queue = store_queue(stuck->disk, engine, entries, NULL, 0);
	return stuck;
}

static void put(struct stuck *stuck, unsigned i, enum disk_op op)
{
	put_waiting(stuck->queue, &stuck->requests[i],
		    (struct disk_io){
			    .op = op,
			    .offset = i * 4096,
			    .length = op == DISK_SYNC ? 0 : 4096,
			    .memory = stuck->memory + i * 4096,
		    });
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

/* Everything put is carried out and told by the close alone. */
static void all(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct stuck *stuck = stuck_open(engine, 4);

		for (unsigned i = 0; i < REQUESTS; i++)
			put(stuck, i, i % 5 == 4 ? DISK_SYNC : i % 2 ? DISK_READ : DISK_WRITE);
		CHECK_EQUAL(disk_queue_pending(stuck->queue), REQUESTS);
		CHECK(disk_queue_close(stuck->queue, LONG_MS));
		for (unsigned i = 0; i < REQUESTS; i++)
			CHECK(stuck->requests[i].told == 1 && stuck->requests[i].io.error == 0);
		CHECK(stuck->disk->stranded == 0 && stuck->disk->inflight == 0 && stuck->disk->references == 1);
		disk_unref(stuck->disk);
		free(stuck->memory);
		stuck->memory = NULL;
	}
}

/* A device that answers nothing: the close returns after its time, tells what it never began, and counts the rest. */
static void hung(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		const unsigned entries = 4;
		struct stuck *stuck = stuck_open(engine, entries);
		long long began;
		unsigned told = 0;

		faults_always(FAULT_NEVER, DISK_READ);
		for (unsigned i = 0; i < REQUESTS; i++)
			put(stuck, i, DISK_READ);
		disk_queue_turn(stuck->queue, false);
		began = now_ms();
		CHECK(!disk_queue_close(stuck->queue, SHORT_MS));
		CHECK(now_ms() - began >= SHORT_MS && now_ms() - began < LONG_MS);
		for (unsigned i = 0; i < REQUESTS; i++) {
			const struct waiting *each = &stuck->requests[i];

			CHECK(each->told <= 1 && (each->told == 0 || each->io.error == EIO));
			told += each->told;
		}
		CHECK_EQUAL(told, REQUESTS - entries);
		CHECK_EQUAL(stuck->disk->stranded, entries);
		CHECK_EQUAL(faults_held(), entries);
		/* Its reference stays, and so do the descriptors that the device's answers go to. */
		CHECK_EQUAL(stuck->disk->references, 2);
		disk_unref(stuck->disk);
		faults_stop();
		faults_release();
	}
}

/* Writes that wait for threads of the pool are not carried out later: the store may be somebody else's by then. */
static void not_later(void)
{
	struct stuck *stuck = stuck_open(POOL, 32);
	uint8_t *before = pages(SIZE), *after = pages(SIZE);
	unsigned told = 0;

	memset(stuck->memory, 0x77, REQUESTS * 4096);
	faults_always(FAULT_NEVER, DISK_WRITE);
	for (unsigned i = 0; i < REQUESTS; i++)
		put(stuck, i, DISK_WRITE);
	CHECK(!disk_queue_close(stuck->queue, SHORT_MS));
	for (unsigned i = 0; i < REQUESTS; i++)
		told += stuck->requests[i].told;
	CHECK(told > 0);
	CHECK_EQUAL(stuck->disk->stranded, REQUESTS - told);
	CHECK(pread(stuck->disk->cached, before, SIZE, 0) == SIZE);
	faults_stop();
	faults_release();
	usleep(100000);
	CHECK(pread(stuck->disk->cached, after, SIZE, 0) == SIZE);
	CHECK(memcmp(before, after, SIZE) == 0);
	free(before);
	free(after);
}

/* Those who asked for a sync that hangs are told; their memory is theirs, only the queue's own request stays. */
static void hung_sync(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct stuck *stuck = stuck_open(engine, 4);

		faults_always(FAULT_NEVER, DISK_SYNC);
		put(stuck, 0, DISK_SYNC);
		disk_queue_turn(stuck->queue, false);
		put(stuck, 1, DISK_SYNC);
		put(stuck, 2, DISK_WRITE);
		stuck->requests[2].io.durable = true;
		CHECK(!disk_queue_close(stuck->queue, SHORT_MS));
		for (unsigned i = 0; i < 3; i++)
			CHECK(stuck->requests[i].told == 1 && stuck->requests[i].io.error == EIO);
		CHECK_EQUAL(stuck->disk->stranded, 1);
		CHECK_EQUAL(stuck->disk->failed, 0);
		faults_stop();
		faults_release();
	}
}

static void no_memory(void)
{
	struct stuck *stuck = stuck_open(RING, 4), *for_good = stuck_open(RING, 4);

	faults_always(FAULT_ENTER_EAGAIN, DISK_READ);
	put(for_good, 0, DISK_WRITE);
	CHECK(disk_queue_close(for_good->queue, SHORT_MS));
	CHECK(for_good->requests[0].told == 1 && for_good->requests[0].io.error == EIO);
	CHECK_EQUAL(for_good->disk->stranded, 0);
	disk_unref(for_good->disk);
	free(for_good->memory);
	for_good->memory = NULL;
	put(stuck, 0, DISK_WRITE);
	/* Nothing under way would wake a poll(2). */
	for (unsigned i = 0; i < 20; i++)
		CHECK(disk_queue_turn(stuck->queue, false) && stuck->requests[0].told == 0);
	faults_stop();
	CHECK(disk_queue_close(stuck->queue, LONG_MS));
	CHECK(stuck->requests[0].told == 1 && stuck->requests[0].io.error == 0);
	disk_unref(stuck->disk);
	free(stuck->memory);
	stuck->memory = NULL;
}

const struct test_case close_cases[] = {
	{ "a close carries out what was put", all },
	{ "a close gives up on a hung device after its time", hung },
	{ "a close drops what no thread of the pool has begun", not_later },
	{ "a close tells those who wait for a hung sync", hung_sync },
	{ "a kernel without memory for submissions keeps no close", no_memory },
	{ NULL, NULL },
};
