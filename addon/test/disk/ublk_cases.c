/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that serve a ublk device, over a fake of the kernel's driver: data, keys that are not there, faults, ends. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/fake_enclave.h"
#include "addon/test/disk/fake_ublk.h"
#include "addon/test/disk/faults.h"
#include "addon/test/disk/store.h"
#include "addon/ublk/control.h"
#include "addon/ublk/server.h"

#define START	(1024u * 1024u)	/* of the segment in the store */
#define SIZE	(4u * 1024u * 1024u)
#define HANDLE	5u
#define SECTOR	4096u
#define QUEUES	2u
#define DEPTH	16u

struct bench {
	struct tresor_enclave *enclave;
	struct plain_volume *volume;
	struct ublk_server *server;
	pthread_mutex_t lock;
	pthread_cond_t told;
	unsigned starved, ended;
	int error;
};

static void starved(void *context)
{
	struct bench *bench = context;

	pthread_mutex_lock(&bench->lock);
	bench->starved++;
	pthread_cond_broadcast(&bench->told);
	pthread_mutex_unlock(&bench->lock);
}

static void ended(void *context, int error)
{
	struct bench *bench = context;

	pthread_mutex_lock(&bench->lock);
	bench->ended++;
	bench->error = error;
	pthread_cond_broadcast(&bench->told);
	pthread_mutex_unlock(&bench->lock);
}

static void wait_for(struct bench *bench, const unsigned *count, unsigned least)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 30;
	pthread_mutex_lock(&bench->lock);
	while (*count < least)
		CHECK_EQUAL(pthread_cond_timedwait(&bench->told, &bench->lock, &until), 0);
	pthread_mutex_unlock(&bench->lock);
}

static struct ublk_server *serve(struct bench *bench)
{
	const struct ublk_options options = {
		.device = fake_ublk_device(), .queues = QUEUES, .depth = DEPTH, .discards = true
	};
	const struct ublk_listener listener = { .starved = starved, .ended = ended, .context = bench };

	return ublk_server_open(bench->volume, &options, &listener);
}

/* A volume with a key, and a device that nobody serves yet. */
static void prepare(struct bench *bench)
{
	struct disk *disk = store_open(WIDE_RING, START + SIZE);

	*bench = (struct bench){ .enclave = fake_enclave_new(HANDLE, SECTOR), .volume = plain_volume_new(disk) };
	pthread_mutex_init(&bench->lock, NULL);
	pthread_cond_init(&bench->told, NULL);
	disk_unref(disk);
	bench->volume->offset = START;
	bench->volume->size = SIZE;
	bench->volume->sector_size = SECTOR;
	bench->volume->direct = true;
	volume_key_set(bench->volume->key, bench->enclave, HANDLE);
	fake_enclave_plan(bench->enclave, 0, TRESOR_OK, 0);
	fake_ublk_open(QUEUES, DEPTH);
	faults_plan(FAULT_NONE, 0);
	fake_ublk_copied();
}

static void open_bench(struct bench *bench)
{
	prepare(bench);
	bench->server = serve(bench);
	CHECK(bench->server != NULL);
}

static void close_bench(struct bench *bench)
{
	faults_stop();
	if (bench->server != NULL) {
		ublk_server_stop(bench->server);
		/* DEL_DEV would wait for it. */
		CHECK_EQUAL(fake_ublk_open_files(), 1);
		CHECK_EQUAL(fake_ublk_mappings(), QUEUES);
		ublk_server_stop(bench->server);
		ublk_server_free(bench->server);
	}
	/* Nothing has it but us. */
	CHECK_EQUAL(bench->volume->references, 1);
	CHECK_EQUAL(bench->volume->disk->references, 1);
	plain_volume_unref(bench->volume);
	CHECK_EQUAL(fake_enclave_references(bench->enclave), 1);
	tresor_enclave_unref(bench->enclave);
	fake_ublk_close();
	pthread_cond_destroy(&bench->told);
	pthread_mutex_destroy(&bench->lock);
}

static int32_t ask(uint32_t queue, uint32_t op_flags, uint64_t offset, uint32_t length, const uint8_t *data)
{
	return fake_ublk_result(queue, fake_ublk_ask(queue, op_flags, offset, length, data));
}

/* What the store has there, decrypted. */
static void look(const struct bench *bench, uint64_t offset, uint8_t *data, uint32_t length)
{
	uint8_t *ciphertext = pages(length);

	CHECK_EQUAL(pread(bench->volume->disk->cached, ciphertext, length, (off_t)(START + offset)), length);
	fake_cipher(ciphertext, data, offset / 512, length);
	free(ciphertext);
}

static void fill(uint8_t *data, uint32_t length, uint64_t seed)
{
	for (uint32_t at = 0; at < length; at += 8) {
		const uint64_t word = next_random(&seed);

		memcpy(data + at, &word, 8);
	}
}

static void check_store(const struct bench *bench, uint64_t offset, uint32_t length, uint64_t seed)
{
	uint8_t *expected = pages(length), *found = pages(length);

	fill(expected, length, seed);
	look(bench, offset, found, length);
	CHECK(memcmp(expected, found, length) == 0);
	free(expected);
	free(found);
}

static int32_t write_seed(uint32_t queue, uint32_t flags, uint64_t offset, uint32_t length, uint64_t seed)
{
	uint8_t *data = pages(length);
	int32_t result;

	fill(data, length, seed);
	result = ask(queue, UBLK_OP_WRITE | flags, offset, length, data);
	free(data);
	return result;
}

static void every_operation(void)
{
	uint8_t *data = pages(UBLK_REQUEST_SIZE), *expected = pages(UBLK_REQUEST_SIZE);
	struct counters counters;
	struct bench bench;
	uint16_t tag;

	open_bench(&bench);
	for (uint32_t queue = 0; queue < QUEUES; queue++) {
		const uint64_t at = queue * 1024u * 1024u;

		CHECK_EQUAL(write_seed(queue, 0, at, UBLK_REQUEST_SIZE, 1 + queue), UBLK_REQUEST_SIZE);
		check_store(&bench, at, UBLK_REQUEST_SIZE, 1 + queue);
		CHECK_EQUAL(write_seed(queue, UBLK_OP_FUA, at + UBLK_REQUEST_SIZE, SECTOR, 3), SECTOR);
		tag = fake_ublk_ask(queue, UBLK_OP_READ, at, UBLK_REQUEST_SIZE, NULL);
		CHECK_EQUAL(fake_ublk_result(queue, tag), UBLK_REQUEST_SIZE);
		fake_ublk_data(queue, tag, data, UBLK_REQUEST_SIZE);
		fill(expected, UBLK_REQUEST_SIZE, 1 + queue);
		CHECK(memcmp(data, expected, UBLK_REQUEST_SIZE) == 0);
		CHECK_EQUAL(ask(queue, UBLK_OP_FLUSH, 0, 0, NULL), 0);
		/* Zeros of the volume, not of the store. */
		CHECK_EQUAL(ask(queue, UBLK_OP_WRITE_ZEROES, at, 2 * SECTOR, NULL), 2 * SECTOR);
		look(&bench, at, data, 2 * SECTOR);
		memset(expected, 0, 2 * SECTOR);
		CHECK(memcmp(data, expected, 2 * SECTOR) == 0);
		/* Whole blocks of the store. */
		CHECK_EQUAL(ask(queue, UBLK_OP_DISCARD, at, 4 * SECTOR, NULL), 0);
		CHECK_EQUAL(pread(bench.volume->disk->cached, data, 4 * SECTOR, (off_t)(START + at)), 4 * SECTOR);
		memset(expected, 0, 4 * SECTOR);
		CHECK(memcmp(data, expected, 4 * SECTOR) == 0);
		CHECK_EQUAL(ask(queue, UBLK_OP_DISCARD, at + 512, SECTOR, NULL), 0);
		/* Zone management, and what else a kernel may come to have. */
		CHECK_EQUAL(ask(queue, 17, at, SECTOR, NULL), -EOPNOTSUPP);
	}
	CHECK_EQUAL(faults_durable_writes(true), QUEUES);
	counters = ublk_server_counters(bench.server);
	CHECK_EQUAL(counters.reads, QUEUES);
	CHECK_EQUAL(counters.writes, 3 * QUEUES);
	CHECK_EQUAL(counters.flushes, QUEUES);
	CHECK_EQUAL(counters.discards, QUEUES);
	CHECK_EQUAL(counters.errors, QUEUES);
	CHECK_EQUAL(counters.bytes_read, QUEUES * UBLK_REQUEST_SIZE);
	CHECK_EQUAL(counters.held, 0);
	CHECK_EQUAL(bench.starved, 0);
	close_bench(&bench);
	free(data);
	free(expected);
}

static void refused(void)
{
	struct bench bench;

	open_bench(&bench);
	CHECK_EQUAL(ask(0, UBLK_OP_READ, SIZE - SECTOR, 2 * SECTOR, NULL), -EINVAL);
	CHECK_EQUAL(ask(0, UBLK_OP_READ, 512, SECTOR, NULL), -EINVAL);
	CHECK_EQUAL(ask(0, UBLK_OP_READ, 0, 0, NULL), -EINVAL);
	CHECK_EQUAL(ask(0, UBLK_OP_READ, 0, UBLK_REQUEST_SIZE + SECTOR, NULL), -EINVAL);
	CHECK_EQUAL(ask(0, UBLK_OP_DISCARD, SIZE, SECTOR, NULL), -EINVAL);
	bench.volume->read_only = true;
	CHECK_EQUAL(write_seed(0, 0, 0, SECTOR, 1), -EROFS);
	CHECK_EQUAL(ask(0, UBLK_OP_WRITE_ZEROES, 0, SECTOR, NULL), -EROFS);
	CHECK_EQUAL(ask(0, UBLK_OP_DISCARD, 0, SECTOR, NULL), -EOPNOTSUPP);
	bench.volume->read_only = false;
	/* What the kernel does not give or take is no success. */
	fake_ublk_short_copies(true);
	CHECK_EQUAL(write_seed(0, 0, 0, SECTOR, 1), -EIO);
	CHECK_EQUAL(ask(0, UBLK_OP_READ, 0, SECTOR, NULL), -EIO);
	fake_ublk_short_copies(false);
	CHECK_EQUAL(ask(0, UBLK_OP_READ, 0, SECTOR, NULL), SECTOR);
	close_bench(&bench);
}

static void wait_waiting(const struct bench *bench, uint64_t count)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < 30000 && ublk_server_counters(bench->server).held != count; i++)
		nanosleep(&pause, NULL);
	CHECK_EQUAL(ublk_server_counters(bench->server).held, count);
}

/* Data were copied to the server: the write has begun. */
static void wait_copied(uint64_t bytes)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t copied = 0;

	for (unsigned i = 0; i < 30000 && copied < bytes; i++) {
		copied += fake_ublk_copied();
		nanosleep(&pause, NULL);
	}
	CHECK_EQUAL(copied, bytes);
}

static void held_while_locked(void)
{
	uint8_t *data = pages(SECTOR);
	uint16_t write, zeroes, read;
	struct bench bench;

	open_bench(&bench);
	ublk_server_set_mode(bench.server, UBLK_HOLD);
	volume_key_clear(bench.volume->key);
	fake_ublk_copied();
	fill(data, SECTOR, 7);
	write = fake_ublk_ask(0, UBLK_OP_WRITE, 0, SECTOR, data);
	zeroes = fake_ublk_ask(0, UBLK_OP_WRITE_ZEROES, SECTOR, SECTOR, NULL);
	read = fake_ublk_ask(1, UBLK_OP_READ, 2 * SECTOR, SECTOR, NULL);
	wait_waiting(&bench, 3);
	/* What needs no key does not wait. */
	CHECK_EQUAL(ask(0, UBLK_OP_FLUSH, 0, 0, NULL), 0);
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
	check_store(&bench, 0, SECTOR, 7);
	close_bench(&bench);
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
	struct bench bench;

	open_bench(&bench);
	CHECK_EQUAL(write_seed(0, 0, 0, 8 * SECTOR, 1), 8 * SECTOR);
	CHECK(quiet_set(&bench.volume->quiet, 2 * SECTOR, 4 * SECTOR));
	wait_quiet(&bench.volume->quiet);
	fake_ublk_copied();
	fill(data, SECTOR, 7);
	write = fake_ublk_ask(0, UBLK_OP_WRITE, 3 * SECTOR, SECTOR, data);
	read = fake_ublk_ask(1, UBLK_OP_READ, 2 * SECTOR, SECTOR, NULL);
	across = fake_ublk_ask(1, UBLK_OP_READ, SECTOR, 4 * SECTOR, NULL);
	discard = fake_ublk_ask(0, UBLK_OP_DISCARD, 2 * SECTOR, SECTOR, NULL);
	wait_waiting(&bench, 4);
	/* All others go on, up to its ends. */
	CHECK_EQUAL(write_seed(0, 0, SECTOR, SECTOR, 2), SECTOR);
	CHECK_EQUAL(write_seed(1, 0, 4 * SECTOR, SECTOR, 3), SECTOR);
	CHECK_EQUAL(ask(0, UBLK_OP_DISCARD, 4 * SECTOR, SECTOR, NULL), 0);
	CHECK_EQUAL(ask(1, UBLK_OP_FLUSH, 0, 0, NULL), 0);
	CHECK(!fake_ublk_committed(0, write) && !fake_ublk_committed(1, read) && !fake_ublk_committed(1, across) &&
	      !fake_ublk_committed(0, discard));
	CHECK_EQUAL(bench.starved, 0);
	/* Tried in between, they wait again. */
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	wait_waiting(&bench, 4);
	quiet_clear(&bench.volume->quiet);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(fake_ublk_result(0, write), SECTOR);
	CHECK_EQUAL(fake_ublk_result(1, read), SECTOR);
	CHECK_EQUAL(fake_ublk_result(1, across), 4 * SECTOR);
	CHECK_EQUAL(fake_ublk_result(0, discard), 0);
	check_store(&bench, 3 * SECTOR, SECTOR, 7);
	check_store(&bench, SECTOR, SECTOR, 2);
	CHECK(quiet_set(&bench.volume->quiet, 0, SECTOR));
	wait_quiet(&bench.volume->quiet);
	quiet_clear(&bench.volume->quiet);
	close_bench(&bench);
	free(data);
}

/* What is under way there is waited for; one that was given up is waited for by the next. */
static void quiet_counts(void)
{
	struct quiet quiet = { 0 };
	unsigned first, second, third;

	CHECK(quiet_enter(&quiet, 0, SECTOR, &first));
	CHECK(quiet_set(&quiet, 0, SECTOR));
	CHECK(!quiet_reached(&quiet));
	CHECK(!quiet_enter(&quiet, 0, 2 * SECTOR, &second));
	CHECK(quiet_enter(&quiet, SECTOR, SECTOR, &second));
	CHECK(!quiet_reached(&quiet));
	quiet_clear(&quiet);
	CHECK(quiet_enter(&quiet, 0, SECTOR, &third));
	CHECK(!quiet_set(&quiet, 0, SECTOR));
	quiet_leave(&quiet, first);
	CHECK(quiet_set(&quiet, 0, SECTOR));
	quiet_leave(&quiet, second);
	CHECK(!quiet_reached(&quiet));
	quiet_leave(&quiet, third);
	CHECK(quiet_reached(&quiet));
}

static void failed_after_grace(void)
{
	struct bench bench;
	uint16_t tag;

	open_bench(&bench);
	ublk_server_set_mode(bench.server, UBLK_HOLD);
	tag = fake_ublk_ask(0, UBLK_OP_READ, 0, SECTOR, NULL);
	wait_waiting(&bench, 1);
	ublk_server_set_mode(bench.server, UBLK_FAIL);
	CHECK_EQUAL(fake_ublk_result(0, tag), -EIO);
	CHECK_EQUAL(write_seed(1, 0, 0, SECTOR, 1), -EIO);
	CHECK_EQUAL(ask(1, UBLK_OP_FLUSH, 0, 0, NULL), 0);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(write_seed(1, 0, 0, SECTOR, 1), SECTOR);
	close_bench(&bench);
}

/* A request finds no key before its owner knows: it is told once, and goes on with the next key. */
static void enclave_lost(void)
{
	uint8_t *data = pages(2 * SECTOR);
	uint16_t read, write;
	struct bench bench;

	open_bench(&bench);
	CHECK_EQUAL(write_seed(0, 0, 0, SECTOR, 1), SECTOR);
	fake_enclave_kill(bench.enclave);
	fill(data, 2 * SECTOR, 2);
	read = fake_ublk_ask(0, UBLK_OP_READ, 0, SECTOR, NULL);
	wait_for(&bench, &bench.starved, 1);
	write = fake_ublk_ask(0, UBLK_OP_WRITE, SECTOR, 2 * SECTOR, data);
	wait_waiting(&bench, 2);
	CHECK_EQUAL(bench.starved, 1);
	fake_enclave_plan(bench.enclave, 0, TRESOR_OK, 0);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(fake_ublk_result(0, read), SECTOR);
	CHECK_EQUAL(fake_ublk_result(0, write), 2 * SECTOR);
	check_store(&bench, SECTOR, 2 * SECTOR, 2);
	close_bench(&bench);
	free(data);
}

/* It dies while it encrypts in place: the kernel still has the plaintext. */
static void enclave_lost_inside(void)
{
	uint8_t *data = pages(2 * SECTOR);
	struct bench bench;
	uint16_t write;

	open_bench(&bench);
	fill(data, 2 * SECTOR, 9);
	fake_enclave_plan(bench.enclave, 0, TRESOR_ENTER_LOST, 1);
	write = fake_ublk_ask(0, UBLK_OP_WRITE, 0, 2 * SECTOR, data);
	wait_for(&bench, &bench.starved, 1);
	CHECK(!fake_ublk_committed(0, write));
	fake_enclave_plan(bench.enclave, 0, TRESOR_OK, 0);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(fake_ublk_result(0, write), 2 * SECTOR);
	check_store(&bench, 0, 2 * SECTOR, 9);
	/* One that refuses is asked once more, and then it is an error. */
	fake_enclave_plan(bench.enclave, 0, TRESOR_E_REQUEST, 0);
	write = fake_ublk_ask(0, UBLK_OP_WRITE, 0, 2 * SECTOR, data);
	wait_for(&bench, &bench.starved, 2);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(fake_ublk_result(0, write), -EIO);
	CHECK_EQUAL(ask(0, UBLK_OP_READ, 0, SECTOR, NULL), -EIO);
	close_bench(&bench);
	free(data);
}

static void disk_faults(void)
{
	static const struct {
		enum fault fault;
		int32_t read, write, flush;
	} each[] = {
		{ FAULT_EIO, -EIO, -EIO, -EIO },
		{ FAULT_ENODEV, -ENODEV, -ENODEV, -EIO },
		{ FAULT_ENOSPC, -ENOSPC, -ENOSPC, -EIO },
		{ FAULT_SHORT, 8 * SECTOR, 8 * SECTOR, 0 },
		{ FAULT_EAGAIN, 8 * SECTOR, 8 * SECTOR, 0 },
		{ FAULT_ZERO, -EIO, -EIO, 0 },
		{ FAULT_EAGAIN_ALWAYS, -EIO, -EIO, -EIO },
	};

	for (unsigned i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
		struct bench bench;

		check_run("fault %d", each[i].fault);
		open_bench(&bench);
		faults_plan(each[i].fault, 0);
		CHECK_EQUAL(ask(0, UBLK_OP_READ, 0, 8 * SECTOR, NULL), each[i].read);
		faults_plan(each[i].fault, 0);
		CHECK_EQUAL(write_seed(0, 0, 0, 8 * SECTOR, 1), each[i].write);
		faults_plan(FAULT_NONE, 0);
		/* Nobody else is harmed. */
		CHECK_EQUAL(write_seed(1, 0, 0, 8 * SECTOR, 2), 8 * SECTOR);
		faults_plan(each[i].fault, 0);
		CHECK_EQUAL(ask(0, UBLK_OP_FLUSH, 0, 0, NULL), each[i].flush);
		faults_plan(FAULT_NONE, 0);
		/* After a sync that failed nothing is written any more. */
		CHECK_EQUAL(write_seed(1, 0, 0, SECTOR, 3), each[i].flush == 0 ? (int32_t)SECTOR : -EIO);
		close_bench(&bench);
	}
}

/* Whatever enter answers, every request is committed once, with its data. */
static void submission_faults(void)
{
	for (enum fault fault = FAULT_ENTER_FIRST; fault < FAULT_END_FIRST; fault++) {
		struct bench bench;

		check_run("fault %d", fault);
		open_bench(&bench);
		faults_random(fault, 3, 0);
		for (unsigned round = 0; round < 40; round++) {
			uint16_t tags[DEPTH];
			uint8_t *data = pages(DEPTH * SECTOR);

			fill(data, DEPTH * SECTOR, round);
			for (unsigned i = 0; i < DEPTH; i++)
				tags[i] = fake_ublk_ask(0, UBLK_OP_WRITE, i * SECTOR, SECTOR, data + i * SECTOR);
			for (unsigned i = 0; i < DEPTH; i++)
				CHECK_EQUAL(fake_ublk_result(0, tags[i]), SECTOR);
			free(data);
		}
		check_store(&bench, 0, DEPTH * SECTOR, 39);
		close_bench(&bench);
	}
}

/* More than the queue has memory for at once. */
static void more_than_memory(void)
{
	uint8_t *data = pages(UBLK_REQUEST_SIZE);
	struct bench bench;
	uint16_t tags[DEPTH];

	open_bench(&bench);
	for (unsigned i = 0; i < DEPTH; i++) {
		fill(data, UBLK_REQUEST_SIZE, i);
		tags[i] = fake_ublk_ask(0, UBLK_OP_WRITE, (uint64_t)i * UBLK_REQUEST_SIZE, UBLK_REQUEST_SIZE, data);
	}
	for (unsigned i = 0; i < DEPTH; i++)
		CHECK_EQUAL(fake_ublk_result(0, tags[i]), UBLK_REQUEST_SIZE);
	for (unsigned i = 0; i < DEPTH; i++)
		check_store(&bench, (uint64_t)i * UBLK_REQUEST_SIZE, UBLK_REQUEST_SIZE, i);
	close_bench(&bench);
	free(data);
}

static void device_stopped(void)
{
	struct bench bench;

	open_bench(&bench);
	CHECK_EQUAL(write_seed(0, 0, 0, SECTOR, 1), SECTOR);
	fake_ublk_stop();
	wait_for(&bench, &bench.ended, QUEUES);
	CHECK_EQUAL(bench.error, 0);
	CHECK_EQUAL(ublk_server_counters(bench.server).writes, 1);
	close_bench(&bench);
}

/* What a server that ends has not answered, the next one is given. */
static void left_to_the_next(void)
{
	uint8_t *data = pages(SECTOR);
	struct bench bench;
	uint16_t parked, flying;

	open_bench(&bench);
	ublk_server_set_mode(bench.server, UBLK_HOLD);
	parked = fake_ublk_ask(0, UBLK_OP_READ, 0, SECTOR, NULL);
	wait_waiting(&bench, 1);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(fake_ublk_result(0, parked), SECTOR);
	faults_pause(true);
	fake_ublk_copied();
	fill(data, SECTOR, 4);
	flying = fake_ublk_ask(1, UBLK_OP_WRITE, 0, SECTOR, data);
	wait_copied(SECTOR);
	ublk_server_set_mode(bench.server, UBLK_HOLD);
	parked = fake_ublk_ask(0, UBLK_OP_READ, 0, SECTOR, NULL);
	wait_waiting(&bench, 1);
	faults_pause(false);
	fake_ublk_result(1, flying);
	ublk_server_stop(bench.server);
	CHECK(!fake_ublk_committed(0, parked));
	CHECK_EQUAL(bench.ended, 0);
	close_bench(&bench);
	free(data);
}

/* Every step of a start fails once, and nothing is left of it. */
static void starts_that_fail(void)
{
	struct bench bench;

	for (unsigned step = 0; step < 5; step++) {
		int expected = EMFILE;

		check_run("step %u", step);
		prepare(&bench);
		switch (step) {
		case 0:
			refusals.setup = expected;
			bench.volume->disk->only_ring = true;
			break;
		case 1:
			refusals.eventfd = expected;
			break;
		case 2:
			refusals.thread = expected = EAGAIN;
			refusals.threads = 1;
			break;
		case 3:
			fake_ublk_refuse_fetch(expected = EBUSY);
			break;
		case 4:
			/* The queue takes the pool, and ublk has no ring. */
			bench.volume->disk->only_ring = false;
			refusals.setup = EPERM;
			expected = ENOSYS;
			break;
		}
		bench.server = serve(&bench);
		CHECK(bench.server == NULL);
		CHECK_EQUAL(errno, expected);
		refusals = (struct refusals){ 0 };
		close_bench(&bench);
	}
	/* No descriptors to be mapped: the device is none. */
	prepare(&bench);
	CHECK_EQUAL(ftruncate(fake_ublk_device(), 0), 0);
	refusals = (struct refusals){ .reopen = EMFILE };
	CHECK(serve(&bench) == NULL);
	CHECK_EQUAL(errno, EMFILE);
	refusals = (struct refusals){ 0 };
	close_bench(&bench);
}

static void controls(void)
{
	static const enum fault faults[] = { FAULT_NONE, FAULT_ENTER_EINTR, FAULT_ENTER_EAGAIN, FAULT_ENTER_EARLY };
	uint8_t payload[64] = { 0 };
	const struct ublk_control_command command = {
		.dev_id = 3, .queue_id = UBLK_NO_QUEUE, .len = sizeof(payload), .addr = (uintptr_t)payload, .data = 77
	};
	struct ublk_control_command seen;
	uint32_t operation;

	for (unsigned i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		check_run("fault %d", faults[i]);
		fake_ublk_control(0, (uint8_t)(i + 1));
		faults_plan(faults[i], 0);
		refusals.control = true;
		CHECK_EQUAL(ublk_control(UBLK_START_DEV, &command), 0);
		seen = fake_ublk_command(&operation);
		CHECK_EQUAL(operation, UBLK_START_DEV);
		CHECK(memcmp(&seen, &command, sizeof(seen)) == 0);
		CHECK_EQUAL(payload[0], i + 1);
		CHECK_EQUAL(payload[63], i + 1);
		fake_ublk_control(-EBUSY, 0);
		CHECK_EQUAL(ublk_control(UBLK_START_USER_RECOVERY, &command), -EBUSY);
	}
	faults_plan(FAULT_ENTER_EBUSY, 0);
	CHECK_EQUAL(ublk_control(UBLK_STOP_DEV, &command), -EBUSY);
	faults_stop();
	refusals.setup = EPERM;
	CHECK_EQUAL(ublk_control(UBLK_STOP_DEV, &command), -EPERM);
	refusals = (struct refusals){ 0 };
	faults_command = NULL;
	faults_commanded = NULL;
}

const struct test_case ublk_cases[] = {
	{ "ublk: every operation reaches the store through the cipher", every_operation },
	{ "ublk: requests that do not fit end with an errno", refused },
	{ "ublk: requests wait for the key while the volume is locked, and their data stay in the kernel",
	  held_while_locked },
	{ "ublk: requests on a quiet range wait for it, and all others go on", held_while_quiet },
	{ "a range is quiet when all that was under way has ended", quiet_counts },
	{ "ublk: requests end with EIO once no key came in time", failed_after_grace },
	{ "ublk: a lost enclave is told once, and requests go on with the next", enclave_lost },
	{ "ublk: a write whose enclave died inside is encrypted again", enclave_lost_inside },
	{ "ublk: a disk's error is the request's alone", disk_faults },
	{ "ublk: faults of every submission lose no request", submission_faults },
	{ "ublk: requests beyond a queue's memory wait in the kernel", more_than_memory },
	{ "ublk: threads end when the device is stopped", device_stopped },
	{ "ublk: what a server leaves is not answered", left_to_the_next },
	{ "ublk: a start that fails leaves nothing", starts_that_fail },
	{ "ublk: a control command is sent whole, whatever enter answers", controls },
	{ NULL, NULL },
};
