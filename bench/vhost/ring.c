/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int ring_new(struct ring *ring, struct guest *guest, uint16_t size, bool event_idx)
{
	*ring = (struct ring){ .guest = guest, .size = size, .event_idx = event_idx, .free = size };
	ring->descriptors = guest_take_whole(guest, (uint64_t)DESCRIPTOR_SIZE * size, 16);
	ring->available = guest_take_whole(guest, 6 + 2ull * size, 2);
	ring->used = guest_take_whole(guest, 6 + 8ull * size, 4);
	ring->tokens = calloc(size, sizeof(*ring->tokens));
	ring->lengths = calloc(size, sizeof(*ring->lengths));
	ring->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ring->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ring->error = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (ring->tokens == NULL || ring->lengths == NULL || ring->kick < 0 || ring->call < 0 || ring->error < 0) {
		const int error = errno;

		ring_free(ring);
		return -error;
	}
	for (uint16_t i = 0; i < size; i++)
		ring->descriptors[i].next = (uint16_t)(i + 1);
	return 0;
}

void ring_free(struct ring *ring)
{
	const int files[] = { ring->kick, ring->call, ring->error };

	for (unsigned i = 0; i < 3; i++)
		if (files[i] >= 0)
			close(files[i]);
	free(ring->tokens);
	free(ring->lengths);
	memset(ring, 0, sizeof(*ring));
	ring->kick = ring->call = ring->error = -1;
}

static void describe(const struct ring *ring, struct vring_desc *at, const struct piece *piece, bool last)
{
	at->addr = guest_address(ring->guest, piece->memory);
	at->len = piece->length;
	at->flags = (uint16_t)((piece->written ? VRING_DESC_F_WRITE : 0) | (last ? 0 : VRING_DESC_F_NEXT));
}

bool ring_put(struct ring *ring, const struct piece *pieces, unsigned count, uint16_t token, struct vring_desc *table)
{
	const uint16_t head = ring->next_free, length = (uint16_t)(table != NULL ? 1 : count);

	if (ring->free < length)
		return false;
	for (unsigned i = 0; i < count; i++) {
		struct vring_desc *each = table != NULL ? &table[i] : &ring->descriptors[ring->next_free];

		describe(ring, each, &pieces[i], i + 1 == count);
		if (table != NULL)
			each->next = (uint16_t)(i + 1);
		else
			ring->next_free = each->next;
	}
	if (table != NULL) {
		struct vring_desc *each = &ring->descriptors[head];

		each->addr = guest_address(ring->guest, table);
		each->len = DESCRIPTOR_SIZE * count;
		each->flags = VRING_DESC_F_INDIRECT;
		ring->next_free = each->next;
	}
	ring->free = (uint16_t)(ring->free - length);
	ring->lengths[head] = length;
	ring->tokens[head] = token;
	ring->available->ring[ring->put++ % ring->size] = head;
	return true;
}

/* Behind the elements: which entry the device wants a kick for, and which one it shall call for. */
static bool kick_is_wanted(const struct ring *ring, uint16_t before)
{
	const uint16_t *event = (const uint16_t *)&ring->used->ring[ring->size];

	if (!ring->event_idx)
		return (__atomic_load_n(&ring->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY) == 0;
	return vring_need_event(__atomic_load_n(event, __ATOMIC_RELAXED), ring->published, before);
}

void ring_publish(struct ring *ring)
{
	const uint16_t before = ring->published;

	if (ring->put == before)
		return;
	ring->published = ring->put;
	__atomic_store_n(&ring->available->idx, ring->put, __ATOMIC_RELEASE);
	/* The device asks for kicks and then looks once more: one of the two sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (kick_is_wanted(ring, before)) {
		eventfd_write(ring->kick, 1);
		ring->kicks++;
	}
}

static bool pending(const struct ring *ring)
{
	return __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) != ring->taken;
}

bool ring_take(struct ring *ring, uint16_t *token, uint32_t *written)
{
	const struct vring_used_elem *element = &ring->used->ring[ring->taken % ring->size];
	uint16_t head, last;

	if (!pending(ring))
		return false;
	ring->taken++;
	head = last = (uint16_t)element->id;
	*token = ring->tokens[head];
	*written = element->len;
	for (uint16_t i = 1; i < ring->lengths[head]; i++)
		last = ring->descriptors[last].next;
	ring->descriptors[last].next = ring->next_free;
	ring->next_free = head;
	ring->free = (uint16_t)(ring->free + ring->lengths[head]);
	return true;
}

bool ring_arm(struct ring *ring)
{
	if (ring->event_idx)
		__atomic_store_n(&ring->available->ring[ring->size], ring->taken, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !pending(ring);
}

uint16_t ring_base(const struct ring *ring)
{
	return __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE);
}
