/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes: the model over several threads, faults at every call, keys that go, closes with requests under way. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/fake_enclave.h"
#include "addon/test/disk/model.h"
#include "addon/test/disk/plain_bench.h"

#define LONG_MS	30000
#define REQUESTS	24u

static void model(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++)
		for (unsigned i = 0; i < 8; i++)
			plain_model(&(struct plain_model){
				.engine = engine,
				.sector_size = i % 2 ? 4096 : 512,
				.direct = i / 2 % 2,
				.lanes = 1 + i % 3,
				.seed = i + 1,
				.operations = 300,
				.every = i < 4 ? 0 : 5,
				.most = i < 6 ? 0 : 6,
			});
}

/* In which thread the call of that number is, is chance. */
static void faults_at_calls(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++)
		for (enum fault fault = FAULT_ENTER_FIRST; fault < FAULT_NEVER; fault++)
			for (unsigned at = 0; at < 24 && !(engine == POOL && fault < FAULT_END_FIRST); at += 3)
				plain_model(&(struct plain_model){
					.engine = engine,
					.sector_size = 512,
					.direct = at % 2,
					.lanes = 2,
					.seed = at + 1,
					.operations = 30,
					.fault = fault,
					.at = at,
				});
}

static void keys(void)
{
	unsigned keyless = 0;

	for (enum engine_kind engine = 0; engine < ENGINES; engine++)
		for (unsigned i = 0; i < 6; i++)
			keyless += plain_model(&(struct plain_model){
				.engine = engine,
				.sector_size = 4096,
				.direct = i % 2,
				.lanes = 2,
				.seed = i + 1,
				.operations = 300,
				.key_goes = true,
			});
	CHECK(keyless > 0);
}

static struct plain_io io_of(enum plain_op op, unsigned i, uint8_t *memory)
{
	return (struct plain_io){ .op = op, .offset = i * 4096, .length = 4096, .ciphertext = memory + i * 4096 };
}

static unsigned count(const struct lane_io *io)
{
	unsigned all = 0;

	for (; io != NULL; io = io->next)
		all++;
	return all;
}

/* Which no lanes_go has told of either. */
static void close_carries_out(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct lane_io each[REQUESTS] = { 0 }, *rest;
		uint8_t *memory = pages(REQUESTS * 4096), *store = pages(REQUESTS * 4096);
		struct bench bench;

		bench_open(&bench, engine, 4096, true, 2);
		for (unsigned i = 0; i < REQUESTS; i++) {
			model_fill(memory + i * 4096, i * 4096, 4096, i + 1);
			each[i].io = io_of(PLAIN_WRITE, i, memory);
			lanes_put(bench.lanes, &each[i]);
		}
		CHECK_EQUAL(lanes_pending(bench.lanes), REQUESTS);
		lanes_end(bench.lanes, LONG_MS);
		CHECK(lanes_close(bench.lanes, &rest));
		CHECK_EQUAL(count(rest), REQUESTS);
		CHECK(pread(bench.volume.disk->cached, store, REQUESTS * 4096, BENCH_START) == REQUESTS * 4096);
		for (unsigned i = 0; i < REQUESTS; i++) {
			uint8_t plaintext[4096];

			CHECK_EQUAL(each[i].io.error, 0);
			model_fill(plaintext, i * 4096, 4096, i + 1);
			fake_cipher(store + i * 4096, store + i * 4096, i * 8, 4096);
			CHECK(memcmp(store + i * 4096, plaintext, 4096) == 0);
		}
		CHECK_EQUAL(bench.volume.references, 1);
		disk_unref(bench.volume.disk);
		volume_key_unref(bench.volume.key);
		tresor_enclave_unref(bench.enclave);
		CHECK_EQUAL(fake_enclaves_alive(), 0);
		free(memory);
		free(store);
	}
}

/* Never freed: what a device holds stays. */
static struct stuck {
	struct bench bench;
	struct lane_io each[REQUESTS];
	uint8_t *memory;
} stuck[ENGINES];

static void close_gives_up(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct stuck *here = &stuck[engine];
		struct lane_io *rest;
		unsigned told = 0, held;

		here->memory = pages(REQUESTS * 4096);
		bench_open(&here->bench, engine, 4096, true, 2);
		faults_always(FAULT_NEVER, DISK_READ);
		for (unsigned i = 0; i < REQUESTS; i++) {
			here->each[i].io = io_of(i % 2 ? PLAIN_READ : PLAIN_WRITE, i, here->memory);
			lanes_put(here->bench.lanes, &here->each[i]);
		}
		lanes_go(here->bench.lanes);
		while (faults_held() == 0)
			usleep(1000);
		lanes_end(here->bench.lanes, 200);
		CHECK(!lanes_close(here->bench.lanes, &rest));
		for (const struct lane_io *io = rest; io != NULL; io = io->next, told++)
			CHECK(io->io.op == PLAIN_WRITE ? io->io.error == 0 || io->io.error == EIO :
							 io->io.error == EIO);
		held = here->bench.volume.disk->stranded;
		CHECK(held > 0 && told + held == REQUESTS);
		faults_stop();
		faults_release();
		volume_key_clear(here->bench.volume.key);
		tresor_enclave_unref(here->bench.enclave);
		CHECK_EQUAL(fake_enclaves_alive(), 0);
	}
}

/* What dies with the enclave is told as by a queue; the next enclave serves the rest. */
static void lost(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct lane_io each[REQUESTS] = { 0 };
		uint8_t *memory = pages(REQUESTS * 4096);
		struct bench bench;

		bench_open(&bench, engine, 4096, true, 2);
		fake_enclave_plan(bench.enclave, 1, TRESOR_ENTER_LOST, 0);
		for (unsigned round = 0; round < 2; round++) {
			unsigned without = 0;

			for (unsigned i = 0; i < REQUESTS; i++) {
				each[i].io = io_of(PLAIN_READ, i, memory);
				lanes_put(bench.lanes, &each[i]);
				/* One by one, so that there is more than one entry. */
				lanes_go(bench.lanes);
				while (i < 2 && lanes_take(bench.lanes) == NULL)
					usleep(100);
			}
			while (lanes_pending(bench.lanes) > 0 && (lanes_take(bench.lanes) != NULL || usleep(100) == 0))
				;
			for (unsigned i = 0; i < REQUESTS; i++) {
				CHECK(each[i].io.error == 0 || each[i].io.error == ENOKEY);
				without += each[i].io.error == ENOKEY;
			}
			CHECK_EQUAL(without, round == 0 ? REQUESTS - 1 : 0);
			fake_enclave_plan(bench.enclave, 0, TRESOR_OK, 0);
		}
		bench_close(&bench);
		free(memory);
	}
}

/* By bytes under way. */
static void spread(void)
{
	static const uint32_t lengths[] = { 65536, 4096, 4096, 4096, 65536, 4096 };
	static const unsigned expected[] = { 0, 1, 2, 1, 2, 1 };
	struct lane_io each[6] = { 0 }, *rest;
	const struct lane *lanes[3] = { NULL };
	uint8_t *memory = pages(6 * 65536);
	struct bench bench;

	bench_open(&bench, RING, 4096, true, 3);
	for (unsigned i = 0; i < 6; i++) {
		uint8_t *own = memory + (size_t)i * 65536;

		each[i].io = (struct plain_io){ .op = PLAIN_READ, .length = lengths[i], .ciphertext = own };
		lanes_put(bench.lanes, &each[i]);
		if (lanes[expected[i]] == NULL)
			lanes[expected[i]] = each[i].lane;
		CHECK(each[i].lane == lanes[expected[i]]);
	}
	CHECK(lanes[0] != lanes[1] && lanes[1] != lanes[2] && lanes[0] != lanes[2]);
	lanes_end(bench.lanes, LONG_MS);
	CHECK(lanes_close(bench.lanes, &rest) && count(rest) == 6);
	disk_unref(bench.volume.disk);
	volume_key_unref(bench.volume.key);
	tresor_enclave_unref(bench.enclave);
	free(memory);
}

static void refused(void)
{
	const struct disk_queue_options options = { .entries = 8 };
	struct bench bench;
	static const struct refusals causes[] = {
		{ .thread = EAGAIN }, { .thread = EAGAIN, .threads = 1 }, { .eventfd = EMFILE }, { .reopen = ENFILE }
	};

	bench_open(&bench, RING, 4096, true, 0);
	for (unsigned i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
		check_run("cause %u", i);
		refusals = causes[i];
		CHECK(lanes_open(&bench.volume, &options, 2, LANES_LEAVE_WRITES) == NULL);
		CHECK(errno == EAGAIN || errno == EMFILE || errno == ENFILE);
		refusals = (struct refusals){ 0 };
		CHECK_EQUAL(bench.volume.references, 2);
	}
	bench_close(&bench);
}

const struct test_case lane_cases[] = {
	{ "lanes agree with the model, with and without faults", model },
	{ "lanes: a fault at every call is told to whom it meets", faults_at_calls },
	{ "lanes: what finds no key has done nothing", keys },
	{ "lanes: a close carries out what was put", close_carries_out },
	{ "lanes: a close gives up on a hung device after its time", close_gives_up },
	{ "lanes: a lost enclave is told to what waits for it", lost },
	{ "lanes share bytes", spread },
	{ "lanes do not open without their threads and queues", refused },
	{ NULL, NULL },
};
