/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/vhost/inflight.h"

#include <stddef.h>
#include <string.h>

#define VERSION		1u
/* Rings begin on cache lines of their own. */
#define ALIGNMENT	64u

struct state {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};

struct inflight_region {
	uint64_t features;
	uint16_t version;
	uint16_t size;			/* of the ring; 0: fresh memory */
	uint16_t last_batch_head;
	uint16_t used;			/* the used ring's idx that the states are right for */
	struct state states[];
};

/*
 * What matters is what memory holds when this process is killed between two stores, never what another CPU sees:
 * the order in which they are made.
 */
static void in_order(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

uint64_t inflight_size(uint16_t size)
{
	const uint64_t bytes = sizeof(struct inflight_region) + (uint64_t)size * sizeof(struct state);

	return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void inflight_open(struct inflight *inflight, uint8_t *memory, uint16_t size)
{
	*inflight = (struct inflight){ .region = (void *)memory, .size = size };
}

static int recover(struct inflight *inflight, uint16_t used, uint16_t *heads, uint64_t *counters)
{
	volatile struct inflight_region *region = inflight->region;
	const uint16_t batch = (uint16_t)(used - region->used);
	uint16_t head = region->last_batch_head;
	int count = 0;

	if (region->version != VERSION || region->size != inflight->size || batch > inflight->size)
		return -1;
	/* Answered, and shown by the used ring, but killed before that was noted. */
	for (uint16_t i = 0; i < batch; i++) {
		if (head >= inflight->size)
			return -1;
		region->states[head].inflight = 0;
		head = region->states[head].next;
	}
	in_order();
	region->used = used;
	for (uint16_t i = 0; i < inflight->size; i++) {
		uint64_t counter;
		int at = count;

		if (region->states[i].inflight == 0)
			continue;
		counter = region->states[i].counter;
		for (; at > 0 && counters[at - 1] > counter; at--) {
			counters[at] = counters[at - 1];
			heads[at] = heads[at - 1];
		}
		counters[at] = counter;
		heads[at] = i;
		count++;
	}
	if (count > 0)
		inflight->counter = counters[count - 1] + 1;
	return count;
}

int inflight_recover(struct inflight *inflight, uint16_t used, uint16_t *heads)
{
	struct inflight_region *region = inflight->region;
	uint64_t counters[UINT16_MAX / 64 + 1];	/* a ring has 1024 descriptors at most */

	if (region == NULL)
		return 0;
	if (region->version == 0 && region->size == 0) {
		region->used = used;
		region->size = inflight->size;
		in_order();
		region->version = VERSION;
		return 0;
	}
	if (inflight->size > sizeof(counters) / sizeof(counters[0]))
		return -1;
	return recover(inflight, used, heads, counters);
}

void inflight_take(struct inflight *inflight, uint16_t head)
{
	if (inflight->region == NULL)
		return;
	inflight->region->states[head].counter = inflight->counter++;
	in_order();
	inflight->region->states[head].inflight = 1;
	in_order();
}

void inflight_answer(struct inflight *inflight, uint16_t head)
{
	if (inflight->region == NULL)
		return;
	inflight->region->states[head].next = inflight->region->last_batch_head;
	in_order();
	inflight->region->last_batch_head = head;
	in_order();
}

void inflight_publish(struct inflight *inflight, const uint16_t *heads, uint16_t count, uint16_t used)
{
	if (inflight->region == NULL)
		return;
	in_order();
	for (uint16_t i = 0; i < count; i++)
		inflight->region->states[heads[i]].inflight = 0;
	in_order();
	inflight->region->used = used;
	in_order();
}
