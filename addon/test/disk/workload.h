/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many requests of all kinds on one queue, checked against the model and against
 * the fault that the plan has: each ends once, with the errno that is due.
 */
#ifndef TRESOR_TEST_DISK_WORKLOAD_H
#define TRESOR_TEST_DISK_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "addon/test/disk/faults.h"
#include "addon/test/disk/store.h"

struct workload {
	enum engine_kind engine;
	uint64_t seed;
	unsigned operations;
	bool sleeps;	/* by turns that wait; else by poll(2) */
	/* The plan: faults_plan(fault, at), or, with `every`, faults_random(seed, every, most): which errno is due is unknown then. */
	enum fault fault;
	unsigned at, every, most;
	/*
	 * NULL: a store of its own. Else one that others use as well, and the plan is the caller's: `base` to
	 * `base` + WORKLOAD_SIZE is this one's.
	 */
	struct disk *disk;
	uint64_t base;
};
#define WORKLOAD_SIZE	(512u * 1024u)

void workload_run(const struct workload *workload);

#endif
