/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/vhost/virtqueue.h"

#include <linux/virtio_ring.h>
#include <string.h>

#define available_of(queue)	((volatile struct vring_avail *)(queue)->available)
#define used_of(queue)		((volatile struct vring_used *)(queue)->used_ring)

/* Behind the ring's elements. */
static volatile uint16_t *used_event(const struct virtqueue *queue)
{
	return &available_of(queue)->ring[queue->size];
}

static volatile uint16_t *available_event(const struct virtqueue *queue)
{
	return (volatile uint16_t *)&used_of(queue)->ring[queue->size];
}

static uint16_t load(const volatile uint16_t *from)
{
	return __atomic_load_n(from, __ATOMIC_ACQUIRE);
}

enum virtqueue_fault virtqueue_open(struct virtqueue *queue, const struct regions *regions,
				    const struct virtqueue_place *place, const struct inflight *inflight)
{
	const uint64_t size = place->size;
	int left;

	memset(queue, 0, sizeof(*queue));
	if (size == 0 || size > VIRTQUEUE_MAX || (size & (size - 1)) != 0)
		return RING_PLACE;
	queue->regions = regions;
	queue->size = place->size;
	queue->event_index = place->event_index;
	queue->descriptors = regions_user(regions, place->descriptors, size * sizeof(struct vring_desc), 16);
	queue->available = regions_user(regions, place->available, 2 * (3 + size), 2);
	queue->used_ring = regions_user(regions, place->used, 6 + size * sizeof(struct vring_used_elem), 4);
	if (queue->descriptors == NULL || queue->available == NULL || queue->used_ring == NULL)
		return RING_PLACE;
	queue->next = place->next;
	queue->used = queue->published = queue->notified = load(&used_of(queue)->idx);
	queue->inflight = *inflight;
	left = inflight_recover(&queue->inflight, queue->used, queue->recovered);
	if (left < 0)
		return RING_INFLIGHT;
	queue->recovered_count = (uint16_t)left;
	/* What was taken, in whatever order: what is answered and what is under way. */
	if (inflight->region != NULL)
		queue->next = (uint16_t)(queue->used + left);
	return RING_SOUND;
}

bool virtqueue_waiting(const struct virtqueue *queue)
{
	return queue->recovered_next < queue->recovered_count || load(&available_of(queue)->idx) != queue->next;
}

bool virtqueue_next(struct virtqueue *queue, uint16_t *head, enum virtqueue_fault *fault)
{
	uint16_t ahead;

	if (queue->recovered_next < queue->recovered_count) {
		*head = queue->recovered[queue->recovered_next++];
		return true;
	}
	ahead = (uint16_t)(load(&available_of(queue)->idx) - queue->next);
	if (ahead == 0)
		return false;
	if (ahead > queue->size) {
		*fault = RING_INDEX;
		return false;
	}
	*head = available_of(queue)->ring[queue->next & (queue->size - 1)];
	if (*head >= queue->size) {
		*fault = RING_HEAD;
		return false;
	}
	queue->next++;
	inflight_take(&queue->inflight, *head);
	return true;
}

/* Once. */
static struct vring_desc copy(volatile const struct vring_desc *from)
{
	return (struct vring_desc){ .addr = from->addr, .len = from->len, .flags = from->flags, .next = from->next };
}

static enum virtqueue_fault add(const struct virtqueue *queue, const struct vring_desc *each, struct chain *chain)
{
	const bool writable = (each->flags & VRING_DESC_F_WRITE) != 0;

	if (!writable && chain->count > chain->readable)
		return RING_ORDER;
	if (!regions_guest(queue->regions, each->addr, each->len, chain->pieces, &chain->count, chain->room))
		return RING_ADDRESS;
	if (!writable)
		chain->readable = chain->count;
	return RING_SOUND;
}

/* A table of descriptors: the ring's own, or an indirect one, which may not have another. */
static enum virtqueue_fault walk(const struct virtqueue *queue, volatile const struct vring_desc *table, uint32_t size,
				 uint32_t at, struct chain *chain, struct vring_desc *indirect)
{
	for (uint32_t steps = 0; steps < size; steps++) {
		struct vring_desc each;
		enum virtqueue_fault fault;

		if (at >= size)
			return RING_HEAD;
		each = copy(&table[at]);
		if (each.flags & VRING_DESC_F_INDIRECT) {
			if (indirect == NULL || (each.flags & VRING_DESC_F_NEXT))
				return RING_INDIRECT;
			*indirect = each;
			return RING_SOUND;
		}
		fault = add(queue, &each, chain);
		if (fault != RING_SOUND || !(each.flags & VRING_DESC_F_NEXT))
			return fault;
		at = each.next;
	}
	return RING_LOOP;
}

enum virtqueue_fault virtqueue_chain(const struct virtqueue *queue, uint16_t head, struct chain *chain)
{
	struct vring_desc indirect = { 0 };
	enum virtqueue_fault fault;
	struct iovec table;
	uint32_t pieces = 0;

	chain->readable = chain->count = 0;
	fault = walk(queue, queue->descriptors, queue->size, head, chain, &indirect);
	if (fault != RING_SOUND || !(indirect.flags & VRING_DESC_F_INDIRECT))
		return fault;
	if (indirect.len == 0 || indirect.len % sizeof(struct vring_desc) != 0 ||
	    indirect.len / sizeof(struct vring_desc) > VIRTQUEUE_MAX ||
	    !regions_guest(queue->regions, indirect.addr, indirect.len, &table, &pieces, 1) ||
	    table.iov_len != indirect.len || (uintptr_t)table.iov_base % _Alignof(struct vring_desc) != 0)
		return RING_INDIRECT;
	return walk(queue, table.iov_base, indirect.len / sizeof(struct vring_desc), 0, chain, NULL);
}

static uint16_t unpublished(const struct virtqueue *queue)
{
	return (uint16_t)(queue->used - queue->published);
}

static void show(struct virtqueue *queue)
{
	__atomic_store_n(&used_of(queue)->idx, queue->used, __ATOMIC_RELEASE);
	inflight_publish(&queue->inflight, queue->answered, unpublished(queue), queue->used);
	queue->published = queue->used;
}

void virtqueue_answer(struct virtqueue *queue, uint16_t head, uint32_t written)
{
	volatile struct vring_used_elem *element;

	/* Only a driver that puts more than the ring holds has more answers than that: the used ring has no room for them. */
	if (unpublished(queue) == queue->size)
		show(queue);
	element = &used_of(queue)->ring[queue->used & (queue->size - 1)];
	element->id = head;
	element->len = written;
	queue->answered[unpublished(queue)] = head;
	queue->used++;
	inflight_answer(&queue->inflight, head);
}

bool virtqueue_publish(struct virtqueue *queue)
{
	const uint16_t before = queue->notified;

	if (queue->used != queue->published)
		show(queue);
	if (queue->notified == queue->published)
		return false;
	/* What the guest wants is read after it can see what there is. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	queue->notified = queue->published;
	if (!queue->event_index)
		return (load(&available_of(queue)->flags) & VRING_AVAIL_F_NO_INTERRUPT) == 0;
	return vring_need_event(load(used_event(queue)), queue->published, before) != 0;
}

bool virtqueue_listen(struct virtqueue *queue)
{
	if (queue->event_index)
		*available_event(queue) = queue->next;
	else
		used_of(queue)->flags = 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return virtqueue_waiting(queue);
}

void virtqueue_ignore(struct virtqueue *queue)
{
	/* With the event index a driver kicks once after `next`, and no more until that moves. */
	if (!queue->event_index)
		used_of(queue)->flags = VRING_USED_F_NO_NOTIFY;
}
