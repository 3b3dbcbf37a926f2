/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to a ublk device that have no key for a while: locked, in a quiet range, with an enclave that was lost. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/fake_ublk.h"
#include "addon/test/disk/store.h"
#include "addon/test/disk/ublk_bench.h"

static void held_while_locked(void)
{
	uint8_t *data = pages(SECTOR);
	uint16_t write, zeroes, read;
	struct ublk_bench bench;

	ublk_bench_open(&bench);
	ublk_server_set_mode(bench.server, UBLK_HOLD);
	volume_key_clear(bench.volume->key);
	fake_ublk_copied();
	ublk_bench_fill(data, SECTOR, 7);
	write = fake_ublk_ask(0, UBLK_OP_WRITE, 0, SECTOR, data);
	zeroes = fake_ublk_ask(0, UBLK_OP_WRITE_ZEROES, SECTOR, SECTOR, NULL);
	read = fake_ublk_ask(1, UBLK_OP_READ, 2 * SECTOR, SECTOR, NULL);
	ublk_bench_wait_held(&bench, 3);
	/* What needs no key does not wait. */
	CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_FLUSH, 0, 0, NULL), 0);
	CHECK(!fake_ublk_committed(0, write) && !fake_ublk_committed(0, zeroes) && !fake_ublk_committed(1, read));
	/* Its data is still the kernel's alone. */
	CHECK_EQUAL(fake_ublk_copied(), 0);
	CHECK_EQUAL(bench.starved, 0);
	volume_key_set(bench.volume->key, bench.enclave, HANDLE);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(fake_ublk_result(0, write), SECTOR);
	CHECK_EQUAL(fake_ublk_result(0, zeroes), SECTOR);
	CHECK_EQUAL(fake_ublk_result(1, read), SECTOR);
	CHECK_EQUAL(ublk_server_counters(bench.server).held, 0);
	ublk_bench_check(&bench, 0, SECTOR, 7);
	ublk_bench_close(&bench);
	free(data);
}

static void wait_quiet(struct quiet *quiet)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < 30000 && !quiet_reached(quiet); i++)
		nanosleep(&pause, NULL);
	CHECK(quiet_reached(quiet));
}

/* Nobody is told that a key is missing: who has made it quiet wakes the threads. */
static void held_while_quiet(void)
{
	uint8_t *data = pages(SECTOR);
	uint16_t write, read, across, discard;
	struct ublk_bench bench;

	ublk_bench_open(&bench);
	CHECK_EQUAL(ublk_bench_write(0, 0, 0, 8 * SECTOR, 1), 8 * SECTOR);
	CHECK(quiet_set(&bench.volume->quiet, 2 * SECTOR, 4 * SECTOR));
	wait_quiet(&bench.volume->quiet);
	fake_ublk_copied();
	ublk_bench_fill(data, SECTOR, 7);
	write = fake_ublk_ask(0, UBLK_OP_WRITE, 3 * SECTOR, SECTOR, data);
	read = fake_ublk_ask(1, UBLK_OP_READ, 2 * SECTOR, SECTOR, NULL);
	across = fake_ublk_ask(1, UBLK_OP_READ, SECTOR, 4 * SECTOR, NULL);
	discard = fake_ublk_ask(0, UBLK_OP_DISCARD, 2 * SECTOR, SECTOR, NULL);
	ublk_bench_wait_held(&bench, 4);
	/* All others go on, up to its ends. */
	CHECK_EQUAL(ublk_bench_write(0, 0, SECTOR, SECTOR, 2), SECTOR);
	CHECK_EQUAL(ublk_bench_write(1, 0, 4 * SECTOR, SECTOR, 3), SECTOR);
	CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_DISCARD, 4 * SECTOR, SECTOR, NULL), 0);
	CHECK_EQUAL(ublk_bench_ask(1, UBLK_OP_FLUSH, 0, 0, NULL), 0);
	CHECK(!fake_ublk_committed(0, write) && !fake_ublk_committed(1, read) && !fake_ublk_committed(1, across) &&
	      !fake_ublk_committed(0, discard));
	CHECK_EQUAL(bench.starved, 0);
	/* Tried in between, they wait again. */
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	ublk_bench_wait_held(&bench, 4);
	quiet_clear(&bench.volume->quiet);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(fake_ublk_result(0, write), SECTOR);
	CHECK_EQUAL(fake_ublk_result(1, read), SECTOR);
	CHECK_EQUAL(fake_ublk_result(1, across), 4 * SECTOR);
	CHECK_EQUAL(fake_ublk_result(0, discard), 0);
	ublk_bench_check(&bench, 3 * SECTOR, SECTOR, 7);
	ublk_bench_check(&bench, SECTOR, SECTOR, 2);
	CHECK(quiet_set(&bench.volume->quiet, 0, SECTOR));
	wait_quiet(&bench.volume->quiet);
	quiet_clear(&bench.volume->quiet);
	ublk_bench_close(&bench);
	free(data);
}

static void failed_after_grace(void)
{
	struct ublk_bench bench;
	uint16_t tag;

	ublk_bench_open(&bench);
	ublk_server_set_mode(bench.server, UBLK_HOLD);
	tag = fake_ublk_ask(0, UBLK_OP_READ, 0, SECTOR, NULL);
	ublk_bench_wait_held(&bench, 1);
	ublk_server_set_mode(bench.server, UBLK_FAIL);
	CHECK_EQUAL(fake_ublk_result(0, tag), -EIO);
	CHECK_EQUAL(ublk_bench_write(1, 0, 0, SECTOR, 1), -EIO);
	CHECK_EQUAL(ublk_bench_ask(1, UBLK_OP_FLUSH, 0, 0, NULL), 0);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(ublk_bench_write(1, 0, 0, SECTOR, 1), SECTOR);
	ublk_bench_close(&bench);
}

/* A request finds no key before its owner knows: it is told once, and goes on with the next key. */
static void enclave_lost(void)
{
	uint8_t *data = pages(2 * SECTOR);
	uint16_t read, write;
	struct ublk_bench bench;

	ublk_bench_open(&bench);
	CHECK_EQUAL(ublk_bench_write(0, 0, 0, SECTOR, 1), SECTOR);
	fake_enclave_kill(bench.enclave);
	ublk_bench_fill(data, 2 * SECTOR, 2);
	read = fake_ublk_ask(0, UBLK_OP_READ, 0, SECTOR, NULL);
	ublk_bench_wait(&bench, &bench.starved, 1);
	write = fake_ublk_ask(0, UBLK_OP_WRITE, SECTOR, 2 * SECTOR, data);
	ublk_bench_wait_held(&bench, 2);
	CHECK_EQUAL(bench.starved, 1);
	fake_enclave_plan(bench.enclave, 0, TRESOR_OK, 0);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(fake_ublk_result(0, read), SECTOR);
	CHECK_EQUAL(fake_ublk_result(0, write), 2 * SECTOR);
	ublk_bench_check(&bench, SECTOR, 2 * SECTOR, 2);
	ublk_bench_close(&bench);
	free(data);
}

/* It dies while it encrypts in place: the kernel still has the plaintext. */
static void enclave_lost_inside(void)
{
	uint8_t *data = pages(2 * SECTOR);
	struct ublk_bench bench;
	uint16_t write;

	ublk_bench_open(&bench);
	ublk_bench_fill(data, 2 * SECTOR, 9);
	fake_enclave_plan(bench.enclave, 0, TRESOR_ENTER_LOST, 1);
	write = fake_ublk_ask(0, UBLK_OP_WRITE, 0, 2 * SECTOR, data);
	ublk_bench_wait(&bench, &bench.starved, 1);
	CHECK(!fake_ublk_committed(0, write));
	fake_enclave_plan(bench.enclave, 0, TRESOR_OK, 0);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(fake_ublk_result(0, write), 2 * SECTOR);
	ublk_bench_check(&bench, 0, 2 * SECTOR, 9);
	/* One that refuses is asked once more, and then it is an error. */
	fake_enclave_plan(bench.enclave, 0, TRESOR_E_REQUEST, 0);
	write = fake_ublk_ask(0, UBLK_OP_WRITE, 0, 2 * SECTOR, data);
	ublk_bench_wait(&bench, &bench.starved, 2);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(fake_ublk_result(0, write), -EIO);
	CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_READ, 0, SECTOR, NULL), -EIO);
	ublk_bench_close(&bench);
	free(data);
}

const struct test_case ublk_key_cases[] = {
	{ "ublk: requests wait for the key while the volume is locked, and their data stay in the kernel",
	  held_while_locked },
	{ "ublk: requests on a quiet range wait for it, and all others go on", held_while_quiet },
	{ "ublk: requests end with EIO once no key came in time", failed_after_grace },
	{ "ublk: a lost enclave is told once, and requests go on with the next", enclave_lost },
	{ "ublk: a write whose enclave died inside is encrypted again", enclave_lost_inside },
	{ NULL, NULL },
};
