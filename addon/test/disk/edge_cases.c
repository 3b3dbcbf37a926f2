/* SPDX-License-Identifier: Apache-2.0 */
/* Ends of files, holes, and systems that refuse a part of what a queue uses. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/faults.h"
#include "addon/test/disk/store.h"

#define SIZE	(64u * 1024u)
#define LONG_MS	30000

static struct disk_io io_at(enum disk_op op, uint64_t offset, uint32_t length, uint8_t *memory)
{
	return (struct disk_io){ .op = op, .offset = offset, .length = length, .memory = memory };
}

static off_t size_of(const struct disk *disk)
{
	struct stat stat;

	CHECK(fstat(disk->cached, &stat) == 0);
	return stat.st_size;
}

/* Reads past the end are errors, not zeros; writes past it are refused, and do not make the file longer. */
static void truncated(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct disk *disk = store_open(engine, SIZE);
		struct disk_queue *queue = store_queue(disk, engine, 4, NULL, 0);
		uint8_t *memory = pages(16384);

		check_run("%s", engine_names[engine]);
		/* Within a block of O_DIRECT. */
		CHECK(ftruncate(disk->cached, 3 * 4096 + 100) == 0);
		for (int direct = 0; direct <= disk_aligned(disk, 0, 4096); direct++) {
			static const struct {
				uint64_t offset;
				uint32_t length;
				int error;
			} ranges[] = { { 0, 12288, 0 },	     { 0, 16384, EIO }, { 12288, 4096, EIO },
				       { 16384, 4096, EIO }, { 8192, 4096, 0 }, { UINT64_MAX / 2, 4096, EIO } };

			for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
				struct disk_io io =
					io_at(DISK_READ, ranges[i].offset / 4096 * 4096, ranges[i].length, memory);

				io.direct = direct;
				check_run("%s, direct %d, range %u", engine_names[engine], direct, i);
				if (ranges[i].offset < SIZE)
					CHECK_EQUAL(carry(queue, io), ranges[i].error);
				io.op = DISK_WRITE;
				CHECK_EQUAL(carry(queue, io), ranges[i].error);
				CHECK_EQUAL(size_of(disk), 3 * 4096 + 100);
			}
		}
		CHECK(!disk_holds(disk, UINT64_MAX - 4095, 4096) && !disk_holds(disk, 0, UINT64_MAX));
		CHECK(disk_holds(disk, 3 * 4096, 100) && !disk_holds(disk, 3 * 4096, 101));
		CHECK_EQUAL(disk->failed, 0);
		CHECK(disk_queue_close(queue, LONG_MS));
		disk_unref(disk);
		free(memory);
	}
}

/* A punched range reads as zeros and takes no space; the file keeps its size. */
static void punched(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct disk *disk = store_open(engine, SIZE);
		struct disk_queue *queue = store_queue(disk, engine, 4, NULL, 0);
		uint8_t *memory = pages(SIZE), *zeros = pages(SIZE);
		struct stat stat;

		check_run("%s", engine_names[engine]);
		memset(memory, 0x5a, SIZE);
		CHECK_EQUAL(carry(queue, io_at(DISK_WRITE, 0, SIZE, memory)), 0);
		CHECK_EQUAL(carry(queue, io_at(DISK_PUNCH, 8192, SIZE - 8192, NULL)), 0);
		CHECK_EQUAL(carry(queue, io_at(DISK_READ, 0, SIZE, memory)), 0);
		CHECK(memory[8191] == 0x5a && memcmp(memory + 8192, zeros, SIZE - 8192) == 0);
		CHECK(fstat(disk->cached, &stat) == 0);
		CHECK(stat.st_size == SIZE && stat.st_blocks * 512 < SIZE);
		CHECK(disk_queue_close(queue, LONG_MS));
		disk_unref(disk);
		free(memory);
		free(zeros);
	}
}

/* The rest of a short write is under way when the turn returns: who sleeps in poll(2) is woken. */
static void polled(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct disk *disk = store_open(engine, SIZE);
		struct disk_queue *queue = store_queue(disk, engine, 4, NULL, 0);
		struct pollfd event = { .fd = disk_queue_fd(queue), .events = POLLIN };
		uint8_t *memory = pages(16384);
		struct waiting waiting;

		check_run("%s", engine_names[engine]);
		faults_plan(FAULT_SHORT, 0);
		put_waiting(queue, &waiting, io_at(DISK_WRITE, 0, 16384, memory));
		CHECK(disk_queue_due(queue));
		while (waiting.told == 0) {
			const bool due = disk_queue_turn(queue, false);

			if (waiting.told == 0) {
				CHECK(!due);
				CHECK_EQUAL(poll(&event, 1, LONG_MS), 1);
			}
		}
		CHECK_EQUAL(faults_completions(), 2);
		CHECK_EQUAL(waiting.io.error, 0);
		faults_stop();
		CHECK(disk_queue_close(queue, LONG_MS));
		disk_unref(disk);
		free(memory);
	}
}

/* Who looks for an end sees that of a request that is alone, is not kept by one that does not come, and calls nobody. */
static void watched(void)
{
	const int64_t millisecond = 1000000;

	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct disk *disk = store_open(engine, SIZE);
		struct disk_queue *queue = store_queue(disk, engine, 4, NULL, 0);
		uint8_t *memory = pages(8192);
		struct waiting waiting[2];

		check_run("%s", engine_names[engine]);
		CHECK(!disk_queue_watch(queue, LONG_MS * millisecond));
		faults_pause(true);
		put_waiting(queue, &waiting[0], io_at(DISK_READ, 0, 4096, memory));
		CHECK(!disk_queue_watch(queue, LONG_MS * millisecond));
		disk_queue_turn(queue, false);
		CHECK(!disk_queue_watch(queue, millisecond));
		faults_pause(false);
		if (engine != POOL) {
			CHECK(disk_queue_watch(queue, LONG_MS * millisecond));
			CHECK_EQUAL(waiting[0].told, 0);
		}
		put_waiting(queue, &waiting[1], io_at(DISK_READ, 4096, 4096, memory + 4096));
		CHECK(!disk_queue_watch(queue, LONG_MS * millisecond));
		for (unsigned i = 0; i < 2; i++) {
			CHECK(turn_until(queue, &waiting[i], LONG_MS));
			CHECK_EQUAL(waiting[i].io.error, 0);
		}
		CHECK(disk_queue_close(queue, LONG_MS));
		disk_unref(disk);
		free(memory);
	}
}

static struct disk *try_open(enum disk_choice choice, int *error)
{
	struct disk *model = store_open(POOL, SIZE), *disk;
	const int cached = dup(model->cached);

	disk_unref(model);
	disk = disk_open(cached, -1, choice);
	*error = errno;
	/* Not taken over. */
	if (disk == NULL)
		CHECK(fcntl(cached, F_GETFD) >= 0 && close(cached) == 0);
	return disk;
}

/* Reads a block by whatever engine the disk has. */
static void check_works(struct disk *disk)
{
	uint8_t *memory = pages(4096);
	struct disk_queue *queue = store_queue(disk, RING, 4, memory, 4096);

	CHECK_EQUAL(carry(queue, io_at(DISK_WRITE, 0, 4096, memory)), 0);
	CHECK_EQUAL(carry(queue, io_at(DISK_READ, 0, 4096, memory)), 0);
	CHECK_EQUAL(carry(queue, io_at(DISK_SYNC, 0, 0, NULL)), 0);
	CHECK(disk_queue_close(queue, LONG_MS));
	free(memory);
}

/* A kernel that refuses io_uring gets the pool, and the reason is kept. */
static void ring_refused(void)
{
	static const int errors[] = { EPERM, ENOSYS, ENOMEM, EINVAL };
	int error;

	for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct disk *disk;

		check_run("%d", errors[i]);
		refusals.setup = errors[i];
		disk = try_open(DISK_CHOOSE, &error);
		CHECK(disk != NULL && disk->engine == DISK_POOL);
		CHECK_EQUAL(disk->refusal, errors[i]);
		check_works(disk);
		disk_unref(disk);
		CHECK(try_open(DISK_ONLY_RING, &error) == NULL);
		CHECK_EQUAL(error, errors[i]);
		disk = try_open(DISK_ONLY_POOL, &error);
		CHECK(disk != NULL && disk->engine == DISK_POOL && disk->refusal == 0);
		disk_unref(disk);
		refusals.setup = 0;
	}
	refusals.probe = EINVAL;
	{
		struct disk *disk = try_open(DISK_CHOOSE, &error);

		CHECK(disk != NULL && disk->engine == DISK_POOL && disk->refusal == EOPNOTSUPP);
		disk_unref(disk);
	}
	refusals.probe = 0;
}

/* The ring exists, but submissions are refused, or do nothing. */
static void submission_refused(void)
{
	struct disk *disk;
	int error;

	faults_always(FAULT_ENTER_EAGAIN, DISK_READ);
	disk = try_open(DISK_CHOOSE, &error);
	CHECK(disk != NULL && disk->engine == DISK_POOL && disk->refusal == EAGAIN);
	faults_stop();
	check_works(disk);
	disk_unref(disk);
	/* A signal is no refusal. */
	for (enum fault fault = FAULT_ENTER_EINTR; fault <= FAULT_ENTER_EARLY; fault++) {
		if (fault == FAULT_ENTER_EAGAIN || fault == FAULT_ENTER_EBUSY)
			continue;
		faults_plan(fault, 0);
		disk = try_open(DISK_CHOOSE, &error);
		CHECK(disk != NULL && disk->engine == DISK_RING && disk->refusal == 0);
		faults_stop();
		disk_unref(disk);
	}
}

/*
 * The kernel takes no more, for good: what it has not taken ends with EIO, what it has as it ends. So it is with a shortage
 * of memory that does not pass.
 */
static void refused_later(void)
{
	static const enum fault faults[] = { FAULT_ENTER_REFUSED, FAULT_ENTER_EAGAIN };

	for (unsigned f = 0; f < 2; f++) {
		const enum fault fault = faults[f];
		struct disk *disk = store_open(RING, 16 * 4096);
		struct disk_queue *queue = store_queue(disk, RING, 8, NULL, 0);
		uint8_t *memory = pages(8 * 4096);
		struct waiting waiting[8];

		check_run("%s", fault == FAULT_ENTER_REFUSED ? "EPERM" : "EAGAIN");
		faults_pause(true);
		for (unsigned i = 0; i < 4; i++)
			put_waiting(queue, &waiting[i], io_at(DISK_READ, i * 4096, 4096, memory + i * 4096));
		disk_queue_turn(queue, false);
		if (fault == FAULT_ENTER_EAGAIN) {
			/* What is under way may bring what is short. */
			faults_pause(false);
			for (unsigned i = 0; i < 4; i++)
				CHECK(turn_until(queue, &waiting[i], LONG_MS) && waiting[i].io.error == 0);
		}
		faults_always(fault, DISK_READ);
		for (unsigned i = 4; i < 8; i++)
			put_waiting(queue, &waiting[i], io_at(DISK_READ, i * 4096, 4096, memory + i * 4096));
		for (unsigned i = 4; i < 8; i++)
			CHECK(turn_until(queue, &waiting[i], LONG_MS) && waiting[i].io.error == EIO);
		CHECK_EQUAL(disk_queue_pending(queue), fault == FAULT_ENTER_EAGAIN ? 0 : 4);
		faults_stop();
		faults_pause(false);
		for (unsigned i = 0; i < 4; i++)
			CHECK(turn_until(queue, &waiting[i], LONG_MS) && waiting[i].io.error == 0);
		/* The refusal is over: so are its errors. */
		CHECK_EQUAL(carry(queue, io_at(DISK_READ, 0, 4096, memory)), 0);
		CHECK(disk_queue_close(queue, LONG_MS));
		CHECK_EQUAL(disk->inflight, 0);
		disk_unref(disk);
		free(memory);
	}
}

/* Of a ring whose completions are lost, it is the device's for ever. Reachable, which is no leak. */
static uint8_t *volatile stranded;

/* Writes that hang, of which there are more than the queue has room for, leave some to reads and to a sync. */
static void writes_hang(enum engine_kind engine)
{
	struct disk *disk = store_open(engine, 16 * 4096);
	struct disk_queue *queue = store_queue(disk, engine, 8, NULL, 0);
	uint8_t *memory = pages(17 * 4096);
	struct waiting waiting[16];

	faults_always(FAULT_NEVER, DISK_WRITE);
	for (unsigned i = 0; i < 16; i++)
		put_waiting(queue, &waiting[i], io_at(DISK_WRITE, i * 4096, 4096, memory + i * 4096));
	disk_queue_turn(queue, false);
	for (unsigned i = 0; i < 16; i++)
		CHECK_EQUAL(carry(queue, io_at(DISK_READ, i * 4096, 4096, memory + 16 * 4096)), 0);
	CHECK_EQUAL(carry(queue, (struct disk_io){ .op = DISK_SYNC }), 0);
	CHECK_EQUAL(faults_held(), engine == POOL ? 5 : 6);
	faults_stop();
	faults_release();
	if (engine != POOL) {
		stranded = memory;
		CHECK(!disk_queue_close(queue, 100));
		return;
	}
	CHECK(disk_queue_close(queue, LONG_MS));
	for (unsigned i = 0; i < 16; i++)
		CHECK(waiting[i].told == 1 && waiting[i].io.error == 0);
	disk_unref(disk);
	free(memory);
}

static void pool_writes_hang(void)
{
	writes_hang(POOL);
}

static void ring_writes_hang(void)
{
	writes_hang(RING);
}

/* What saves work may be refused: RLIMIT_MEMLOCK counts registered memory. */
static void registration_refused(void)
{
	int error;

	for (unsigned i = 0; i < 3; i++) {
		struct disk *disk = try_open(DISK_ONLY_RING, &error);

		CHECK(disk != NULL);
		refusals.files = i != 1 ? ENOMEM : 0;
		refusals.buffers = i != 0 ? ENOMEM : 0;
		check_works(disk);
		refusals.files = refusals.buffers = 0;
		disk_unref(disk);
	}
}

/* One thread carries out everything; with none, and without an eventfd or /proc, the queue does not open. */
static void pool_refused(void)
{
	const struct disk_queue_options options = { .entries = 8 };
	struct disk *disk;
	int error;

	disk = try_open(DISK_ONLY_POOL, &error);
	CHECK(disk != NULL);
	refusals.thread = EAGAIN;
	refusals.threads = 1;
	{
		struct disk_queue *queue = store_queue(disk, POOL, 8, NULL, 0);
		uint8_t *memory = pages(8 * 4096);
		struct waiting waiting[8];

		for (unsigned i = 0; i < 8; i++)
			put_waiting(queue, &waiting[i], io_at(DISK_READ, i * 4096, 4096, memory + i * 4096));
		for (unsigned i = 0; i < 8; i++)
			CHECK(turn_until(queue, &waiting[i], LONG_MS) && waiting[i].io.error == 0);
		CHECK(disk_queue_close(queue, LONG_MS));
		free(memory);
	}
	CHECK(disk_queue_open(disk, &options) == NULL);
	CHECK_EQUAL(errno, EAGAIN);
	refusals.thread = 0;
	refusals.eventfd = EMFILE;
	CHECK(disk_queue_open(disk, &options) == NULL);
	CHECK_EQUAL(errno, EMFILE);
	refusals.eventfd = 0;
	refusals.reopen = EACCES;
	CHECK(disk_queue_open(disk, &options) == NULL);
	CHECK_EQUAL(errno, EACCES);
	refusals.reopen = 0;
	CHECK_EQUAL(disk->references, 1);
	disk_unref(disk);
	/* The ring was there when the disk was opened. */
	disk = try_open(DISK_ONLY_RING, &error);
	CHECK(disk != NULL);
	refusals.setup = ENOMEM;
	CHECK(disk_queue_open(disk, &options) == NULL);
	CHECK_EQUAL(errno, ENOMEM);
	refusals.setup = 0;
	disk_unref(disk);
	/* Not asked for: the pool does it, and the reason is kept. */
	disk = try_open(DISK_CHOOSE, &error);
	CHECK(disk != NULL && disk->engine == DISK_RING);
	refusals.setup = ENOMEM;
	check_works(disk);
	refusals.setup = 0;
	CHECK(disk->engine == DISK_POOL && disk->refusal == ENOMEM);
	CHECK_EQUAL(disk->references, 1);
	disk_unref(disk);
}

/* As many threads as there is work for, at once. */
static void pool_depth(void)
{
	struct disk *disk = store_open(POOL, SIZE);
	struct disk_queue *queue = store_queue(disk, POOL, 8, NULL, 0);
	uint8_t *memory = pages(8 * 4096);
	struct waiting waiting[8];

	faults_plan(FAULT_NONE, 0);
	faults_pause(true);
	for (unsigned i = 0; i < 8; i++)
		put_waiting(queue, &waiting[i], io_at(DISK_READ, i * 4096, 4096, memory + i * 4096));
	disk_queue_turn(queue, false);
	/* Each of the eight calls is made while the others are kept from returning. */
	for (unsigned i = 0; i < LONG_MS && faults_completions() < 8; i++)
		usleep(1000);
	CHECK_EQUAL(faults_completions(), 8);
	faults_pause(false);
	for (unsigned i = 0; i < 8; i++)
		CHECK(turn_until(queue, &waiting[i], LONG_MS) && waiting[i].io.error == 0);
	CHECK(disk_queue_close(queue, LONG_MS));
	disk_unref(disk);
	free(memory);
}

/* Asked of the kernel, which may be too old to say. */
static void page_cache(void)
{
	struct disk *disk = store_open(POOL, SIZE);
	uint8_t *memory = pages(SIZE);

	CHECK(pwrite(disk->cached, memory, SIZE, 0) == SIZE);
	refusals.cachestat = ENOSYS;
	CHECK_EQUAL(disk_caches(disk->cached, 0, 4096), DISK_UNTOLD);
	refusals.cachestat = 0;
	if (disk_caches(disk->cached, 0, 4096) != DISK_UNTOLD) {
		CHECK_EQUAL(disk_caches(disk->cached, 0, SIZE), DISK_CACHED);
		CHECK_EQUAL(disk_caches(disk->cached, 512, 4096), DISK_CACHED);
		CHECK_EQUAL(disk_caches(disk->cached, 4096, SIZE), DISK_UNCACHED);
		CHECK_EQUAL(disk_caches(disk->cached, SIZE - 512, 1024), DISK_UNCACHED);
	}
	disk_unref(disk);
	free(memory);
}

const struct test_case edge_cases[] = {
	{ "what lies past the end of a truncated file is an error, and no write makes it longer", truncated },
	{ "a punched range reads as zeros and takes no space", punched },
	{ "poll wakes for the rest of a short write", polled },
	{ "one request that is alone can be watched for", watched },
	{ "a kernel that refuses io_uring gets the pool, with the reason kept", ring_refused },
	{ "a kernel that refuses submissions gets the pool, a signal does not", submission_refused },
	{ "what a ring does not take ends with EIO", refused_later },
	{ "writes that hang leave threads of the pool to others", pool_writes_hang },
	{ "writes that hang leave room of a ring to others", ring_writes_hang },
	{ "a queue works without registered files and memory", registration_refused },
	{ "a pool works with one thread, and says why it cannot open", pool_refused },
	{ "a pool starts as many threads as there is work for", pool_depth },
	{ "disk_caches says what the page cache has", page_cache },
	{ NULL, NULL },
};
