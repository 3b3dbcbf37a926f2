/* SPDX-License-Identifier: Apache-2.0 */
/* Reads or writes of one size, as many at once as asked for, and what they took. */
#ifndef BENCH_VHOST_LOAD_H
#define BENCH_VHOST_LOAD_H

#include "device.h"

struct load {
	bool write, random;
	uint32_t size, segment;	/* bytes of a request, and of a piece of it at most */
	unsigned depth;		/* of all queues together */
	uint64_t area;		/* bytes from the start that are used; 0: all */
	double seconds;
	uint64_t count;		/* requests, when not 0: instead of seconds */
	uint64_t seed;
};

/* Guest memory that it needs. */
uint64_t load_memory(const struct load *load);
/* Prints one line of JSON. An error of the session, or a request that failed: it goes on, and is in the line. */
int load_run(struct device *device, const struct load *load);

#endif
