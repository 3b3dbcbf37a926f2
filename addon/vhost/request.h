/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of virtio-blk (virtio 1.2, 5.2.6) out of a chain of buffers. Header and segments are copies; of the
 * guest's memory only the places of data and status are kept.
 */
#ifndef TRESOR_VHOST_REQUEST_H
#define TRESOR_VHOST_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "addon/disk/plain.h"
#include "addon/vhost/virtqueue.h"

#define REQUEST_PIECES		256u	/* a chain of seg_max (126), header and status, with what crosses regions */
#define REQUEST_SEGMENTS	16u	/* of a discard; src/vhost/config.ts says so to guests, and the two below */
#define DISCARD_SIZE		(1ull << 30)
#define ZERO_SIZE		(32ull << 20)
#define REQUEST_ID_SIZE		20u

enum request_type { REQUEST_READ, REQUEST_WRITE, REQUEST_FLUSH, REQUEST_ID, REQUEST_DISCARD, REQUEST_ZERO };

/* Bytes of the volume. */
struct request_segment {
	uint64_t offset, length;
};

struct request {
	enum request_type type;
	uint8_t outcome;	/* VIRTIO_BLK_S_*: other than OK, it is not to be begun */
	uint32_t segment_count;	/* a read or write has one */
	struct request_segment segments[REQUEST_SEGMENTS];
	uint8_t *status;	/* the guest's */
	uint32_t piece_count;	/* of the guest's memory: the data to be written, or where it goes */
	struct iovec *pieces;
	struct iovec storage[REQUEST_PIECES];
};

/* A place in the pieces. */
struct request_cursor {
	uint32_t piece;
	size_t offset;
};

/* `discards`: they are carried out. What a guest may not ask for has its outcome; RING_SHAPE is what no driver sends. */
enum virtqueue_fault request_read(struct request *request, const struct virtqueue *queue, uint16_t head,
				  const struct plain_volume *volume, bool discards);
/* Moves on by `length`, which the data have, and copies to or from the guest's memory. */
void request_give(const struct request *request, struct request_cursor *cursor, const uint8_t *from, size_t length);
void request_take(const struct request *request, struct request_cursor *cursor, uint8_t *to, size_t length);
/*
 * The next whole sectors in pieces that an enclave takes where they are, at most `length` bytes and `room` pieces: the
 * cursor moves on. 0: the next sector is not in one such piece.
 */
uint32_t request_whole(const struct request *request, struct request_cursor *cursor, uint32_t sector, uint32_t length,
		       struct iovec *pieces, uint32_t *count, uint32_t room);

#endif
