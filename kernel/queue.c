// SPDX-License-Identifier: GPL-2.0
#include "queue.h"

#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#define BLOCK	16u

size_t tresor_descriptors_size(u32 depth)
{
	return PAGE_ALIGN(TRESOR_DESCRIPTORS_OFFSET + depth * sizeof(struct tresor_descriptor));
}

int tresor_queue_init(struct tresor_queue *queue, u32 depth)
{
	u32 i;

	spin_lock_init(&queue->lock);
	init_waitqueue_head(&queue->wait);
	INIT_LIST_HEAD(&queue->backlog);
	queue->depth = depth;
	queue->free_count = depth;
	queue->free = kvcalloc(depth, sizeof(*queue->free), GFP_KERNEL);
	queue->ready = kvcalloc(depth, sizeof(*queue->ready), GFP_KERNEL);
	queue->slots = kvcalloc(depth, sizeof(*queue->slots), GFP_KERNEL);
	queue->head = vmalloc_user(tresor_descriptors_size(depth));
	queue->data = vmalloc_user((size_t)depth * TRESOR_SLOT_SIZE);
	if (!queue->free || !queue->ready || !queue->slots || !queue->head || !queue->data) {
		tresor_queue_exit(queue);
		return -ENOMEM;
	}
	queue->descriptors = (void *)((u8 *)queue->head + TRESOR_DESCRIPTORS_OFFSET);
	/* Low numbers first: a shallow load stays in few pages. */
	for (i = 0; i < depth; i++)
		queue->free[i] = (u16)(depth - 1 - i);
	return 0;
}

void tresor_queue_exit(struct tresor_queue *queue)
{
	/* Data of the last depth requests; the pages go back to the system. */
	if (queue->data)
		memset(queue->data, 0, (size_t)queue->depth * TRESOR_SLOT_SIZE);
	if (queue->head)
		memset(queue->head, 0, tresor_descriptors_size(queue->depth));
	vfree(queue->data);
	vfree(queue->head);
	kvfree(queue->slots);
	kvfree(queue->ready);
	kvfree(queue->free);
	memset(queue, 0, sizeof(*queue));
}

/* Must hold queue->lock, with a slot free. */
static u16 take_slot(struct tresor_queue *queue, struct tresor_request *request)
{
	u16 index = queue->free[queue->free_count - 1];

	WRITE_ONCE(queue->free_count, queue->free_count - 1);
	queue->slots[index].request = request;
	queue->slots[index].state = TRESOR_SLOT_FILLING;
	return index;
}

/* Must hold queue->lock. */
static void give_slot(struct tresor_queue *queue, u16 index)
{
	queue->slots[index].request = NULL;
	queue->slots[index].state = TRESOR_SLOT_FREE;
	queue->free[queue->free_count] = index;
	WRITE_ONCE(queue->free_count, queue->free_count + 1);
}

/* Must hold queue->lock. */
static void make_ready(struct tresor_queue *queue, u16 index)
{
	queue->slots[index].since = jiffies;
	queue->slots[index].state = TRESOR_SLOT_READY;
	queue->ready[queue->ready_tail & (queue->depth - 1)] = index;
	WRITE_ONCE(queue->ready_tail, queue->ready_tail + 1);
	if (!queue->outstanding++)
		tresor_queue_busy(queue);
	WRITE_ONCE(queue->head->submitted, ++queue->submitted);
}

static void wake_daemon(struct tresor_queue *queue)
{
	if (wq_has_sleeper(&queue->wait))
		wake_up_interruptible(&queue->wait);
}

/* The others chain by the IV alone: a later part is no different from a request. */
static bool has_own_start(u8 mode)
{
	return mode == TRESOR_KMODE_XTS || mode == TRESOR_KMODE_CBC_ESSIV;
}

/* The owner of a FILLING or DRAINING slot writes the request's next part into it. */
static void fill_slot(struct tresor_queue *queue, u16 index)
{
	struct tresor_slot *slot = &queue->slots[index];
	struct tresor_request *request = slot->request;
	struct tresor_descriptor *descriptor = &queue->descriptors[index];
	u8 *data = queue->data + (size_t)index * TRESOR_SLOT_SIZE;
	u32 padded;

	slot->part = min_t(u32, request->length - request->done, TRESOR_SLOT_SIZE);
	/* CTR alone may end within a block. */
	padded = round_up(slot->part, BLOCK);
	tresor_request_read(request, data, slot->part);
	memset(data + slot->part, 0, padded - slot->part);

	descriptor->length = padded;
	descriptor->cookie = tresor_key_cookie(request->key);
	descriptor->mode = request->mode;
	descriptor->decrypt = request->decrypt;
	descriptor->flags = request->done && has_own_start(request->mode) ? TRESOR_PART_CONTINUED : 0;
	memcpy(descriptor->iv, request->iv, sizeof(descriptor->iv));
}

/* Returns false, and the slot, when the queue died meanwhile. */
static bool submit_slot(struct tresor_queue *queue, u16 index)
{
	bool alive;

	fill_slot(queue, index);
	spin_lock_bh(&queue->lock);
	alive = !queue->dead;
	if (alive)
		make_ready(queue, index);
	else
		give_slot(queue, index);
	spin_unlock_bh(&queue->lock);
	return alive;
}

int tresor_queue_submit(struct tresor_queue *queue, struct tresor_request *request)
{
	int ret = -ENOSPC;
	u16 index;

	spin_lock_bh(&queue->lock);
	if (queue->dead) {
		ret = -ESHUTDOWN;
		goto out;
	}
	if (!queue->free_count || !list_empty(&queue->backlog)) {
		if (request->may_backlog) {
			request->owed = true;
			list_add_tail(&request->node, &queue->backlog);
			WRITE_ONCE(queue->backlog_count, queue->backlog_count + 1);
			ret = -EBUSY;
		}
		goto out;
	}
	index = take_slot(queue, request);
	spin_unlock_bh(&queue->lock);

	if (!submit_slot(queue, index))
		return -ESHUTDOWN;
	wake_daemon(queue);
	return -EINPROGRESS;
out:
	spin_unlock_bh(&queue->lock);
	return ret;
}

/* Must hold queue->lock. From the backlog's head to free slots. */
static u32 promote(struct tresor_queue *queue, u16 *indices, u32 max)
{
	struct tresor_request *request;
	u32 count = 0;

	while (count < max && queue->free_count && !queue->dead) {
		request = list_first_entry_or_null(&queue->backlog, struct tresor_request, node);
		if (!request)
			break;
		list_del_init(&request->node);
		WRITE_ONCE(queue->backlog_count, queue->backlog_count - 1);
		indices[count++] = take_slot(queue, request);
	}
	return count;
}

static void submit_promoted(struct tresor_queue *queue, const u16 *indices, u32 count,
			    struct list_head *left)
{
	struct tresor_request *request;
	u32 i;

	for (i = 0; i < count; i++) {
		request = queue->slots[indices[i]].request;
		/* Before the daemon can see it: the result must not overtake the notice. */
		tresor_request_progress(request);
		if (!submit_slot(queue, indices[i]))
			list_add_tail(&request->node, left);
	}
	if (count)
		wake_daemon(queue);
}

void tresor_queue_adopt(struct tresor_queue *queue, struct list_head *requests,
			struct list_head *left)
{
	struct tresor_request *request;
	u16 indices[TRESOR_BATCH_MAX];
	u32 count;

	spin_lock_bh(&queue->lock);
	if (queue->dead) {
		list_splice_tail_init(requests, left);
	} else {
		list_for_each_entry(request, requests, node)
			WRITE_ONCE(queue->backlog_count, queue->backlog_count + 1);
		list_splice_tail_init(requests, &queue->backlog);
	}
	spin_unlock_bh(&queue->lock);
	do {
		spin_lock_bh(&queue->lock);
		count = promote(queue, indices, ARRAY_SIZE(indices));
		spin_unlock_bh(&queue->lock);
		submit_promoted(queue, indices, count, left);
	} while (count);
}

/* Marks the slots that are the daemon's to commit; the others are rejected. */
static u32 accept(struct tresor_queue *queue, const struct tresor_result *results, u32 count,
		  u8 *accepted)
{
	u32 i, index, taken = 0;

	spin_lock_bh(&queue->lock);
	for (i = 0; i < count; i++) {
		index = results[i].slot;
		if (index >= queue->depth)
			continue;
		index = array_index_nospec(index, queue->depth);
		/* Never handed out, or already back: forged or sent twice. */
		if (queue->slots[index].state != TRESOR_SLOT_DAEMON)
			continue;
		queue->slots[index].state = TRESOR_SLOT_DRAINING;
		queue->outstanding--;
		accepted[taken++] = (u8)i;
	}
	spin_unlock_bh(&queue->lock);
	return taken;
}

/* Takes one result out of its slot. Returns true when a part is left, then in the slot. */
static bool drain_slot(struct tresor_queue *queue, const struct tresor_result *result)
{
	struct tresor_slot *slot = &queue->slots[result->slot];
	struct tresor_request *request = slot->request;

	if (result->status) {
		request->error = result->status == -ENOKEY ? -ENOKEY : -EIO;
		return false;
	}
	tresor_request_write(request, queue->data + (size_t)result->slot * TRESOR_SLOT_SIZE,
			     slot->part);
	memcpy(request->iv, result->iv, sizeof(request->iv));
	request->done += slot->part;
	if (request->done == request->length)
		return false;
	fill_slot(queue, result->slot);
	return true;
}

void tresor_queue_commit(struct tresor_queue *queue, const struct tresor_result *results,
			 u32 count, struct tresor_batch_counts *counts)
{
	struct tresor_request *request;
	bool more[TRESOR_BATCH_MAX];
	u8 accepted[TRESOR_BATCH_MAX];
	u16 indices[TRESOR_BATCH_MAX];
	LIST_HEAD(finished);
	LIST_HEAD(orphans);
	u32 i, taken, promoted;

	taken = accept(queue, results, count, accepted);
	counts->taken += taken;
	counts->rejected += count - taken;
	for (i = 0; i < taken; i++)
		more[i] = drain_slot(queue, &results[accepted[i]]);

	/* Slots are free before any callback runs: it may submit the next request. */
	spin_lock_bh(&queue->lock);
	for (i = 0; i < taken; i++) {
		u16 index = results[accepted[i]].slot;

		request = queue->slots[index].request;
		if (more[i] && !queue->dead) {
			make_ready(queue, index);
			continue;
		}
		list_add_tail(&request->node, more[i] ? &orphans : &finished);
		give_slot(queue, index);
	}
	promoted = promote(queue, indices, ARRAY_SIZE(indices));
	spin_unlock_bh(&queue->lock);

	submit_promoted(queue, indices, promoted, &orphans);
	if (!list_empty(&orphans))
		tresor_requests_place(&orphans);
	if (!list_empty(&finished))
		tresor_requests_complete(&finished);
}

u32 tresor_queue_fetch(struct tresor_queue *queue, u16 *slots, u32 max, u32 bytes)
{
	u32 count = 0, total = 0;

	spin_lock_bh(&queue->lock);
	while (count < max && queue->ready_head != queue->ready_tail) {
		u16 index = queue->ready[queue->ready_head & (queue->depth - 1)];

		if (bytes && total && total + queue->slots[index].part > bytes)
			break;
		total += queue->slots[index].part;
		WRITE_ONCE(queue->ready_head, queue->ready_head + 1);
		queue->slots[index].state = TRESOR_SLOT_DAEMON;
		queue->slots[index].since = jiffies;
		queue->fetched = jiffies;
		slots[count++] = index;
	}
	spin_unlock_bh(&queue->lock);
	return count;
}

void tresor_queue_unfetch(struct tresor_queue *queue, const u16 *slots, u32 count)
{
	u32 i;

	spin_lock_bh(&queue->lock);
	for (i = 0; i < count; i++) {
		/* Not when it was swept as dead in between. */
		if (queue->slots[slots[i]].state != TRESOR_SLOT_DAEMON)
			continue;
		queue->outstanding--;
		make_ready(queue, slots[i]);
	}
	spin_unlock_bh(&queue->lock);
}

enum tresor_queue_health tresor_queue_check(struct tresor_queue *queue, unsigned long timeout)
{
	enum tresor_queue_health health = TRESOR_QUEUE_IDLE;
	u32 i;

	spin_lock_bh(&queue->lock);
	if (!queue->outstanding)
		goto out;
	health = TRESOR_QUEUE_BUSY;
	/* Those it has, each for itself: one that is lost shows beside any number that come back. */
	for (i = 0; i < queue->depth; i++)
		if (queue->slots[i].state == TRESOR_SLOT_DAEMON &&
		    time_after(jiffies, queue->slots[i].since + timeout))
			health = TRESOR_QUEUE_HUNG;
	/* Those that wait, the oldest: behind many it may wait long, though not for nothing. */
	if (queue->ready_head != queue->ready_tail) {
		i = queue->ready[queue->ready_head & (queue->depth - 1)];
		if (time_after(jiffies, queue->slots[i].since + timeout) &&
		    time_after(jiffies, queue->fetched + timeout))
			health = TRESOR_QUEUE_HUNG;
	}
out:
	spin_unlock_bh(&queue->lock);
	return health;
}

void tresor_queue_kill(struct tresor_queue *queue, struct list_head *requests)
{
	u32 i;

	spin_lock_bh(&queue->lock);
	queue->dead = true;
	for (i = 0; i < queue->depth; i++) {
		struct tresor_slot *slot = &queue->slots[i];

		if (slot->state != TRESOR_SLOT_READY && slot->state != TRESOR_SLOT_DAEMON)
			continue;
		list_add_tail(&slot->request->node, requests);
		give_slot(queue, (u16)i);
	}
	queue->outstanding = 0;
	WRITE_ONCE(queue->backlog_count, 0);
	WRITE_ONCE(queue->ready_head, queue->ready_tail);
	list_splice_tail_init(&queue->backlog, requests);
	spin_unlock_bh(&queue->lock);
	wake_up_all(&queue->wait);
}
