/* SPDX-License-Identifier: Apache-2.0 */
/* Plaintext requests and the page cache: what is read from there, and when a write may go there at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon/disk/plain.h"
#include "addon/test/disk/check.h"
#include "addon/test/disk/faults.h"
#include "addon/test/disk/plain_bench.h"
#include "addon/test/disk/store.h"

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
		CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_READ, 4096, 4096, memory), NULL), 0);
		CHECK_EQUAL(faults_cached_reads(), states[state].looks);
		CHECK_EQUAL(faults_completions(), states[state].reads);
		/* It said so of pages that are not there any more: the disk is asked. */
		if (states[state].cached && !states[state].direct) {
			CHECK(ftruncate(bench.volume.disk->cached, BENCH_START + 4096) == 0);
			CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_READ, 0, 8192, memory), NULL), EIO);
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
		CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_READ, 0, 4096, memory), NULL), 0);
	CHECK(faults_cached_reads() == 1024 && faults_completions() == 0);
	/* The call would be wrong about it. */
	refusals.uncached = true;
	CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_READ, 0, 4096, memory), NULL), 0);
	CHECK(faults_cached_reads() == 1025 && faults_completions() == 0);
	CHECK(ftruncate(bench.volume.disk->cached, BENCH_START) == 0);
	CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_READ, 0, 4096, memory), NULL), EIO);
	CHECK(faults_cached_reads() == 1026 && faults_completions() > 0);
	CHECK(ftruncate(bench.volume.disk->cached, BENCH_START + BENCH_SIZE) == 0);
	CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_READ, 0, 4096, memory), NULL), 0);
	CHECK_EQUAL(faults_cached_reads(), 1026);
	refusals = (struct refusals){ 0 };
	bench_close(&bench);
	free(memory);
}

/* The longest pause of a thread that has waited, and more. */
#define PAUSE_US	1100000

/* Writes that do not wait follow each other; on a busy machine one may have waited, and then others have their turn. */
static void patient(struct bench *bench, struct plain_io io)
{
	for (unsigned tries = 0; tries < 20; tries++) {
		const unsigned before = faults_cached_writes();

		CHECK_EQUAL(bench_carry(bench, io, NULL), 0);
		CHECK_EQUAL(bench_carry(bench, io, NULL), 0);
		if (faults_cached_writes() == before + 2)
			return;
		usleep(PAUSE_US);
	}
	CHECK(!"fast writes pause");
}

/* A write to the page cache that made the thread wait is followed by writes that do not. */
static void patience(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct bench bench;
		uint8_t *memory = pages(8192);
		struct plain_io io = bench_io(PLAIN_WRITE, 0, 4096, memory);
		struct bench_request together[2];
		unsigned writes;

		bench_open(&bench, engine, 512, false, 0);
		/* 20 times as long: the next one is far within. */
		faults_slow_writes(50);
		CHECK_EQUAL(bench_carry(&bench, io, NULL), 0);
		CHECK(faults_cached_writes() == 1 && faults_completions() == 0);
		CHECK_EQUAL(bench_carry(&bench, io, NULL), 0);
		CHECK(faults_cached_writes() == 1 && faults_completions() == 1);
		usleep(PAUSE_US);
		/* Of two that are encrypted together, the first one waits. */
		bench_put(&bench, &together[0], io);
		bench_put(&bench, &together[1], bench_io(PLAIN_WRITE, 4096, 4096, memory + 4096));
		bench_wait(&bench, &together[0]);
		bench_wait(&bench, &together[1]);
		CHECK(together[0].io.error == 0 && together[1].io.error == 0);
		CHECK(faults_cached_writes() == 2 && faults_completions() == 2);
		faults_slow_writes(0);
		usleep(PAUSE_US);
		patient(&bench, io);
		/* Durable ones never; and none on a disk that has failed, or past the end of its file. */
		writes = faults_cached_writes();
		io.fua = true;
		CHECK_EQUAL(bench_carry(&bench, io, NULL), 0);
		io.fua = false;
		CHECK(ftruncate(bench.volume.disk->cached, BENCH_START) == 0);
		CHECK_EQUAL(bench_carry(&bench, io, NULL), EIO);
		bench.volume.disk->failed = EIO;
		CHECK_EQUAL(bench_carry(&bench, io, NULL), EIO);
		CHECK_EQUAL(faults_cached_writes(), writes);
		bench_close(&bench);
		free(memory);
	}
}

const struct test_case page_cache_cases[] = {
	{ "reads take from the page cache what it has", page_cache },
	{ "reads ask what the page cache has after a miss only", looks },
	{ "writes leave the page cache to others after one has waited", patience },
	{ NULL, NULL },
};
