/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Front-ends that lie to the back-end. Each lie says what the back-end may do about it; that it still serves an honest
 * front-end afterwards, and has written nowhere else, hostile.c finds out.
 */
#ifndef TEST_VHOST_HOSTILE_LIES_H
#define TEST_VHOST_HOSTILE_LIES_H

#include "device.h"

/* What the back-end did, and sets of it. */
enum outcome {
	SERVED = 1,	/* as if nothing had been wrong */
	IGNORED = 2,	/* no answer, no error */
	IO_FAILED = 4,	/* the request's status is an I/O error */
	UNSUPPORTED = 8,
	BROKEN = 16,	/* the ring's error descriptor was written */
	REFUSED = 32,	/* a message was acknowledged with a failure */
	CLOSED = 64,	/* the connection */
};

/* Rings of an honest beginning; the lie is told on the second, the first has to go on. */
#define LYING_RING	1u
#define RING_SIZE	64u

/* Bytes at the end of the disk where lies may write; the rest must stay as it is. */
#define PLAYGROUND	(1ull << 20)

/* For what must be answered, on a machine that is busy; and how long nothing happens to be called nothing. */
#define ANSWER_MS	20000
#define SILENCE_MS	300

struct liar {
	const char *path;
	uint64_t random;
	uint64_t playground;	/* sector */
	struct device device;
	bool all;	/* the lie is about all rings: none needs to go on */
	/* One buffer of a request each; the data are 8 KiB. */
	struct virtio_blk_outhdr *header;
	uint8_t *data, *status;
	struct vring_desc *table;	/* of RING_SIZE */
};

struct lie {
	const char *name;
	unsigned allowed;	/* outcomes */
	enum outcome (*tell)(struct liar *liar);
};

extern const struct lie message_lies[], descriptor_lies[], region_lies[], ring_lies[], request_lies[], random_lies[];

/* Ends the program when the back-end refuses an honest beginning. */
void begin(struct liar *liar, bool inflight);
/* Only connected. */
void begin_connected(struct liar *liar);
/* Connected and negotiated, no memory shared. */
void begin_negotiated(struct liar *liar);

/* What came of a message told with session_tell(), or of any after it. */
enum outcome outcome_of(int error);
/* Whether the back-end is still there: asks for the features. */
enum outcome after_message(struct liar *liar, int error);

/* A read of 4 KiB at the start, as descriptors 0 to 2 of the lying ring. */
void honest_read(struct liar *liar);
/* Puts a head, shows it and kicks. */
void push(struct liar *liar, uint16_t head);
/* What comes of what was pushed; IGNORED after ANSWER_MS or SILENCE_MS. */
enum outcome after_push(struct liar *liar, int patience_ms);

static inline struct ring *lying_ring(struct liar *liar)
{
	return &liar->device.rings[LYING_RING];
}

#endif
