/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/io/patience.h"

#include <sys/resource.h>

#include "addon/monotonic.h"

/*
 * A write that took longer, and slept, has waited for a disk; the next ones are
 * left to those who may wait, twenty times as long, or a second if that is less.
 */
#define LONG_NS		5000000ll
#define PAUSE		20
#define PAUSE_MAX_NS	1000000000ll

/* How often this thread gave its CPU away. Others take it, too, also a hypervisor: that does not count. */
static long sleeps(void)
{
	struct rusage usage = { 0 };

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

bool patience_over(const struct patience *patience)
{
	return monotonic_ns() >= patience->paused_until;
}

bool patience_begin(const struct patience *patience, struct timing *timing)
{
	timing->began = monotonic_ns();
	timing->slept = sleeps();
	return timing->began >= patience->paused_until;
}

bool patience_end(struct patience *patience, struct timing *timing)
{
	const int64_t now = monotonic_ns(), took = now - timing->began;
	long slept;

	timing->began = now;
	if (took <= LONG_NS)
		return true;
	slept = sleeps();
	if (slept == timing->slept)
		return true;
	timing->slept = slept;
	patience->paused_until = now + (PAUSE * took < PAUSE_MAX_NS ? PAUSE * took : PAUSE_MAX_NS);
	return false;
}
