// SPDX-License-Identifier: GPL-2.0
/* What was done since the module was loaded, counted on each CPU apart. */
#include <linux/percpu.h>

#include "tresor.h"

struct counters {
	u64 value[TRESOR_COUNTERS];
};

static DEFINE_PER_CPU(struct counters, counters);

void tresor_count(enum tresor_counter counter, u64 by)
{
	this_cpu_add(counters.value[counter], by);
}

u64 tresor_counted(enum tresor_counter counter)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu(counters, cpu).value[counter]);
	return sum;
}
