/* SPDX-License-Identifier: Apache-2.0 */
/* Plaintext requests: batches for the enclave, keys that are not there, the page cache, and the model once more. */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon/disk/plain.h"
#include "addon/test/disk/check.h"
#include "addon/test/disk/fake_enclave.h"
#include "addon/test/disk/faults.h"
#include "addon/test/disk/model.h"
#include "addon/test/disk/plain_bench.h"
#include "addon/test/disk/store.h"

#define LONG_MS	30000

struct request {
	struct plain_io io;
	unsigned told;
};

static void tell(struct plain_io *io)
{
	((struct request *)(void *)io)->told++;
}

static void put(struct bench *bench, struct request *request, struct plain_io io)
{
	*request = (struct request){ .io = io };
	request->io.done = tell;
	plain_queue_put(bench->queue, &request->io);
}

static void wait_for(struct bench *bench, const struct request *request)
{
	for (unsigned i = 0; request->told == 0; i++) {
		struct pollfd event = { .fd = disk_queue_fd(plain_queue_disk(bench->queue)), .events = POLLIN };
		const bool due = plain_queue_turn(bench->queue, false);

		if (request->told == 0 && !due)
			CHECK_EQUAL(poll(&event, 1, LONG_MS), 1);
	}
	CHECK_EQUAL(request->told, 1);
}

static int carry_plain(struct bench *bench, struct plain_io io, bool *encrypted)
{
	struct request request;

	put(bench, &request, io);
	wait_for(bench, &request);
	if (encrypted != NULL)
		*encrypted = request.io.encrypted;
	return request.io.error;
}

static struct plain_io plain_io(enum plain_op op, uint64_t offset, uint32_t length, uint8_t *memory)
{
	return (struct plain_io){ .op = op, .offset = offset, .length = length, .ciphertext = memory };
}

static void model(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++)
		for (unsigned i = 0; i < 8; i++)
			plain_model(&(struct plain_model){
				.engine = engine,
				.sector_size = i % 2 ? 4096 : 512,
				.direct = i / 2 % 2,
				.seed = i + 1,
				.operations = 300,
				.every = i < 4 ? 0 : 5,
				.most = i < 6 ? 0 : 6,
			});
}

/* What was put before a turn is encrypted in as few entries as the enclave's limit allows. */
static void batches(void)
{
	struct bench bench;
	uint8_t *memory = pages(300 * 4096);
	struct request *requests = calloc(300, sizeof(*requests));
	struct iovec pieces[PLAIN_PIECES];

	bench_open(&bench, RING, 512, false, 0);
	for (unsigned i = 0; i < 300; i++)
		put(&bench, &requests[i], plain_io(PLAIN_WRITE, i * 512, 512, memory + i * 4096));
	plain_queue_turn(bench.queue, false);
	CHECK_EQUAL(fake_enclave_entries(bench.enclave), 2);
	CHECK_EQUAL(fake_enclave_most_ranges(bench.enclave), TRESOR_RANGES);
	for (unsigned i = 0; i < 300; i++)
		wait_for(&bench, &requests[i]);
	/* 64 ranges each: four requests an entry. */
	fake_enclave_plan(bench.enclave, 0, TRESOR_OK, 0);
	for (unsigned i = 0; i < PLAIN_PIECES; i++)
		pieces[i] = (struct iovec){ memory + i * 512, 512 };
	for (unsigned i = 0; i < 10; i++) {
		struct plain_io io = plain_io(PLAIN_WRITE, i * 32768, 32768, memory + (i + 1) * 32768);

		io.pieces = pieces;
		io.count = PLAIN_PIECES;
		put(&bench, &requests[i], io);
	}
	plain_queue_turn(bench.queue, false);
	CHECK_EQUAL(fake_enclave_entries(bench.enclave), 3);
	CHECK_EQUAL(fake_enclave_most_ranges(bench.enclave), TRESOR_RANGES);
	for (unsigned i = 0; i < 10; i++) {
		wait_for(&bench, &requests[i]);
		CHECK_EQUAL(requests[i].io.error, 0);
	}
	bench_close(&bench);
	free(requests);
	free(memory);
}

/* What has been read is told piece by piece: who is told asks for more, while the rest is decrypted. */
static void pieces_of_reads(void)
{
	const uint32_t large = 128 * 1024, small = 4096;
	uint8_t *memory = pages(3 * large + 40 * small);
	struct request requests[43];
	struct bench bench;

	bench_open(&bench, RING, 4096, false, 0);
	plain_queue_divide(bench.queue, large);
	CHECK(pwrite(bench.volume.disk->cached, memory, 3 * large, BENCH_START) == 3 * large);
	refusals.cached = true;
	for (unsigned i = 0; i < 3; i++)
		put(&bench, &requests[i], plain_io(PLAIN_READ, i * large, large, memory + i * large));
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQUAL(plain_queue_turn(bench.queue, false), i < 2);
		CHECK_EQUAL(fake_enclave_entries(bench.enclave), i + 1);
		for (unsigned each = 0; each < 3; each++)
			CHECK_EQUAL(requests[each].told, each <= i);
	}
	for (unsigned i = 3; i < 43; i++)
		put(&bench, &requests[i], plain_io(PLAIN_READ, i * small, small, memory + 3 * large + (i - 3) * small));
	CHECK(plain_queue_turn(bench.queue, false));
	CHECK(requests[3 + 31].told == 1 && requests[3 + 32].told == 0);
	/* A close leaves none behind. */
	refusals = (struct refusals){ 0 };
	bench_close(&bench);
	for (unsigned i = 3; i < 43; i++)
		CHECK(requests[i].told == 1 && requests[i].io.error == 0);
	free(memory);
}

/* Without a key nothing is read into plaintext, nothing is written, and the same requests do later what they were to. */
static void no_key(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct bench bench;
		uint8_t *memory = pages(8192), *before = pages(4096), *store = pages(4096);
		struct plain_io write = plain_io(PLAIN_WRITE, 4096, 4096, memory);
		struct request read;
		bool encrypted = true;

		bench_open(&bench, engine, 4096, false, 0);
		model_fill(memory, 0, 4096, 1);
		memcpy(before, memory, 4096);
		volume_key_clear(bench.volume.key);
		CHECK_EQUAL(carry_plain(&bench, write, &encrypted), ENOKEY);
		CHECK(!encrypted && memcmp(memory, before, 4096) == 0);
		CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_READ, 4096, 4096, memory + 4096), NULL), ENOKEY);
		/* A flush needs none. */
		CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_FLUSH, 0, 0, NULL), NULL), 0);
		CHECK(pread(bench.volume.disk->cached, store, 4096, BENCH_START + 4096) == 4096);
		for (unsigned i = 0; i < 4096; i++)
			CHECK(store[i] == 0);
		volume_key_set(bench.volume.key, bench.enclave, BENCH_HANDLE);
		CHECK_EQUAL(carry_plain(&bench, write, &encrypted), 0);
		CHECK(encrypted);
		/* It goes while the disk reads. */
		refusals.uncached = true;
		faults_plan(FAULT_NONE, 0);
		faults_pause(true);
		put(&bench, &read, plain_io(PLAIN_READ, 4096, 4096, memory));
		plain_queue_turn(bench.queue, false);
		volume_key_clear(bench.volume.key);
		faults_pause(false);
		wait_for(&bench, &read);
		CHECK_EQUAL(read.io.error, ENOKEY);
		CHECK_EQUAL(faults_cached_reads(), 0);
		volume_key_set(bench.volume.key, bench.enclave, BENCH_HANDLE);
		CHECK_EQUAL(carry_plain(&bench, read.io, NULL), 0);
		CHECK(memcmp(memory, before, 4096) == 0);
		refusals.uncached = false;
		bench_close(&bench);
		free(memory);
		free(before);
		free(store);
	}
}

/* An enclave that dies while it encrypts: plaintext in its own memory is whole, one in place is lost. */
static void lost(void)
{
	struct bench bench;
	uint8_t *memory = pages(4 * 4096), *before = pages(4096);
	const struct iovec piece = { memory + 8192, 4096 };
	struct request in_place, in_pieces, read;
	struct plain_io io;

	bench_open(&bench, RING, 512, false, 0);
	model_fill(memory, 0, 4096, 1);
	model_fill(memory + 8192, 0, 4096, 2);
	memcpy(before, memory + 8192, 4096);
	fake_enclave_plan(bench.enclave, 0, TRESOR_ENTER_LOST, 1);
	put(&bench, &in_place, plain_io(PLAIN_WRITE, 0, 4096, memory));
	io = plain_io(PLAIN_WRITE, 8192, 4096, memory + 4096);
	io.pieces = &piece;
	io.count = 1;
	put(&bench, &in_pieces, io);
	wait_for(&bench, &in_place);
	wait_for(&bench, &in_pieces);
	CHECK(in_place.io.error == EIO && !in_place.io.encrypted);
	CHECK(in_pieces.io.error == ENOKEY && memcmp(memory + 8192, before, 4096) == 0);
	fake_enclave_plan(bench.enclave, 0, TRESOR_ENTER_LOST, 1);
	put(&bench, &read, plain_io(PLAIN_READ, 0, 4096, memory));
	wait_for(&bench, &read);
	CHECK_EQUAL(read.io.error, ENOKEY);
	/* Now it is dead before: nothing is touched. */
	model_fill(memory, 0, 4096, 1);
	memcpy(before, memory, 4096);
	CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_WRITE, 0, 4096, memory), NULL), ENOKEY);
	CHECK(memcmp(memory, before, 4096) == 0);
	fake_enclave_plan(bench.enclave, 0, TRESOR_E_REQUEST, 0);
	CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_WRITE, 0, 4096, memory), NULL), EIO);
	CHECK(memcmp(memory, before, 4096) == 0);
	fake_enclave_plan(bench.enclave, 0, TRESOR_E_HANDLE, 0);
	CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_READ, 0, 4096, memory), NULL), ENOKEY);
	CHECK_EQUAL(faults_cached_writes(), 0);
	bench_close(&bench);
	free(memory);
	free(before);
}

/* A write in place that the disk refuses has left ciphertext, says so, and can be put to the disk as it is. */
static void encrypted_in_place(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct bench bench;
		uint8_t *memory = pages(4096), *plaintext = pages(4096);
		struct plain_io io = plain_io(PLAIN_WRITE, 4096, 4096, memory);
		bool encrypted = false;

		bench_open(&bench, engine, 512, false, 0);
		io.fua = true;
		model_fill(memory, 4096, 4096, 1);
		memcpy(plaintext, memory, 4096);
		faults_always(FAULT_ENOSPC, DISK_WRITE);
		CHECK_EQUAL(carry_plain(&bench, io, &encrypted), ENOSPC);
		CHECK(encrypted && memcmp(memory, plaintext, 4096) != 0);
		faults_plan(FAULT_NONE, 0);
		CHECK_EQUAL(carry(plain_queue_disk(bench.queue), (struct disk_io){ .op = DISK_WRITE,
										   .length = 4096,
										   .offset = BENCH_START + 4096,
										   .memory = memory }),
			    0);
		CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_READ, 4096, 4096, memory), NULL), 0);
		CHECK(memcmp(memory, plaintext, 4096) == 0);
		bench_close(&bench);
		free(memory);
		free(plaintext);
	}
}

/* Hit or miss is what cachestat(2) says; where it says nothing, a look into the cache comes first. */
static void page_cache(void)
{
	static const struct {
		bool cached, uncached, direct;
		int refused;
		unsigned looks, reads;
	} states[] = {
		{ .cached = true, .looks = 1, .reads = 0 },
		{ .uncached = true, .looks = 0, .reads = 1 },
		{ .refused = ENOSYS, .looks = 1, .reads = 0 },
		{ .cached = true, .direct = true, .looks = 0, .reads = 1 },
	};

	for (unsigned i = 0; i < 2 * sizeof(states) / sizeof(states[0]); i++) {
		const unsigned state = i / 2;
		struct bench bench;
		uint8_t *memory = pages(8192);

		bench_open(&bench, i % 2 ? RING : POOL, 512, states[state].direct, 0);
		check_run("state %u, %s", state, i % 2 ? "ring" : "pool");
		CHECK(pwrite(bench.volume.disk->cached, memory, 8192, BENCH_START) == 8192);
		refusals.cached = states[state].cached;
		refusals.uncached = states[state].uncached;
		refusals.cachestat = states[state].refused;
		CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_READ, 4096, 4096, memory), NULL), 0);
		CHECK_EQUAL(faults_cached_reads(), states[state].looks);
		CHECK_EQUAL(faults_completions(), states[state].reads);
		/* It said so of pages that are not there any more: the disk is asked. */
		if (states[state].cached && !states[state].direct) {
			CHECK(ftruncate(bench.volume.disk->cached, BENCH_START + 4096) == 0);
			CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_READ, 0, 8192, memory), NULL), EIO);
			CHECK(faults_completions() > 0);
		}
		refusals = (struct refusals){ 0 };
		bench_close(&bench);
		free(memory);
	}
}

/* What the page cache has is not asked for a long time after a miss; whoever does not ask finds it there, or misses. */
static void looks(void)
{
	uint8_t *memory = pages(4096);
	struct bench bench;

	bench_open(&bench, RING, 512, false, 0);
	CHECK(pwrite(bench.volume.disk->cached, memory, 4096, BENCH_START) == 4096);
	for (unsigned i = 0; i < 1024; i++)
		CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_READ, 0, 4096, memory), NULL), 0);
	CHECK(faults_cached_reads() == 1024 && faults_completions() == 0);
	/* The call would be wrong about it. */
	refusals.uncached = true;
	CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_READ, 0, 4096, memory), NULL), 0);
	CHECK(faults_cached_reads() == 1025 && faults_completions() == 0);
	CHECK(ftruncate(bench.volume.disk->cached, BENCH_START) == 0);
	CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_READ, 0, 4096, memory), NULL), EIO);
	CHECK(faults_cached_reads() == 1026 && faults_completions() > 0);
	CHECK(ftruncate(bench.volume.disk->cached, BENCH_START + BENCH_SIZE) == 0);
	CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_READ, 0, 4096, memory), NULL), 0);
	CHECK_EQUAL(faults_cached_reads(), 1026);
	refusals = (struct refusals){ 0 };
	bench_close(&bench);
	free(memory);
}

/* A write to the page cache that made the thread wait is followed by writes that do not. */
static void patience(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct bench bench;
		uint8_t *memory = pages(8192);
		struct plain_io io = plain_io(PLAIN_WRITE, 0, 4096, memory);
		struct request together[2];

		bench_open(&bench, engine, 512, false, 0);
		CHECK_EQUAL(carry_plain(&bench, io, NULL), 0);
		CHECK(faults_cached_writes() == 1 && faults_completions() == 0);
		/* 20 times as long: the next one is far within. */
		faults_slow_writes(40);
		CHECK_EQUAL(carry_plain(&bench, io, NULL), 0);
		CHECK(faults_cached_writes() == 2 && faults_completions() == 0);
		CHECK_EQUAL(carry_plain(&bench, io, NULL), 0);
		CHECK(faults_cached_writes() == 2 && faults_completions() == 1);
		faults_slow_writes(0);
		usleep(1100000);
		CHECK_EQUAL(carry_plain(&bench, io, NULL), 0);
		CHECK_EQUAL(faults_cached_writes(), 3);
		/* Of two that are encrypted together, the first one waits. */
		faults_slow_writes(40);
		put(&bench, &together[0], io);
		put(&bench, &together[1], plain_io(PLAIN_WRITE, 4096, 4096, memory + 4096));
		wait_for(&bench, &together[0]);
		wait_for(&bench, &together[1]);
		CHECK(together[0].io.error == 0 && together[1].io.error == 0);
		CHECK(faults_cached_writes() == 4 && faults_completions() == 2);
		faults_slow_writes(0);
		usleep(1100000);
		/* Durable ones never; and none on a disk that has failed, or past the end of its file. */
		io.fua = true;
		CHECK_EQUAL(carry_plain(&bench, io, NULL), 0);
		io.fua = false;
		CHECK(ftruncate(bench.volume.disk->cached, BENCH_START) == 0);
		CHECK_EQUAL(carry_plain(&bench, io, NULL), EIO);
		bench.volume.disk->failed = EIO;
		CHECK_EQUAL(carry_plain(&bench, io, NULL), EIO);
		CHECK_EQUAL(faults_cached_writes(), 4);
		bench_close(&bench);
		free(memory);
	}
}

static void bounds(void)
{
	struct bench bench;
	uint8_t *memory = pages(8192);
	struct iovec pieces[PLAIN_PIECES + 1];
	static const struct {
		uint64_t offset;
		uint32_t length;
	} wrong[] = { { 0, 0 },
		      { 0, 512 },
		      { 512, 4096 },
		      { BENCH_SIZE, 4096 },
		      { BENCH_SIZE - 4096, 8192 },
		      { 0, 1 << 31 },
		      { UINT64_MAX - 4095, 4096 },
		      { UINT64_MAX - 8191, 8192 } };
	static const struct {
		uint32_t count, first, second;
	} cuts[] = { { 0, 0, 0 }, { 1, 4096, 0 }, { 2, 4096, 8192 }, { 2, 512, 7680 }, { 2, 8192, 0 }, { 2, 0, 8192 } };

	bench_open(&bench, RING, 4096, false, 0);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		check_run("range %u", i);
		for (enum plain_op op = PLAIN_READ; op <= PLAIN_WRITE; op++)
			CHECK_EQUAL(carry_plain(&bench, plain_io(op, wrong[i].offset, wrong[i].length, memory), NULL),
				    EINVAL);
	}
	for (unsigned i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		struct plain_io io = plain_io(PLAIN_WRITE, 0, 8192, memory);

		check_run("pieces %u", i);
		pieces[0] = (struct iovec){ memory, cuts[i].first };
		pieces[1] = (struct iovec){ memory, cuts[i].second };
		io.pieces = pieces;
		io.count = cuts[i].count;
		CHECK_EQUAL(carry_plain(&bench, io, NULL), EINVAL);
	}
	{
		struct plain_io io = plain_io(PLAIN_READ, 0, 4096 * (PLAIN_PIECES + 1), memory);

		for (unsigned i = 0; i <= PLAIN_PIECES; i++)
			pieces[i] = (struct iovec){ memory, 4096 };
		io.pieces = pieces;
		io.count = PLAIN_PIECES + 1;
		CHECK_EQUAL(carry_plain(&bench, io, NULL), EINVAL);
	}
	CHECK_EQUAL(fake_enclave_entries(bench.enclave), 0);
	CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_WRITE, BENCH_SIZE - 4096, 4096, memory), NULL), 0);
	bench.volume.size += 4096;
	CHECK(ftruncate(bench.volume.disk->cached, BENCH_START + BENCH_SIZE + 4096) == 0);
	CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_WRITE, BENCH_SIZE, 4096, memory), NULL), 0);
	bench.volume.read_only = true;
	CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_WRITE, 0, 4096, memory), NULL), EROFS);
	CHECK_EQUAL(carry_plain(&bench, plain_io(PLAIN_READ, 0, 4096, memory), NULL), 0);
	bench_close(&bench);
	free(memory);
}

/* Never freed: the queue that is given up stays, with what the device holds. */
static struct stuck {
	struct bench bench;
	struct request requests[6];
	uint8_t *memory;
} stuck[ENGINES];

/* A close tells everything that the device does not hold, decrypted. */
static void closed(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct stuck *each = &stuck[engine];
		uint8_t expected[4096];

		each->memory = pages(6 * 4096);
		bench_open(&each->bench, engine, 4096, false, 0);
		model_fill(each->memory, 0, 4096, 1);
		memcpy(expected, each->memory, 4096);
		CHECK_EQUAL(carry_plain(&each->bench, plain_io(PLAIN_WRITE, 0, 4096, each->memory), NULL), 0);
		refusals.uncached = true;
		faults_plan(FAULT_NEVER, 0);
		put(&each->bench, &each->requests[0], plain_io(PLAIN_READ, 4096, 4096, each->memory + 4096));
		plain_queue_turn(each->bench.queue, false);
		while (faults_held() < 1) {
			plain_queue_turn(each->bench.queue, false);
			usleep(1000);
		}
		put(&each->bench, &each->requests[1], plain_io(PLAIN_READ, 0, 4096, each->memory + 8192));
		put(&each->bench, &each->requests[2], plain_io(PLAIN_WRITE, 8192, 4096, each->memory + 12288));
		put(&each->bench, &each->requests[3], plain_io(PLAIN_FLUSH, 0, 0, NULL));
		CHECK(!plain_queue_close(each->bench.queue, 200));
		refusals.uncached = false;
		CHECK_EQUAL(each->requests[0].told, 0);
		for (unsigned i = 1; i < 4; i++)
			CHECK(each->requests[i].told == 1 && each->requests[i].io.error == 0);
		CHECK(memcmp(each->memory + 8192, expected, 4096) == 0);
		CHECK_EQUAL(each->bench.volume.disk->stranded, 1);
		faults_stop();
		faults_release();
		/* What stays holds references to disk and key, and so to the enclave. */
		volume_key_clear(each->bench.volume.key);
		tresor_enclave_unref(each->bench.enclave);
		CHECK_EQUAL(fake_enclaves_alive(), 0);
	}
}

/* What is under way there is waited for; one that was given up is waited for by the next. */
static void quiet_counts(void)
{
	struct quiet quiet = { 0 };
	unsigned first, second, third;

	CHECK(quiet_enter(&quiet, 0, 4096, &first));
	CHECK(quiet_set(&quiet, 0, 4096));
	CHECK(!quiet_reached(&quiet));
	CHECK(!quiet_enter(&quiet, 0, 2 * 4096, &second));
	CHECK(quiet_enter(&quiet, 4096, 4096, &second));
	CHECK(!quiet_reached(&quiet));
	quiet_clear(&quiet);
	CHECK(quiet_enter(&quiet, 0, 4096, &third));
	CHECK(!quiet_set(&quiet, 0, 4096));
	quiet_leave(&quiet, first);
	CHECK(quiet_set(&quiet, 0, 4096));
	quiet_leave(&quiet, second);
	CHECK(!quiet_reached(&quiet));
	quiet_leave(&quiet, third);
	CHECK(quiet_reached(&quiet));
}

const struct test_case plain_cases[] = {
	{ "reads, writes and flushes agree with the model, with and without faults", model },
	{ "requests enter the enclave in batches of 256 ranges", batches },
	{ "reads are told piece by piece", pieces_of_reads },
	{ "without a key nothing is read or written, and the request can be repeated", no_key },
	{ "a lost enclave leaves plaintext whole, or says that it is gone", lost },
	{ "a write in place that fails says that it is encrypted", encrypted_in_place },
	{ "reads take from the page cache what it has", page_cache },
	{ "reads ask what the page cache has after a miss only", looks },
	{ "writes leave the page cache to others after one has waited", patience },
	{ "requests outside of the volume are refused", bounds },
	{ "a range is quiet when all that was under way has ended", quiet_counts },
	{ "a close tells all but what a hung device holds", closed },
	{ NULL, NULL },
};
