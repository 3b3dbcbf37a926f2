/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue of a ublk device, as its thread serves it: the kernel's requests, which wait for memory or a key, with the
 * disk and back. server.h has the threads.
 */
#ifndef TRESOR_UBLK_QUEUE_H
#define TRESOR_UBLK_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/ublk.h"
#include "addon/disk/counters.h"
#include "addon/disk/plain.h"

/* Bytes of the longest request that is served. */
#define UBLK_REQUEST_SIZE	(128u * 1024u)

enum ublk_mode {
	UBLK_SERVE,
	UBLK_HOLD,	/* what needs the key waits, with the kernel; plaintext is wiped */
	UBLK_FAIL,	/* what needs the key ends with EIO, also what waits */
	UBLK_DRAIN,	/* nothing is begun any more, all of it waits with the kernel; what is under way ends */
};

/* What the queues of a device share; unchanged while there are any, but for the mode. */
struct ublk_site {
	struct plain_volume *volume;
	int device;		/* /dev/ublkcN */
	uint32_t depth;
	bool discards;
	enum ublk_mode mode;	/* atomic; wake the queues after a change */
	/* A request found no key although it was to be served. It waits until the mode is set, to the same if need be. */
	void (*starved)(void *context);
	void *context;
};

struct ublk_queue;

/* NULL with errno. */
struct ublk_queue *ublk_queue_open(struct ublk_site *site, uint16_t index);
/* Has ended, or never began. Afterwards only its counters are there, until it is freed. */
void ublk_queue_close(struct ublk_queue *queue);
void ublk_queue_free(struct ublk_queue *queue);

/* On the queue's thread. Every tag is fetched; 0 or an errno. */
int ublk_queue_begin(struct ublk_queue *queue);
/* Waits for something to do, and does it. False: the kernel has taken all tags back. */
bool ublk_queue_turn(struct ublk_queue *queue);
/* What is not answered is the next server's. False: the disk holds requests, and what they use must stay. */
bool ublk_queue_end(struct ublk_queue *queue);
/* errno of a tag that the kernel did not take; 0: it took them all. */
int ublk_queue_fault(const struct ublk_queue *queue);

/* By any thread, for as long as the mode stays UBLK_DRAIN: nothing is under way on the disk. */
bool ublk_queue_drained(const struct ublk_queue *queue);
/* By any thread: tags that the kernel took back. */
uint32_t ublk_queue_gone(const struct ublk_queue *queue);
/* By any thread: a turn that waits ends. */
void ublk_queue_wake(struct ublk_queue *queue);
/* Held: for a key. */
const struct counters *ublk_queue_counters(const struct ublk_queue *queue);

#endif
