/* SPDX-License-Identifier: Apache-2.0 */
/* Faults at every submission and every completion of one workload, in turn, and many at random. */
#include <pthread.h>
#include <stdio.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/workload.h"

#define OPERATIONS	48u

static const char *const fault_names[FAULT_COUNT] = {
	[FAULT_NONE] = "none",
	[FAULT_ENTER_EINTR] = "enter EINTR",
	[FAULT_ENTER_EAGAIN] = "enter EAGAIN",
	[FAULT_ENTER_EBUSY] = "enter EBUSY",
	[FAULT_ENTER_PARTIAL] = "partial submission",
	[FAULT_ENTER_EARLY] = "enter returns early",
	[FAULT_EINTR] = "EINTR",
	[FAULT_EAGAIN] = "EAGAIN",
	[FAULT_EAGAIN_ALWAYS] = "EAGAIN always",
	[FAULT_EINTR_ALWAYS] = "EINTR always",
	[FAULT_SHORT] = "short",
	[FAULT_ODD] = "odd",
	[FAULT_ZERO] = "zero",
	[FAULT_EIO] = "EIO",
	[FAULT_ENOSPC] = "ENOSPC",
	[FAULT_ENODEV] = "ENODEV",
	[FAULT_NEVER] = "never",
};

static void run_with(enum engine_kind engine, enum fault fault, unsigned at, bool sleeps)
{
	const struct workload workload = {
		.engine = engine,
		.seed = 7,
		.operations = OPERATIONS,
		.sleeps = sleeps,
		.fault = fault,
		.at = at,
	};

	check_run("%s, %s at %u, %s", engine_names[engine], fault_names[fault], at, sleeps ? "sleeping" : "polling");
	workload_run(&workload);
}

/* Each fault at each place where a run without any has one. */
static void run_all(enum engine_kind engine, enum fault first, enum fault end)
{
	for (int sleeps = 0; sleeps < 2; sleeps++) {
		unsigned places;

		run_with(engine, FAULT_NONE, 0, sleeps);
		places = first == FAULT_ENTER_FIRST ? faults_submissions() : faults_completions();
		CHECK(places >= (first == FAULT_ENTER_FIRST ? OPERATIONS / 4 : OPERATIONS / 2));
		for (enum fault fault = first; fault < end; fault++)
			for (unsigned at = 0; at < places; at++)
				if (fault != FAULT_NEVER || !sleeps)
					run_with(engine, fault, at, sleeps);
	}
}

static void every_submission(void)
{
	run_all(RING, FAULT_ENTER_FIRST, FAULT_END_FIRST);
	run_all(WIDE_RING, FAULT_ENTER_FIRST, FAULT_END_FIRST);
}

static void every_completion_ring(void)
{
	run_all(RING, FAULT_END_FIRST, FAULT_COUNT);
}

static void every_completion_wide_ring(void)
{
	run_all(WIDE_RING, FAULT_END_FIRST, FAULT_COUNT);
}

static void every_completion_pool(void)
{
	run_all(POOL, FAULT_END_FIRST, FAULT_COUNT);
}

static void at_random(void)
{
	for (uint64_t seed = 1; seed <= 90; seed++) {
		const struct workload workload = {
			.engine = seed % ENGINES,
			.seed = seed,
			.operations = 300,
			.sleeps = seed % 2,
			.every = 4,
			.most = seed % 3 == 0 ? 0 : 8,
		};

		check_run("%s, seed %llu", engine_names[workload.engine], (unsigned long long)seed);
		workload_run(&workload);
	}
}

static void *one_of_many(void *workload)
{
	workload_run(workload);
	return NULL;
}

/* Four threads, each with its queue, on one disk. */
static void many_queues(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct disk *disk = store_open(engine, 4 * WORKLOAD_SIZE);
		struct workload workloads[4];
		pthread_t threads[4];

		check_run("%s", engine_names[engine]);
		/* Interruptions only: no error. */
		faults_random(engine + 1, 8, 0);
		for (unsigned i = 0; i < 4; i++) {
			workloads[i] = (struct workload){
				.engine = engine,
				.seed = i + 1,
				.operations = 300,
				.sleeps = i % 2,
				.disk = disk,
				.base = i * (uint64_t)WORKLOAD_SIZE,
				.every = 8,
			};
			CHECK(pthread_create(&threads[i], NULL, one_of_many, &workloads[i]) == 0);
		}
		for (unsigned i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		CHECK_EQUAL(disk->failed, 0);
		CHECK_EQUAL(disk->inflight, 0);
		CHECK(disk->deepest >= 4 && disk->deepest <= 16);
		CHECK_EQUAL(disk->references, 1);
		disk_unref(disk);
	}
}

const struct test_case fault_cases[] = {
	{ "a fault at every submission loses nothing", every_submission },
	{ "a fault at every completion of a ring is told to whom it meets", every_completion_ring },
	{ "a fault at every completion of a wide ring is told to whom it meets", every_completion_wide_ring },
	{ "a fault at every call of the pool is told to whom it meets", every_completion_pool },
	{ "random faults lose nothing", at_random },
	{ "queues of four threads share a disk", many_queues },
	{ NULL, NULL },
};
