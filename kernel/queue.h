/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A queue: slots shared with one thread of a daemon, and the backlog behind
 * them. Knows neither scatterlists nor keys' lives; the functions at the end
 * are given to it. bench/ring-model compiles the same file in user space.
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
	unsigned long since;	/* jiffies: READY, or DAEMON, from then on */
	u32 part;		/* bytes of the request in it */
	enum tresor_slot_state state;
};

struct tresor_queue {
	/*
	 * Protects everything up to wait, and the states of slots. Written with
	 * WRITE_ONCE as others read them without it: free_count, backlog_count
	 * (tresor_queue_load), ready_head, ready_tail (tresor_queue_ready).
	 */
	spinlock_t lock;
	bool dead;
	u32 depth;
	u32 free_count;
	u32 ready_head;		/* of ready[], masked by depth - 1 */
	u32 ready_tail;
	u32 outstanding;	/* slots READY or DAEMON */
	u32 backlog_count;
	u64 submitted;
	unsigned long fetched;	/* jiffies: the daemon last took a slot */
	struct list_head backlog;
	u16 *free;
	u16 *ready;
	struct tresor_slot *slots;

	wait_queue_head_t wait;
	void *owner;			/* for tresor_queue_busy() */
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
/*
 * Process context: requests that were accepted before, from another queue.
 * Those that this queue can not take either, being dead, end in @left.
 */
void tresor_queue_adopt(struct tresor_queue *queue, struct list_head *requests,
			struct list_head *left);
/* Requests inside, without the lock: at any moment nearly right. */
static inline u32 tresor_queue_load(const struct tresor_queue *queue)
{
	return queue->depth - READ_ONCE(queue->free_count) + READ_ONCE(queue->backlog_count);
}


enum tresor_queue_health { TRESOR_QUEUE_IDLE, TRESOR_QUEUE_BUSY, TRESOR_QUEUE_HUNG };
/* HUNG: a slot has been with the daemon, or waits for one that takes none, longer than @timeout jiffies. */
enum tresor_queue_health tresor_queue_check(struct tresor_queue *queue, unsigned long timeout);

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

/* Given by request.c, key.c, route.c and daemon.c (and by the model). */
void tresor_request_read(struct tresor_request *request, u8 *to, u32 length);
void tresor_request_write(struct tresor_request *request, const u8 *from, u32 length);
/* Delivers the owed -EINPROGRESS, if one is owed. */
void tresor_request_progress(struct tresor_request *request);
/* Their errors are set. Runs no callback itself: those may wait for this very daemon. */
void tresor_requests_complete(struct list_head *requests);
/* Accepted requests whose queue died. Calls no function of this one. */
void tresor_requests_place(struct list_head *requests);
/* The first slot is out. Any context, with the lock held. */
void tresor_queue_busy(struct tresor_queue *queue);
u32 tresor_key_cookie(const struct tresor_key *key);

#endif
