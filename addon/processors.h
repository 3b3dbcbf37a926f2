/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_PROCESSORS_H
#define TRESOR_PROCESSORS_H

#include <sched.h>

/* That this thread may run on (sched_getaffinity(2)): a unit or a container may have fewer than the machine. At least 1. */
static inline unsigned processors(void)
{
	cpu_set_t allowed;

	/* Refused on machines of more than CPU_SETSIZE. */
	return sched_getaffinity(0, sizeof(allowed), &allowed) != 0 ? CPU_SETSIZE : (unsigned)CPU_COUNT(&allowed);
}

#endif
