/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/counters.h"

static uint64_t now(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void counter_add(uint64_t *counter, uint64_t by)
{
	counter_set(counter, *counter + by);
}

void counter_set(uint64_t *counter, uint64_t value)
{
	__atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

void counters_sum(struct counters *sums, const struct counters *each)
{
	sums->reads += now(&each->reads);
	sums->writes += now(&each->writes);
	sums->flushes += now(&each->flushes);
	sums->discards += now(&each->discards);
	sums->bytes_read += now(&each->bytes_read);
	sums->bytes_written += now(&each->bytes_written);
	sums->errors += now(&each->errors);
	sums->held += now(&each->held);
}
