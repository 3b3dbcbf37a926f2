/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serves a ublk device (abi/ublk.h) from a volume: a thread a queue, each with requests of its own under way on
 * the disk, through the enclave. A request's data stay with the kernel until there is a key and memory for them.
 */
#ifndef TRESOR_UBLK_SERVER_H
#define TRESOR_UBLK_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "addon/ublk/queue.h"

#define UBLK_QUEUES_MOST	32u
#define UBLK_DEPTH_MOST		128u

struct ublk_options {
	int device;		/* /dev/ublkcN, opened; duplicated */
	uint32_t queues;	/* as the device has them, 1 to UBLK_QUEUES_MOST */
	uint32_t depth;		/* 1 to UBLK_DEPTH_MOST */
	bool discards;
};

/* Called by the threads. */
struct ublk_listener {
	/* A request found no key although it was to be served. It waits until the mode is set, to the same if need be. */
	void (*starved)(void *context);
	/* A thread has ended and nobody asked it to; errno, 0: the device was stopped. */
	void (*ended)(void *context, int error);
	void *context;
};

struct ublk_server;

/*
 * Every tag is fetched, and START_DEV may follow. With a reference to the volume. The listener is called until
 * ublk_server_stop begins. NULL with errno.
 */
struct ublk_server *ublk_server_open(struct plain_volume *volume, const struct ublk_options *options,
				     const struct ublk_listener *listener);
void ublk_server_set_mode(struct ublk_server *server, enum ublk_mode mode);
/* In mode UBLK_DRAIN: nothing is under way on the disk, nor will be until the mode is set. */
bool ublk_server_drained(const struct ublk_server *server);
/* The kernel has taken no tag back. */
bool ublk_server_whole(const struct ublk_server *server);
/* Held: for a key. */
struct counters ublk_server_counters(const struct ublk_server *server);
/*
 * Idempotent. Threads end: at once, and what is not answered is the next server's; or they have, since the device was
 * stopped. Waits for them, not for ever; afterwards the device is closed.
 */
void ublk_server_stop(struct ublk_server *server);
/* Stopped. What a thread that hangs uses stays. */
void ublk_server_free(struct ublk_server *server);

#endif
