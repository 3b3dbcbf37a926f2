/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A queue: slots shared with one thread of a daemon, and the backlog behind
 * them. Knows neither scatterlists nor keys' lives; the four functions at the
 * end are given to it. bench/ring-model compiles the same file in user space.
 */
#ifndef TRESOR_QUEUE_H
#define TRESOR_QUEUE_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "../abi/kmod.h"

struct tresor_key;

/* A request of the Crypto API, in its own context memory: nothing is allocated. */
struct tresor_request {
	struct list_head node;
	struct tresor_key *key;	/* a reference */
	u32 length;
	u32 done;		/* bytes already written to the destination */
	int error;
	int src_nents;
	int dst_nents;
	u8 mode;
	bool decrypt;
	bool may_backlog;
	bool owed;		/* -EBUSY was returned: exactly one -EINPROGRESS is due */
	u8 iv[16];
};

/*
 * FREE and READY are the queue's; FILLING belongs to whoever took the slot,
 * DAEMON to the daemon, DRAINING to the EXCHANGE that commits it. A dying
 * queue takes requests out of READY and DAEMON slots only: the owners of the
 * others find it dead when they are done.
 */
enum tresor_slot_state {
	TRESOR_SLOT_FREE,
	TRESOR_SLOT_FILLING,
	TRESOR_SLOT_READY,
	TRESOR_SLOT_DAEMON,
	TRESOR_SLOT_DRAINING,
};

struct tresor_slot {
	struct tresor_request *request;
	u32 part;		/* bytes of the request in it */
	enum tresor_slot_state state;
};

struct tresor_queue {
	/* Protects everything up to wait, and the states of slots. */
	spinlock_t lock;
	bool dead;
	u32 depth;
	u32 free_count;
	u32 ready_head;		/* of ready[], masked by depth - 1 */
	u32 ready_tail;
	u32 outstanding;	/* slots READY or DAEMON */
	u32 backlog_count;
	u64 submitted;
	unsigned long progress;	/* jiffies: last sign of life, or first request after a rest */
	struct list_head backlog;
	u16 *free;
	u16 *ready;
	struct tresor_slot *slots;

	wait_queue_head_t wait;
	unsigned long exchanging;	/* bit 0: a thread is in EXCHANGE */

	/* Shared with the daemon. descriptors are written, never read. */
	struct tresor_ring_head *head;
	struct tresor_descriptor *descriptors;
	u8 *data;
};

struct tresor_batch_counts {
	u32 taken;
	u32 rejected;
};

size_t tresor_descriptors_size(u32 depth);
int tresor_queue_init(struct tresor_queue *queue, u32 depth);
/* Zeroes what was shared. No request may be left. */
void tresor_queue_exit(struct tresor_queue *queue);

/*
 * Any context but hard interrupt. -EINPROGRESS: queued. -EBUSY: in the
 * backlog. -ENOSPC: full and no backlog allowed. -ESHUTDOWN: the queue is
 * dead. With the last two the request is the caller's again.
 */
int tresor_queue_submit(struct tresor_queue *queue, struct tresor_request *request);
/* Process context: requests that were accepted before, from another queue. */
void tresor_queue_adopt(struct tresor_queue *queue, struct list_head *requests);
/* Requests inside, without the lock: at any moment nearly right. */
static inline u32 tresor_queue_load(const struct tresor_queue *queue)
{
	return queue->depth - READ_ONCE(queue->free_count) + READ_ONCE(queue->backlog_count);
}

/* Process context; count <= TRESOR_BATCH_MAX. Completes requests. */
void tresor_queue_commit(struct tresor_queue *queue, const struct tresor_result *results,
			 u32 count, struct tresor_batch_counts *counts);
u32 tresor_queue_fetch(struct tresor_queue *queue, u16 *slots, u32 max, u32 bytes);
/* Slots that could not be told to the daemon after all. */
void tresor_queue_unfetch(struct tresor_queue *queue, const u16 *slots, u32 count);
/* No request enters or leaves any more; those inside are moved to the list. */
void tresor_queue_kill(struct tresor_queue *queue, struct list_head *requests);

static inline bool tresor_queue_ready(const struct tresor_queue *queue)
{
	return READ_ONCE(queue->ready_head) != READ_ONCE(queue->ready_tail);
}

/* Given by cipher.c and key.c (and by the model). */
void tresor_request_read(struct tresor_request *request, u8 *to, u32 length);
void tresor_request_write(struct tresor_request *request, const u8 *from, u32 length);
/* Delivers the owed -EINPROGRESS, if one is owed. */
void tresor_request_progress(struct tresor_request *request);
/* The request may be gone when it returns. */
void tresor_request_complete(struct tresor_request *request, int error);
/* An accepted request whose queue died. */
void tresor_request_orphan(struct tresor_request *request);
u32 tresor_key_cookie(const struct tresor_key *key);

#endif
