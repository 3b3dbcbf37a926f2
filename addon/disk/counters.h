/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread that serves a volume's requests has done: written by it alone, read by anyone with atomics. */
#ifndef TRESOR_DISK_COUNTERS_H
#define TRESOR_DISK_COUNTERS_H

#include <stdint.h>

struct counters {
	uint64_t reads, writes, flushes, discards;
	uint64_t bytes_read, bytes_written;
	uint64_t errors;
	uint64_t held;		/* now: requests that wait; for what, the server says */
};

/* By the thread. */
void counter_add(uint64_t *counter, uint64_t by);
void counter_set(uint64_t *counter, uint64_t value);
/* By anyone: adds a thread's to those of others. */
void counters_sum(struct counters *sums, const struct counters *each);

#endif
