/* SPDX-License-Identifier: Apache-2.0 */
/* An eventfd(2) by which threads of this process wake each other. One that a guest has too is a bell (vhost/bell.h). */
#ifndef TRESOR_EVENT_H
#define TRESOR_EVENT_H

#include <stdint.h>
#include <unistd.h>

/* It is readable from now on. Fails when its counter is full only: then it is readable already. */
static inline void event_set(int event)
{
	const uint64_t one = 1;

	(void)!write(event, &one, sizeof(one));
}

/* It is not, until it is set again. With EFD_NONBLOCK. */
static inline void event_clear(int event)
{
	uint64_t count;

	(void)!read(event, &count, sizeof(count));
}

#endif
