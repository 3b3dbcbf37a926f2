/* SPDX-License-Identifier: Apache-2.0 */
/* Plaintext requests: the model once more, batches for the enclave, bounds, and a close. */
#include <errno.h>
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
	struct bench_request *requests = calloc(300, sizeof(*requests));
	struct iovec pieces[PLAIN_PIECES];

	bench_open(&bench, RING, 512, false, 0);
	for (unsigned i = 0; i < 300; i++)
		bench_put(&bench, &requests[i], bench_io(PLAIN_WRITE, i * 512, 512, memory + i * 4096));
	plain_queue_turn(bench.queue, false);
	CHECK_EQUAL(fake_enclave_entries(bench.enclave), 2);
	CHECK_EQUAL(fake_enclave_most_ranges(bench.enclave), TRESOR_RANGES);
	for (unsigned i = 0; i < 300; i++)
		bench_wait(&bench, &requests[i]);
	/* 64 ranges each: four requests an entry. */
	fake_enclave_plan(bench.enclave, 0, TRESOR_OK, 0);
	for (unsigned i = 0; i < PLAIN_PIECES; i++)
		pieces[i] = (struct iovec){ memory + i * 512, 512 };
	for (unsigned i = 0; i < 10; i++) {
		struct plain_io io = bench_io(PLAIN_WRITE, i * 32768, 32768, memory + (i + 1) * 32768);

		io.pieces = pieces;
		io.count = PLAIN_PIECES;
		bench_put(&bench, &requests[i], io);
	}
	plain_queue_turn(bench.queue, false);
	CHECK_EQUAL(fake_enclave_entries(bench.enclave), 3);
	CHECK_EQUAL(fake_enclave_most_ranges(bench.enclave), TRESOR_RANGES);
	for (unsigned i = 0; i < 10; i++) {
		bench_wait(&bench, &requests[i]);
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
	struct bench_request requests[43];
	struct bench bench;

	bench_open(&bench, RING, 4096, false, 0);
	plain_queue_divide(bench.queue, large);
	CHECK(pwrite(bench.volume.disk->cached, memory, 3 * large, BENCH_START) == 3 * large);
	refusals.cached = true;
	for (unsigned i = 0; i < 3; i++)
		bench_put(&bench, &requests[i], bench_io(PLAIN_READ, i * large, large, memory + i * large));
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQUAL(plain_queue_turn(bench.queue, false), i < 2);
		CHECK_EQUAL(fake_enclave_entries(bench.enclave), i + 1);
		for (unsigned each = 0; each < 3; each++)
			CHECK_EQUAL(requests[each].told, each <= i);
	}
	for (unsigned i = 3; i < 43; i++)
		bench_put(&bench, &requests[i],
			  bench_io(PLAIN_READ, i * small, small, memory + 3 * large + (i - 3) * small));
	CHECK(plain_queue_turn(bench.queue, false));
	CHECK(requests[3 + 31].told == 1 && requests[3 + 32].told == 0);
	/* A close leaves none behind. */
	refusals = (struct refusals){ 0 };
	bench_close(&bench);
	for (unsigned i = 3; i < 43; i++)
		CHECK(requests[i].told == 1 && requests[i].io.error == 0);
	free(memory);
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
			CHECK_EQUAL(bench_carry(&bench, bench_io(op, wrong[i].offset, wrong[i].length, memory), NULL),
				    EINVAL);
	}
	for (unsigned i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		struct plain_io io = bench_io(PLAIN_WRITE, 0, 8192, memory);

		check_run("pieces %u", i);
		pieces[0] = (struct iovec){ memory, cuts[i].first };
		pieces[1] = (struct iovec){ memory, cuts[i].second };
		io.pieces = pieces;
		io.count = cuts[i].count;
		CHECK_EQUAL(bench_carry(&bench, io, NULL), EINVAL);
	}
	{
		struct plain_io io = bench_io(PLAIN_READ, 0, 4096 * (PLAIN_PIECES + 1), memory);

		for (unsigned i = 0; i <= PLAIN_PIECES; i++)
			pieces[i] = (struct iovec){ memory, 4096 };
		io.pieces = pieces;
		io.count = PLAIN_PIECES + 1;
		CHECK_EQUAL(bench_carry(&bench, io, NULL), EINVAL);
	}
	CHECK_EQUAL(fake_enclave_entries(bench.enclave), 0);
	CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_WRITE, BENCH_SIZE - 4096, 4096, memory), NULL), 0);
	bench.volume.size += 4096;
	CHECK(ftruncate(bench.volume.disk->cached, BENCH_START + BENCH_SIZE + 4096) == 0);
	CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_WRITE, BENCH_SIZE, 4096, memory), NULL), 0);
	bench.volume.read_only = true;
	CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_WRITE, 0, 4096, memory), NULL), EROFS);
	CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_READ, 0, 4096, memory), NULL), 0);
	bench_close(&bench);
	free(memory);
}

/* Never freed: the queue that is given up stays, with what the device holds. */
static struct stuck {
	struct bench bench;
	struct bench_request requests[6];
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
		CHECK_EQUAL(bench_carry(&each->bench, bench_io(PLAIN_WRITE, 0, 4096, each->memory), NULL), 0);
		refusals.uncached = true;
		faults_plan(FAULT_NEVER, 0);
		bench_put(&each->bench, &each->requests[0], bench_io(PLAIN_READ, 4096, 4096, each->memory + 4096));
		plain_queue_turn(each->bench.queue, false);
		while (faults_held() < 1) {
			plain_queue_turn(each->bench.queue, false);
			usleep(1000);
		}
		bench_put(&each->bench, &each->requests[1], bench_io(PLAIN_READ, 0, 4096, each->memory + 8192));
		bench_put(&each->bench, &each->requests[2], bench_io(PLAIN_WRITE, 8192, 4096, each->memory + 12288));
		bench_put(&each->bench, &each->requests[3], bench_io(PLAIN_FLUSH, 0, 0, NULL));
		CHECK(!plain_queue_close(each->bench.queue, 1000));
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

const struct test_case plain_cases[] = {
	{ "reads, writes and flushes agree with the model, with and without faults", model },
	{ "requests enter the enclave in batches of 256 ranges", batches },
	{ "reads are told piece by piece", pieces_of_reads },
	{ "requests outside of the volume are refused", bounds },
	{ "a close tells all but what a hung device holds", closed },
	{ NULL, NULL },
};
