/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which requests a split ring has taken and not answered, in memory that the front-end keeps: the next
 * back-end answers what a killed one took. The layout is that of the vhost-user specification ("Inflight
 * I/O tracking"). The front-end may write there at any time: nothing in it is believed.
 */
#ifndef TRESOR_VHOST_INFLIGHT_H
#define TRESOR_VHOST_INFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

struct inflight_region;

/* One ring's part of the shared memory. */
struct inflight {
	struct inflight_region *region;	/* NULL: requests are not tracked */
	uint16_t size;			/* of the ring */
	uint64_t counter;		/* of the next request */
};

/* Bytes that one ring of so many descriptors takes. */
uint64_t inflight_size(uint16_t size);
/* Over that many bytes, 8-byte aligned. */
void inflight_open(struct inflight *inflight, uint8_t *memory, uint16_t size);

/*
 * What a back-end before us left: repairs the last batch, then the heads that it took and did not answer go to
 * `heads`, in the order in which they were taken; how many. `used`: the used ring's idx. -1: it makes no sense.
 */
int inflight_recover(struct inflight *inflight, uint16_t used, uint16_t *heads);

/* Each of these without a region: nothing. */
void inflight_take(struct inflight *inflight, uint16_t head);
/* In the used ring, whose idx does not show it yet. */
void inflight_answer(struct inflight *inflight, uint16_t head);
/* The used ring's idx now shows the whole batch: those `heads`, as they were answered. */
void inflight_publish(struct inflight *inflight, const uint16_t *heads, uint16_t count, uint16_t used);

#endif
