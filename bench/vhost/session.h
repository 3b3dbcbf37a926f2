/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to a back-end. 0, or a negative errno: -EPIPE where the back-end has closed, -ETIMEDOUT where it does
 * not answer, -EPROTO where the reply is none, -EREMOTEIO where it acknowledges with a failure.
 */
#ifndef BENCH_VHOST_SESSION_H
#define BENCH_VHOST_SESSION_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol.h"

struct session {
	int socket;
	int channel;			/* our end of the back-end's own requests, or -1 */
	uint64_t offered, features;	/* of the device */
	uint64_t protocol_offered, protocol;
	uint64_t queues;		/* the most */
	struct virtio_blk_config config;
};

static inline bool has(uint64_t features, unsigned bit)
{
	return (features >> bit & 1) != 0;
}

/* Connected, and nothing said. */
int session_open(struct session *session, const char *path);
void session_close(struct session *session);

/* The descriptors stay the caller's. */
int session_send(struct session *session, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		 const int *descriptors, unsigned count);
/* A reply of exactly `size` bytes; the descriptor that comes along becomes the caller's, -1 is none. */
int session_receive(struct session *session, uint32_t request, void *payload, uint32_t size, int *descriptor);

/* A request and its acknowledgement, where the protocol has them. */
int session_tell(struct session *session, uint32_t request, const void *payload, uint32_t size, const int *descriptors,
		 unsigned count);
/* A request without payload that is answered by a number. */
int session_ask(struct session *session, uint32_t request, uint64_t *answer);

/* Up to the configuration. Features that are not offered are not taken. */
int session_negotiate(struct session *session, uint64_t features, uint64_t protocol);
int session_read_config(struct session *session);

#endif
