/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All operations at once, in pieces cut at odd places, on an area whose content is known: what is read is compared,
 * and at the end all of it.
 */
#ifndef BENCH_VHOST_MIXED_H
#define BENCH_VHOST_MIXED_H

#include "device.h"

struct mixed {
	unsigned depth;
	uint64_t count;	/* requests; SIGTERM ends it before */
	uint64_t area;	/* bytes from the start; 0: all */
	uint64_t seed;
	/* When the back-end goes, connects again and expects what was under way to end (needs the inflight region). */
	bool reconnect;
};

uint64_t mixed_memory(const struct mixed *mixed);
/* Prints one line of JSON. -EIO when a request failed, -EILSEQ when other bytes were read than written. */
int mixed_run(struct device *device, const struct mixed *mixed);

#endif
