/* SPDX-License-Identifier: Apache-2.0 */
/* Whether this thread may write to the page cache itself: it may, as long as that does not make it wait for a disk. */
#ifndef TRESOR_IO_PATIENCE_H
#define TRESOR_IO_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

struct patience {
	int64_t paused_until;	/* CLOCK_MONOTONIC, ns */
};

struct timing {
	int64_t began;
	long slept;
};

/* Whether no write has waited a while ago. */
bool patience_over(const struct patience *patience);
/* False: writes have waited a while ago, leave this one to those who may wait. */
bool patience_begin(const struct patience *patience, struct timing *timing);
/* After writes. True: they have not waited, and others may follow, timed from here on. */
bool patience_end(struct patience *patience, struct timing *timing);

#endif
