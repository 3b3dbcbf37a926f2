/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One range of a volume that is to be quiet for a while: requests that threads would begin on it are turned away, all
 * others go on, and who has set it learns when nothing is under way there.
 */
#ifndef TRESOR_DISK_QUIET_H
#define TRESOR_DISK_QUIET_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: there is none. All of it is atomic. */
struct quiet {
	uint64_t start;		/* bytes of the volume */
	uint64_t end;		/* 0: there is none */
	unsigned turn;		/* of requests that begin */
	unsigned under_way[2];	/* by turns */
};

/* By any thread, before a request touches [offset, offset + length). False: not now. *turn is for quiet_leave. */
bool quiet_enter(struct quiet *quiet, uint64_t offset, uint64_t length, unsigned *turn);
void quiet_leave(struct quiet *quiet, unsigned turn);

/* By one thread. False: requests of before an earlier range, which did not become quiet, are still under way; try again. */
bool quiet_set(struct quiet *quiet, uint64_t start, uint64_t end);
/* Every request that was under way when the range was set has ended. */
bool quiet_reached(const struct quiet *quiet);
void quiet_clear(struct quiet *quiet);

#endif
