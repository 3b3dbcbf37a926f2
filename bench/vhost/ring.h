/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's side of a split virtqueue (virtio 1.2, 2.7). One thread. */
#ifndef BENCH_VHOST_RING_H
#define BENCH_VHOST_RING_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest.h"

/* A piece of a request: the device reads it or writes it. */
struct piece {
	const void *memory;
	uint32_t length;
	bool written;
};

struct ring {
	const struct guest *guest;
	uint16_t size;
	bool event_idx;
	int kick, call, error;	/* eventfds */
	/* In the guest's memory. */
	struct vring_desc *descriptors;
	struct vring_avail *available;
	struct vring_used *used;
	uint16_t *tokens, *lengths;	/* of chains, by head */
	uint16_t free, next_free;	/* how many descriptors are free, and the first of them */
	uint16_t put, published, taken;
	uint64_t kicks;	/* sent */
};

/* Of one request: 1 MiB in pages, header and status. */
#define PIECES_MAX	258u
/* Of a descriptor, in a ring or in a table of its own. */
#define DESCRIPTOR_SIZE	16u

/* Negative errno when the system refuses. */
int ring_new(struct ring *ring, struct guest *guest, uint16_t size, bool event_idx);
void ring_free(struct ring *ring);

/* The token comes back with it. With a table the request takes one descriptor. False when the ring is full. */
bool ring_put(struct ring *ring, const struct piece *pieces, unsigned count, uint16_t token, struct vring_desc *table);
/* Shows the device what was put, and kicks it where it asks for that. */
void ring_publish(struct ring *ring);
/* False when nothing has come back. */
bool ring_take(struct ring *ring, uint16_t *token, uint32_t *written);
/* Asks to be called for what comes back next; false when something has already. */
bool ring_arm(struct ring *ring);

/* Where SET_VRING_BASE continues: all that was published and is not back is under way again. */
uint16_t ring_base(const struct ring *ring);

#endif
