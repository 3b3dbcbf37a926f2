/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue in a guest's memory (virtio 1.2, 2.7), as the device uses it. The guest writes there while we
 * read: each field is read once, into memory of ours, and checked there. What is written there is never read back.
 * One thread's.
 */
#ifndef TRESOR_VHOST_VIRTQUEUE_H
#define TRESOR_VHOST_VIRTQUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "addon/vhost/inflight.h"
#include "addon/vhost/regions.h"

#define VIRTQUEUE_MAX	1024u	/* descriptors, as QEMU has it */

/* Why a ring is broken: what no driver does that keeps to the specification. */
enum virtqueue_fault {
	RING_SOUND,
	RING_PLACE,	/* the ring is not in the memory that was shared, or not aligned */
	RING_INDEX,	/* avail.idx is more than a ring's size ahead */
	RING_HEAD,	/* a head or a next that is no descriptor */
	RING_LOOP,	/* a chain longer than the ring */
	RING_INDIRECT,	/* an indirect table that is nested, of odd length, or not in one region */
	RING_ORDER,	/* readable after writable */
	RING_ADDRESS,	/* a buffer outside the memory that was shared */
	RING_SHAPE,	/* a request without its header or status */
	RING_MEMORY,	/* the front-end took memory away */
	RING_INFLIGHT,	/* the record of requests under way makes no sense */
	RING_BEGIN,	/* not the ring's fault: no memory or descriptors for its thread's I/O */
	RING_KICK,	/* the descriptor of kicks cannot be waited for */
};

struct virtqueue_place {
	uint16_t size;		/* descriptors, a power of two */
	uint16_t next;		/* of the available ring: where to go on */
	uint64_t descriptors, used, available;	/* addresses of the front-end's */
	bool event_index;
};

struct virtqueue {
	const struct regions *regions;
	uint16_t size;
	bool event_index;
	uint16_t next;		/* of the available ring */
	uint16_t used;		/* idx of the used ring, with what is not published */
	uint16_t published;	/* idx that the guest sees */
	uint16_t notified;	/* idx of the last notification */
	volatile void *descriptors, *available, *used_ring;
	struct inflight inflight;
	uint16_t recovered[VIRTQUEUE_MAX];	/* heads, to be taken first */
	uint16_t recovered_count, recovered_next;
	uint16_t answered[VIRTQUEUE_MAX];	/* heads, since the last publish: `size` at most */
};

/* Pieces of a request's buffers: readable ones first. */
struct chain {
	uint32_t readable, count;
	uint32_t room;
	struct iovec *pieces;	/* the caller's */
};

/* `inflight`, opened; without a region, what was under way is not known. */
enum virtqueue_fault virtqueue_open(struct virtqueue *queue, const struct regions *regions,
				    const struct virtqueue_place *place, const struct inflight *inflight);

/* The next head that the driver has put; false: there is none, or `fault`. */
bool virtqueue_next(struct virtqueue *queue, uint16_t *head, enum virtqueue_fault *fault);
/* The buffers of a head that was taken. */
enum virtqueue_fault virtqueue_chain(const struct virtqueue *queue, uint16_t head, struct chain *chain);
/* Answers it; `written`: bytes in its writable buffers. Shown by the next publish, or when the used ring is full. */
void virtqueue_answer(struct virtqueue *queue, uint16_t head, uint32_t written);
/* True: the driver wants to be notified. */
bool virtqueue_publish(struct virtqueue *queue);
/* From now on the driver kicks when it puts something. True: it has put something meanwhile. */
bool virtqueue_listen(struct virtqueue *queue);
/* It need not. */
void virtqueue_ignore(struct virtqueue *queue);
/* Something that was put and not taken, without taking it. */
bool virtqueue_waiting(const struct virtqueue *queue);

#endif
