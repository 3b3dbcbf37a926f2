/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a thread watches for its next request instead of sleeping: as long as that has paid. A miss costs a credit, a
 * hit earns one; without credit every 64th chance is taken. One thread's.
 */
#ifndef TRESOR_SPIN_H
#define TRESOR_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define SPIN_CREDIT	8

/* Begins with all credit. */
struct spin {
	int credit;		/* 0 to SPIN_CREDIT */
	uint32_t chances;	/* without credit */
};

static inline bool spin_pays(struct spin *spin)
{
	return spin->credit > 0 || ++spin->chances % 64 == 0;
}

/* After watching. */
static inline void spin_found(struct spin *spin, bool found)
{
	if (found)
		spin->credit += spin->credit < SPIN_CREDIT;
	else
		spin->credit -= spin->credit > 0;
}

#endif
