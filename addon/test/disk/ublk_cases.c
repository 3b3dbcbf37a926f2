/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that serve a ublk device, over a fake of the kernel's driver: data, faults, ends. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/fake_ublk.h"
#include "addon/test/disk/faults.h"
#include "addon/test/disk/store.h"
#include "addon/test/disk/ublk_bench.h"
#include "addon/ublk/control.h"

static void every_operation(void)
{
	uint8_t *data = pages(UBLK_REQUEST_SIZE), *expected = pages(UBLK_REQUEST_SIZE);
	struct counters counters;
	struct ublk_bench bench;
	uint16_t tag;

	ublk_bench_open(&bench);
	for (uint32_t queue = 0; queue < QUEUES; queue++) {
		const uint64_t at = queue * 1024u * 1024u;

		CHECK_EQUAL(ublk_bench_write(queue, 0, at, UBLK_REQUEST_SIZE, 1 + queue), UBLK_REQUEST_SIZE);
		ublk_bench_check(&bench, at, UBLK_REQUEST_SIZE, 1 + queue);
		CHECK_EQUAL(ublk_bench_write(queue, UBLK_OP_FUA, at + UBLK_REQUEST_SIZE, SECTOR, 3), SECTOR);
		tag = fake_ublk_ask(queue, UBLK_OP_READ, at, UBLK_REQUEST_SIZE, NULL);
		CHECK_EQUAL(fake_ublk_result(queue, tag), UBLK_REQUEST_SIZE);
		fake_ublk_data(queue, tag, data, UBLK_REQUEST_SIZE);
		ublk_bench_fill(expected, UBLK_REQUEST_SIZE, 1 + queue);
		CHECK(memcmp(data, expected, UBLK_REQUEST_SIZE) == 0);
		CHECK_EQUAL(ublk_bench_ask(queue, UBLK_OP_FLUSH, 0, 0, NULL), 0);
		/* Zeros of the volume, not of the store. */
		CHECK_EQUAL(ublk_bench_ask(queue, UBLK_OP_WRITE_ZEROES, at, 2 * SECTOR, NULL), 2 * SECTOR);
		ublk_bench_look(&bench, at, data, 2 * SECTOR);
		memset(expected, 0, 2 * SECTOR);
		CHECK(memcmp(data, expected, 2 * SECTOR) == 0);
		/* Whole blocks of the store. */
		CHECK_EQUAL(ublk_bench_ask(queue, UBLK_OP_DISCARD, at, 4 * SECTOR, NULL), 0);
		CHECK_EQUAL(pread(bench.volume->disk->cached, data, 4 * SECTOR, (off_t)(START + at)), 4 * SECTOR);
		memset(expected, 0, 4 * SECTOR);
		CHECK(memcmp(data, expected, 4 * SECTOR) == 0);
		CHECK_EQUAL(ublk_bench_ask(queue, UBLK_OP_DISCARD, at + 512, SECTOR, NULL), 0);
		/* Zone management, and what else a kernel may come to have. */
		CHECK_EQUAL(ublk_bench_ask(queue, 17, at, SECTOR, NULL), -EOPNOTSUPP);
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
	ublk_bench_close(&bench);
	free(data);
	free(expected);
}

static void refused(void)
{
	struct ublk_bench bench;

	ublk_bench_open(&bench);
	CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_READ, SIZE - SECTOR, 2 * SECTOR, NULL), -EINVAL);
	CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_READ, 512, SECTOR, NULL), -EINVAL);
	CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_READ, 0, 0, NULL), -EINVAL);
	CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_READ, 0, UBLK_REQUEST_SIZE + SECTOR, NULL), -EINVAL);
	CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_DISCARD, SIZE, SECTOR, NULL), -EINVAL);
	bench.volume->read_only = true;
	CHECK_EQUAL(ublk_bench_write(0, 0, 0, SECTOR, 1), -EROFS);
	CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_WRITE_ZEROES, 0, SECTOR, NULL), -EROFS);
	CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_DISCARD, 0, SECTOR, NULL), -EOPNOTSUPP);
	bench.volume->read_only = false;
	/* What the kernel does not give or take is no success. */
	fake_ublk_short_copies(true);
	CHECK_EQUAL(ublk_bench_write(0, 0, 0, SECTOR, 1), -EIO);
	CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_READ, 0, SECTOR, NULL), -EIO);
	fake_ublk_short_copies(false);
	CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_READ, 0, SECTOR, NULL), SECTOR);
	ublk_bench_close(&bench);
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
		struct ublk_bench bench;

		check_run("fault %d", each[i].fault);
		ublk_bench_open(&bench);
		faults_plan(each[i].fault, 0);
		CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_READ, 0, 8 * SECTOR, NULL), each[i].read);
		faults_plan(each[i].fault, 0);
		CHECK_EQUAL(ublk_bench_write(0, 0, 0, 8 * SECTOR, 1), each[i].write);
		faults_plan(FAULT_NONE, 0);
		/* Nobody else is harmed. */
		CHECK_EQUAL(ublk_bench_write(1, 0, 0, 8 * SECTOR, 2), 8 * SECTOR);
		faults_plan(each[i].fault, 0);
		CHECK_EQUAL(ublk_bench_ask(0, UBLK_OP_FLUSH, 0, 0, NULL), each[i].flush);
		faults_plan(FAULT_NONE, 0);
		/* After a sync that failed nothing is written any more. */
		CHECK_EQUAL(ublk_bench_write(1, 0, 0, SECTOR, 3), each[i].flush == 0 ? (int32_t)SECTOR : -EIO);
		ublk_bench_close(&bench);
	}
}

/* Whatever enter answers, every request is committed once, with its data. */
static void submission_faults(void)
{
	for (enum fault fault = FAULT_ENTER_FIRST; fault < FAULT_END_FIRST; fault++) {
		struct ublk_bench bench;

		check_run("fault %d", fault);
		ublk_bench_open(&bench);
		faults_random(fault, 3, 0);
		for (unsigned round = 0; round < 40; round++) {
			uint16_t tags[DEPTH];
			uint8_t *data = pages(DEPTH * SECTOR);

			ublk_bench_fill(data, DEPTH * SECTOR, round);
			for (unsigned i = 0; i < DEPTH; i++)
				tags[i] = fake_ublk_ask(0, UBLK_OP_WRITE, i * SECTOR, SECTOR, data + i * SECTOR);
			for (unsigned i = 0; i < DEPTH; i++)
				CHECK_EQUAL(fake_ublk_result(0, tags[i]), SECTOR);
			free(data);
		}
		ublk_bench_check(&bench, 0, DEPTH * SECTOR, 39);
		ublk_bench_close(&bench);
	}
}

/* More than the queue has memory for at once. */
static void more_than_memory(void)
{
	uint8_t *data = pages(UBLK_REQUEST_SIZE);
	struct ublk_bench bench;
	uint16_t tags[DEPTH];

	ublk_bench_open(&bench);
	for (unsigned i = 0; i < DEPTH; i++) {
		ublk_bench_fill(data, UBLK_REQUEST_SIZE, i);
		tags[i] = fake_ublk_ask(0, UBLK_OP_WRITE, (uint64_t)i * UBLK_REQUEST_SIZE, UBLK_REQUEST_SIZE, data);
	}
	for (unsigned i = 0; i < DEPTH; i++)
		CHECK_EQUAL(fake_ublk_result(0, tags[i]), UBLK_REQUEST_SIZE);
	for (unsigned i = 0; i < DEPTH; i++)
		ublk_bench_check(&bench, (uint64_t)i * UBLK_REQUEST_SIZE, UBLK_REQUEST_SIZE, i);
	ublk_bench_close(&bench);
	free(data);
}

static void device_stopped(void)
{
	struct ublk_bench bench;

	ublk_bench_open(&bench);
	CHECK_EQUAL(ublk_bench_write(0, 0, 0, SECTOR, 1), SECTOR);
	fake_ublk_stop();
	ublk_bench_wait(&bench, &bench.ended, QUEUES);
	CHECK_EQUAL(bench.error, 0);
	CHECK_EQUAL(ublk_server_counters(bench.server).writes, 1);
	ublk_bench_close(&bench);
}

/* What a server that ends has not answered, the next one is given. */
static void left_to_the_next(void)
{
	uint8_t *data = pages(SECTOR);
	struct ublk_bench bench;
	uint16_t parked, flying;

	ublk_bench_open(&bench);
	ublk_server_set_mode(bench.server, UBLK_HOLD);
	parked = fake_ublk_ask(0, UBLK_OP_READ, 0, SECTOR, NULL);
	ublk_bench_wait_held(&bench, 1);
	ublk_server_set_mode(bench.server, UBLK_SERVE);
	CHECK_EQUAL(fake_ublk_result(0, parked), SECTOR);
	faults_pause(true);
	fake_ublk_copied();
	ublk_bench_fill(data, SECTOR, 4);
	flying = fake_ublk_ask(1, UBLK_OP_WRITE, 0, SECTOR, data);
	ublk_bench_wait_copied(SECTOR);
	ublk_server_set_mode(bench.server, UBLK_HOLD);
	parked = fake_ublk_ask(0, UBLK_OP_READ, 0, SECTOR, NULL);
	ublk_bench_wait_held(&bench, 1);
	faults_pause(false);
	fake_ublk_result(1, flying);
	ublk_server_stop(bench.server);
	CHECK(!fake_ublk_committed(0, parked));
	CHECK_EQUAL(bench.ended, 0);
	ublk_bench_close(&bench);
	free(data);
}

/* Every step of a start fails once, and nothing is left of it. */
static void starts_that_fail(void)
{
	struct ublk_bench bench;

	for (unsigned step = 0; step < 5; step++) {
		int expected = EMFILE;

		check_run("step %u", step);
		ublk_bench_prepare(&bench);
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
		bench.server = ublk_bench_serve(&bench);
		CHECK(bench.server == NULL);
		CHECK_EQUAL(errno, expected);
		refusals = (struct refusals){ 0 };
		ublk_bench_close(&bench);
	}
	/* No descriptors to be mapped: the device is none. */
	ublk_bench_prepare(&bench);
	CHECK_EQUAL(ftruncate(fake_ublk_device(), 0), 0);
	refusals = (struct refusals){ .reopen = EMFILE };
	CHECK(ublk_bench_serve(&bench) == NULL);
	CHECK_EQUAL(errno, EMFILE);
	refusals = (struct refusals){ 0 };
	ublk_bench_close(&bench);
}

/* Every allocation of a start, one after the other. */
static void starts_without_memory(void)
{
	bool started = false;
	unsigned at = 0;

	while (!started) {
		struct ublk_bench bench;

		ublk_bench_prepare(&bench);
		/* The pool would do for a queue that has no memory for its ring, but not for ublk. */
		bench.volume->disk->only_ring = true;
		refusals.allocation = ++at;
		bench.server = ublk_bench_serve(&bench);
		/* Else there were fewer, and it is still to come. */
		started = refusals.allocation > 0;
		check_run("allocation %u", at);
		CHECK_EQUAL(bench.server != NULL, started);
		CHECK(started || errno == ENOMEM);
		refusals = (struct refusals){ 0 };
		ublk_bench_close(&bench);
	}
	/* The server, its threads; of each queue: its own, tags, arena, and three on the way to the ring. */
	CHECK(at > 2 + QUEUES * 6);
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
	{ "ublk: a disk's error is the request's alone", disk_faults },
	{ "ublk: faults of every submission lose no request", submission_faults },
	{ "ublk: requests beyond a queue's memory wait in the kernel", more_than_memory },
	{ "ublk: threads end when the device is stopped", device_stopped },
	{ "ublk: what a server leaves is not answered", left_to_the_next },
	{ "ublk: a start that fails leaves nothing", starts_that_fail },
	{ "ublk: a start without memory leaves nothing", starts_without_memory },
	{ "ublk: a control command is sent whole, whatever enter answers", controls },
	{ NULL, NULL },
};
