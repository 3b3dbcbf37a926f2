/* SPDX-License-Identifier: Apache-2.0 */
/* FLUSH and FUA: what is acknowledged is on stable storage, and after a failed sync nothing is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/faults.h"
#include "addon/test/disk/store.h"

#define SIZE	(64u * 1024u)
#define LONG_MS	30000

static struct disk_io sync_io(void)
{
	return (struct disk_io){ .op = DISK_SYNC };
}

static struct disk_io write_io(uint8_t *memory, bool direct, bool durable)
{
	return (struct disk_io){
		.op = DISK_WRITE, .length = 4096, .memory = memory, .direct = direct, .durable = durable
	};
}

static struct disk_io read_io(uint8_t *memory)
{
	return (struct disk_io){ .op = DISK_READ, .length = 4096, .memory = memory };
}

struct bench {
	struct disk *disk;
	struct disk_queue *queue;
	uint8_t *memory;
};

static struct bench bench_open(enum engine_kind engine)
{
	struct bench bench = { .disk = store_open(engine, SIZE), .memory = pages(4096) };

	check_run("%s", engine_names[engine]);
	bench.queue = store_queue(bench.disk, engine, 8, NULL, 0);
	faults_plan(FAULT_NONE, 0);
	return bench;
}

static void bench_close(struct bench *bench)
{
	faults_stop();
	CHECK(disk_queue_close(bench->queue, LONG_MS));
	CHECK_EQUAL(bench->disk->references, 1);
	disk_unref(bench->disk);
	free(bench->memory);
}

/* Many that ask while one is under way share the next one; none shares the one that was there before. */
static void shared(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct bench bench = bench_open(engine);
		struct waiting first, later[5];
		uint64_t asked, asked_later;

		asked = faults_clock();
		faults_pause(true);
		put_waiting(bench.queue, &first, sync_io());
		disk_queue_turn(bench.queue, false);
		while (faults_syncs() < 1)
			usleep(1000);
		asked_later = faults_clock();
		for (unsigned i = 0; i < 5; i++)
			put_waiting(bench.queue, &later[i], sync_io());
		disk_queue_turn(bench.queue, false);
		CHECK_EQUAL(faults_syncs(), 1);
		faults_pause(false);
		for (unsigned i = 0; i < 5; i++)
			CHECK(turn_until(bench.queue, &later[i], LONG_MS) && later[i].io.error == 0);
		CHECK(faults_synced(asked_later));
		CHECK_EQUAL(faults_syncs(), 2);
		CHECK(first.told == 1 && first.io.error == 0 && faults_synced(asked));
		CHECK_EQUAL(faults_syncs_at_once(), 1);
		bench_close(&bench);
	}
}

/* Through the page cache: a write, then a sync; past it, the write asks for RWF_DSYNC and no sync is made. */
static void durable(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct bench bench = bench_open(engine);
		uint64_t from = faults_clock();

		CHECK_EQUAL(carry(bench.queue, write_io(bench.memory, false, false)), 0);
		CHECK_EQUAL(faults_syncs(), 0);
		CHECK_EQUAL(carry(bench.queue, write_io(bench.memory, false, true)), 0);
		CHECK(faults_synced(from));
		CHECK_EQUAL(faults_syncs(), 1);
		/* Its error would be told to nobody else. */
		CHECK_EQUAL(faults_durable_writes(false), 0);
		if (disk_aligned(bench.disk, 0, 4096)) {
			CHECK_EQUAL(carry(bench.queue, write_io(bench.memory, true, true)), 0);
			CHECK_EQUAL(faults_syncs(), 1);
			CHECK_EQUAL(faults_durable_writes(true), 1);
		}
		bench_close(&bench);
	}
}

/* After one failed sync: everything that writes ends with EIO, at any queue of the disk; reads go on. */
static void check_failed_disk(struct disk *disk, struct disk_queue *queue, uint8_t *memory)
{
	const unsigned syncs = faults_syncs();

	CHECK(disk->failed != 0);
	CHECK_EQUAL(carry(queue, sync_io()), EIO);
	CHECK_EQUAL(carry(queue, write_io(memory, false, false)), EIO);
	CHECK_EQUAL(carry(queue, write_io(memory, false, true)), EIO);
	CHECK_EQUAL(carry(queue, (struct disk_io){ .op = DISK_PUNCH, .length = 4096 }), EIO);
	CHECK_EQUAL(carry(queue, read_io(memory)), 0);
	CHECK_EQUAL(faults_syncs(), syncs);
}

static void failed(void)
{
	static const struct {
		enum fault fault;
		int error;
	} faults[] = {
		{ FAULT_EIO, EIO }, { FAULT_ENOSPC, ENOSPC }, { FAULT_ENODEV, ENODEV }, { FAULT_EAGAIN, EAGAIN }
	};

	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		for (unsigned i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
			struct bench bench = bench_open(engine);
			struct disk_queue *other = store_queue(bench.disk, engine, 4, NULL, 0);

			check_run("%s, %d", engine_names[engine], faults[i].error);
			faults_always(faults[i].fault, DISK_SYNC);
			CHECK_EQUAL(carry(bench.queue, sync_io()), EIO);
			CHECK_EQUAL(bench.disk->failed, faults[i].error);
			/* What the system answers from now on does not matter: it tells of a loss once. */
			faults_plan(FAULT_NONE, 0);
			check_failed_disk(bench.disk, bench.queue, bench.memory);
			check_failed_disk(bench.disk, other, bench.memory);
			CHECK(disk_queue_close(other, LONG_MS));
			bench_close(&bench);
		}
	}
}

/* A durable write whose sync fails is not acknowledged. */
static void failed_durable(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct bench bench = bench_open(engine);

		faults_always(FAULT_EIO, DISK_SYNC);
		CHECK_EQUAL(carry(bench.queue, write_io(bench.memory, false, true)), EIO);
		check_failed_disk(bench.disk, bench.queue, bench.memory);
		bench_close(&bench);
	}
}

/* A durable write past the cache that fails may have failed at its sync; one that found no room has not. */
static void failed_direct(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct bench bench = bench_open(engine);

		if (!disk_aligned(bench.disk, 0, 4096)) {
			bench_close(&bench);
			continue;
		}
		faults_always(FAULT_ENOSPC, DISK_WRITE);
		CHECK_EQUAL(carry(bench.queue, write_io(bench.memory, true, true)), ENOSPC);
		faults_always(FAULT_EAGAIN, DISK_WRITE);
		CHECK_EQUAL(carry(bench.queue, write_io(bench.memory, true, true)), EIO);
		faults_always(FAULT_EIO, DISK_WRITE);
		CHECK_EQUAL(carry(bench.queue, write_io(bench.memory, true, false)), EIO);
		CHECK_EQUAL(bench.disk->failed, 0);
		CHECK_EQUAL(carry(bench.queue, write_io(bench.memory, true, true)), EIO);
		CHECK_EQUAL(bench.disk->failed, EIO);
		faults_plan(FAULT_NONE, 0);
		check_failed_disk(bench.disk, bench.queue, bench.memory);
		bench_close(&bench);
	}
}

/* A sync under way when another queue's fails is not told as good. */
static void failed_meanwhile(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct bench bench = bench_open(engine);
		struct disk_queue *other = store_queue(bench.disk, engine, 4, NULL, 0);
		struct waiting sync, write;

		/* Begun, and by now ended well in the system, but not reaped. */
		put_waiting(bench.queue, &sync, sync_io());
		put_waiting(bench.queue, &write, write_io(bench.memory, false, true));
		faults_pause(true);
		disk_queue_turn(bench.queue, false);
		while (faults_syncs() < 1 || (engine == POOL && faults_completions() < 2))
			usleep(1000);
		faults_pause(false);
		faults_always(FAULT_EIO, DISK_SYNC);
		CHECK_EQUAL(carry(other, sync_io()), EIO);
		faults_plan(FAULT_NONE, 0);
		CHECK(turn_until(bench.queue, &sync, LONG_MS));
		CHECK_EQUAL(sync.io.error, EIO);
		CHECK(turn_until(bench.queue, &write, LONG_MS));
		CHECK_EQUAL(write.io.error, EIO);
		CHECK(disk_queue_close(other, LONG_MS));
		bench_close(&bench);
	}
}

const struct test_case sync_cases[] = {
	{ "syncs that come during one share the next one", shared },
	{ "a durable write has a sync after it, or RWF_DSYNC past the cache", durable },
	{ "after a failed sync writes and syncs end with EIO and reads go on", failed },
	{ "a durable write whose sync fails is not acknowledged", failed_durable },
	{ "a durable write past the cache fails the disk unless nothing was written", failed_direct },
	{ "a sync is not told as good after another queue's has failed", failed_meanwhile },
	{ NULL, NULL },
};
