/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of virtio-blk as I/O on a volume: each in parts, as much as one piece of the arena takes, read and written
 * through the enclave (disk/plain.h), in the guest's memory where that is sealed. One thread's, which gives a share of
 * what is large to a lane (disk/lanes.h) while there are more processors than vrings.
 */
#ifndef TRESOR_VHOST_REQUEST_QUEUE_H
#define TRESOR_VHOST_REQUEST_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "addon/disk/plain.h"
#include "addon/vhost/regions.h"
#include "addon/vhost/request.h"

/* A request under way. The caller's, with the guest's memory, until no part of it is under way. */
struct request_io {
	struct request request;
	uint32_t under_way;	/* parts */
	uint32_t segment;	/* where to go on */
	uint64_t begun;		/* bytes of that segment */
	struct request_cursor cursor;
	bool keyless;		/* a part found no key; no more are begun */
	bool quiet;		/* for no other reason than a quiet range (disk/quiet.h) */
};

struct request_queue_options {
	struct plain_volume *volume;
	const struct regions *regions;	/* stay */
	uint8_t id[REQUEST_ID_SIZE];
	const unsigned *running;	/* atomic: vrings that run */
	unsigned processors;
	/* From within a turn: no part of it is under way any more. A part's error is the request's outcome by then. */
	void (*ended)(void *context, struct request_io *io);
	void *context;
};

struct request_queue;

/* With a reference to the volume. NULL: no memory or descriptors. */
struct request_queue *request_queue_open(const struct request_queue_options *options);
/* A request that was read (request_read), or is to be begun once more. */
void request_io_reset(struct request_io *io);
/* Begins what there is room for. True: all of it was; else again, once a part of any has ended. */
bool request_queue_begin(struct request_queue *queue, struct request_io *io);
/* What is read from now on is given to nobody: the guest's memory may not be its own any more. */
void request_queue_abandon(struct request_queue *queue);
/* As plain_queue_turn, without a wait. `room`: parts have ended, so that there may be room for others. */
bool request_queue_turn(struct request_queue *queue, bool *room);
/* Readable when a turn has something to do that is under way. Stays the queue's. */
int request_queue_fd(const struct request_queue *queue);
/* And this one. -1: there is no lane, until a turn has had one opened. */
int request_queue_lane_fd(const struct request_queue *queue);
/* What is under way is given `ms`. False: the disk holds some; then the queue stays, and what it was given must. */
bool request_queue_close(struct request_queue *queue, int ms);

#endif
