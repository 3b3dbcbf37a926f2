/* SPDX-License-Identifier: Apache-2.0 */
/* Lies in rings: indexes, chains, indirect tables. Each is told in a ring that was honest until then. */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lies.h"
#include "random.h"

/* Begins, lets `change` have the descriptors of an honest read, and asks for it. */
static enum outcome changed(struct liar *liar, void (*change)(struct liar *liar, struct vring_desc *descriptors))
{
	begin(liar, false);
	honest_read(liar);
	change(liar, lying_ring(liar)->descriptors);
	push(liar, 0);
	return after_push(liar, ANSWER_MS);
}

static uint64_t end_of_memory(const struct liar *liar)
{
	return GUEST_BASE + liar->device.guest.size;
}

/* Every place that is not shared, for each of the three buffers in turn. */
static enum outcome addresses(struct liar *liar)
{
	enum outcome outcome = BROKEN;

	for (unsigned which = 0; which < 3; which++) {
		for (unsigned place = 0; place < 6; place++) {
			struct vring_desc *each;

			begin(liar, false);
			honest_read(liar);
			each = &lying_ring(liar)->descriptors[which];
			each->addr = (const uint64_t[]){
				0,     GUEST_BASE - 1,	     end_of_memory(liar), end_of_memory(liar) - each->len + 1,
				~0ull, ~0ull - each->len + 1
			}[place];
			/* A byte fits right there. */
			if (place == 3 && each->len == 1)
				each->addr = end_of_memory(liar);
			push(liar, 0);
			outcome = after_push(liar, ANSWER_MS);
			if (outcome == SERVED || outcome == IGNORED)
				return outcome;
			device_free(&liar->device);
		}
	}
	begin_connected(liar);
	return outcome;
}

static void long_length(struct liar *liar, struct vring_desc *descriptors)
{
	(void)liar;
	descriptors[1].len = 0xffffffff;
}

static void length_past_the_end(struct liar *liar, struct vring_desc *descriptors)
{
	descriptors[1].len = (uint32_t)(end_of_memory(liar) - descriptors[1].addr + 512);
}

static void next_out_of_range(struct liar *liar, struct vring_desc *descriptors)
{
	(void)liar;
	descriptors[1].next = RING_SIZE;
}

static void last_goes_on_nowhere(struct liar *liar, struct vring_desc *descriptors)
{
	(void)liar;
	descriptors[2].flags |= VRING_DESC_F_NEXT;
	descriptors[2].next = 0xffff;
}

static void loop(struct liar *liar, struct vring_desc *descriptors)
{
	(void)liar;
	descriptors[2].flags |= VRING_DESC_F_NEXT;
	descriptors[2].next = 1;
}

static void self_loop(struct liar *liar, struct vring_desc *descriptors)
{
	(void)liar;
	descriptors[1].next = 1;
}

static void readable_after_writable(struct liar *liar, struct vring_desc *descriptors)
{
	(void)liar;
	descriptors[0].flags = VRING_DESC_F_WRITE | VRING_DESC_F_NEXT;
	descriptors[1].flags = VRING_DESC_F_NEXT;
}

static void no_header(struct liar *liar, struct vring_desc *descriptors)
{
	(void)liar;
	descriptors[0].flags |= VRING_DESC_F_WRITE;
}

static void short_header(struct liar *liar, struct vring_desc *descriptors)
{
	(void)liar;
	descriptors[0].len = 15;
}

static void header_alone(struct liar *liar, struct vring_desc *descriptors)
{
	(void)liar;
	descriptors[0].flags = 0;
}

static void empty_buffers(struct liar *liar, struct vring_desc *descriptors)
{
	(void)liar;
	descriptors[0].len = descriptors[1].len = descriptors[2].len = 0;
}

static void no_status(struct liar *liar, struct vring_desc *descriptors)
{
	(void)liar;
	descriptors[2].flags = 0;
	descriptors[1].flags = VRING_DESC_F_NEXT;
}

static enum outcome long_lengths(struct liar *liar)
{
	return changed(liar, long_length);
}

static enum outcome lengths_past_the_end(struct liar *liar)
{
	return changed(liar, length_past_the_end);
}

static enum outcome nexts_out_of_range(struct liar *liar)
{
	return changed(liar, next_out_of_range);
}

static enum outcome nexts_of_the_last(struct liar *liar)
{
	return changed(liar, last_goes_on_nowhere);
}

static enum outcome loops(struct liar *liar)
{
	return changed(liar, loop);
}

static enum outcome self_loops(struct liar *liar)
{
	return changed(liar, self_loop);
}

static enum outcome wrong_order(struct liar *liar)
{
	return changed(liar, readable_after_writable);
}

static enum outcome headers_missing(struct liar *liar)
{
	return changed(liar, no_header);
}

static enum outcome headers_short(struct liar *liar)
{
	return changed(liar, short_header);
}

static enum outcome headers_alone(struct liar *liar)
{
	return changed(liar, header_alone);
}

static enum outcome buffers_empty(struct liar *liar)
{
	return changed(liar, empty_buffers);
}

static enum outcome status_missing(struct liar *liar)
{
	return changed(liar, no_status);
}

static enum outcome head_out_of_range(struct liar *liar)
{
	begin(liar, false);
	honest_read(liar);
	push(liar, RING_SIZE);
	return after_push(liar, ANSWER_MS);
}

/* More put than the ring has room for, and fewer than before. */
static enum outcome index_jumps(struct liar *liar)
{
	static const uint16_t jumps[] = { RING_SIZE + 1, 1000, 0x8000, 0xffff };
	enum outcome outcome = BROKEN;

	for (unsigned i = 0; i < sizeof(jumps) / sizeof(jumps[0]) && outcome == BROKEN; i++) {
		struct ring *ring;

		begin(liar, false);
		honest_read(liar);
		ring = lying_ring(liar);
		__atomic_store_n(&ring->available->idx, jumps[i], __ATOMIC_RELEASE);
		eventfd_write(ring->kick, 1);
		outcome = after_push(liar, ANSWER_MS);
		device_free(&liar->device);
	}
	begin_connected(liar);
	return outcome;
}

/* One chain in every entry of the ring: what it answers, it answers as often. */
static enum outcome one_head_many_times(struct liar *liar)
{
	struct ring *ring;

	begin(liar, false);
	honest_read(liar);
	ring = lying_ring(liar);
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < RING_SIZE; i++)
			ring->available->ring[ring->put++ % ring->size] = 0;
		__atomic_store_n(&ring->available->idx, ring->put, __ATOMIC_RELEASE);
		eventfd_write(ring->kick, 1);
		usleep(500);
	}
	return after_push(liar, ANSWER_MS);
}

/* The tables below lie at liar->table, as the only descriptor of the ring's. */
static void indirect(struct liar *liar, uint32_t length)
{
	struct vring_desc *descriptors = lying_ring(liar)->descriptors;

	memcpy(liar->table, descriptors, 3 * sizeof(*descriptors));
	descriptors[0] = (struct vring_desc){ guest_address(&liar->device.guest, liar->table), length,
					      VRING_DESC_F_INDIRECT, 0 };
}

static enum outcome indirect_lie(struct liar *liar, uint32_t length, void (*change)(struct liar *liar))
{
	begin(liar, false);
	honest_read(liar);
	indirect(liar, length);
	if (change != NULL)
		change(liar);
	push(liar, 0);
	return after_push(liar, ANSWER_MS);
}

static enum outcome indirect_lengths(struct liar *liar)
{
	static const uint32_t lengths[] = { 0, 1, 15, 47, 49, 0xffffffff, 0xfffffff0, 65536 * 16 };
	enum outcome outcome = BROKEN;

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		outcome = indirect_lie(liar, lengths[i], NULL);
		device_free(&liar->device);
		if (outcome == SERVED || outcome == IGNORED)
			break;
	}
	begin_connected(liar);
	return outcome;
}

static void nest(struct liar *liar)
{
	liar->table[0] = lying_ring(liar)->descriptors[0];
	liar->table[0].len = 48;
}

static void go_on(struct liar *liar)
{
	struct vring_desc *descriptors = lying_ring(liar)->descriptors;

	descriptors[0].flags |= VRING_DESC_F_NEXT;
	descriptors[0].next = 1;
}

static void outside(struct liar *liar)
{
	lying_ring(liar)->descriptors[0].addr = end_of_memory(liar) - 32;
}

static void loop_in_table(struct liar *liar)
{
	liar->table[2].flags |= VRING_DESC_F_NEXT;
	liar->table[2].next = 0;
}

static void next_out_of_table(struct liar *liar)
{
	liar->table[1].next = 3;
}

static void odd_address(struct liar *liar)
{
	lying_ring(liar)->descriptors[0].addr += 1;
}

/* Half of it in either region: served or refused, but read in one piece only where it is one. */
static void across(struct liar *liar)
{
	struct guest *guest = &liar->device.guest;
	uint8_t *place = guest->memory + guest->size / 2 - 16;

	memcpy(place, liar->table, 48);
	lying_ring(liar)->descriptors[0].addr = guest_address(guest, place);
}

static enum outcome indirect_nested(struct liar *liar)
{
	return indirect_lie(liar, 48, nest);
}

static enum outcome indirect_and_next(struct liar *liar)
{
	return indirect_lie(liar, 48, go_on);
}

static enum outcome indirect_outside(struct liar *liar)
{
	return indirect_lie(liar, 48, outside);
}

static enum outcome indirect_loop(struct liar *liar)
{
	return indirect_lie(liar, 48, loop_in_table);
}

static enum outcome indirect_next(struct liar *liar)
{
	return indirect_lie(liar, 48, next_out_of_table);
}

static enum outcome indirect_odd(struct liar *liar)
{
	return indirect_lie(liar, 48, odd_address);
}

static enum outcome indirect_across(struct liar *liar)
{
	return indirect_lie(liar, 48, across);
}

/* Data that lands on the ring itself. */
static enum outcome data_over_the_ring(struct liar *liar)
{
	struct ring *ring;
	struct guest *guest;

	/* Whole sectors: they hit the ring beside as well. */
	liar->all = true;
	begin(liar, false);
	ring = lying_ring(liar);
	guest = &liar->device.guest;
	for (unsigned i = 0; i < 3; i++) {
		const void *parts[] = { ring->descriptors, ring->available, ring->used };

		honest_read(liar);
		ring->descriptors[1].addr = guest_address(guest, parts[i]) & ~511ull;
		push(liar, 0);
		if (after_push(liar, SILENCE_MS) == CLOSED)
			return CLOSED;
	}
	return after_message(liar, 0);
}

/* Header, data and status in the same bytes. */
static enum outcome buffers_over_each_other(struct liar *liar)
{
	struct vring_desc *descriptors;

	begin(liar, false);
	honest_read(liar);
	descriptors = lying_ring(liar)->descriptors;
	descriptors[1].addr = descriptors[2].addr = descriptors[0].addr;
	push(liar, 0);
	/* The status may be overwritten by the data: any is well. */
	return after_push(liar, SILENCE_MS) == CLOSED ? CLOSED : after_message(liar, 0);
}

const struct lie ring_lies[] = {
	{ "addresses outside", IO_FAILED | BROKEN, addresses },
	{ "a length of 4 GiB", IO_FAILED | BROKEN, long_lengths },
	{ "a length past the end", IO_FAILED | BROKEN, lengths_past_the_end },
	{ "a next out of range", BROKEN, nexts_out_of_range },
	{ "a last that goes on", BROKEN, nexts_of_the_last },
	{ "a loop", BROKEN, loops },
	{ "a loop of one", BROKEN, self_loops },
	{ "readable after writable", BROKEN, wrong_order },
	{ "no header", BROKEN, headers_missing },
	{ "a short header", BROKEN | IO_FAILED, headers_short },
	{ "a header alone", BROKEN, headers_alone },
	{ "empty buffers", BROKEN, buffers_empty },
	{ "no status", BROKEN, status_missing },
	{ "a head out of range", BROKEN, head_out_of_range },
	{ "jumps of the index", BROKEN, index_jumps },
	{ "one head many times", SERVED | IO_FAILED | BROKEN, one_head_many_times },
	{ "indirect lengths", BROKEN, indirect_lengths },
	{ "indirect in indirect", BROKEN, indirect_nested },
	{ "indirect with a next", BROKEN, indirect_and_next },
	{ "indirect outside", BROKEN, indirect_outside },
	{ "a loop in a table", BROKEN, indirect_loop },
	{ "a next out of the table", BROKEN, indirect_next },
	{ "a table at an odd address", BROKEN | SERVED, indirect_odd },
	{ "a table in two regions", BROKEN | SERVED, indirect_across },
	{ "data over the ring", SERVED, data_over_the_ring },
	{ "buffers over each other", SERVED, buffers_over_each_other },
	{ NULL, 0, NULL },
};
