/* SPDX-License-Identifier: Apache-2.0 */
/* Lies in requests whose chains are sound: places, lengths, directions, types; and what changes while it is read. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lies.h"
#include "random.h"

/* One read or write of `length` bytes at a sector, in the lying ring. */
static enum outcome transfer(struct liar *liar, uint32_t type, uint64_t sector, uint32_t length)
{
	struct vring_desc *descriptors;

	begin(liar, false);
	honest_read(liar);
	descriptors = lying_ring(liar)->descriptors;
	liar->header->type = type;
	liar->header->sector = sector;
	descriptors[1].len = length;
	descriptors[1].flags = VRING_DESC_F_NEXT | (type == VIRTIO_BLK_T_OUT ? 0 : VRING_DESC_F_WRITE);
	push(liar, 0);
	return after_push(liar, ANSWER_MS);
}

static enum outcome beyond_the_end(struct liar *liar)
{
	const uint64_t end = liar->playground + PLAYGROUND / 512;
	const uint64_t sectors[] = {
		end, end - 4, end + 1, 1ull << 55, (1ull << 55) - 1, ~0ull, ~0ull - 7, 1ull << 63
	};
	enum outcome outcome = IO_FAILED;

	for (unsigned i = 0; i < 2 * sizeof(sectors) / sizeof(sectors[0]) && outcome == IO_FAILED; i++) {
		outcome = transfer(liar, i % 2 == 0 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, sectors[i / 2], 4096);
		device_free(&liar->device);
	}
	begin_connected(liar);
	return outcome;
}

/* No whole sectors. */
static enum outcome odd_lengths(struct liar *liar)
{
	static const uint32_t lengths[] = { 1, 511, 513, 4095, 4097 };
	enum outcome outcome = IO_FAILED;

	for (unsigned i = 0; i < 2 * sizeof(lengths) / sizeof(lengths[0]) && outcome == IO_FAILED; i++) {
		outcome = transfer(liar, i % 2 == 0 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, liar->playground,
				   lengths[i / 2]);
		device_free(&liar->device);
	}
	begin_connected(liar);
	return outcome;
}

static enum outcome unknown_types(struct liar *liar)
{
	static const uint32_t types[] = { 2, 3, 5, 7, 9, 10, 12, 14, 99, 0x80000000, 0xffffffff };
	enum outcome outcome = UNSUPPORTED;

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]) && outcome == UNSUPPORTED; i++) {
		outcome = transfer(liar, types[i], 0, 4096);
		device_free(&liar->device);
	}
	begin_connected(liar);
	return outcome;
}

/* A read whose buffer the device may only read, and a write whose buffer it may only write: no data, both. */
static enum outcome wrong_directions(struct liar *liar)
{
	enum outcome outcome = IO_FAILED;

	for (unsigned i = 0; i < 2; i++) {
		begin(liar, false);
		honest_read(liar);
		if (i == 0) {
			lying_ring(liar)->descriptors[1].flags = VRING_DESC_F_NEXT;
		} else {
			liar->header->type = VIRTIO_BLK_T_OUT;
			liar->header->sector = liar->playground;
		}
		memset(liar->data, 0x5a, 4096);
		push(liar, 0);
		outcome = after_push(liar, ANSWER_MS);
		for (unsigned k = 0; k < 4096; k++)
			if (liar->data[k] != 0x5a)
				return IGNORED;
		device_free(&liar->device);
	}
	begin_connected(liar);
	return outcome;
}

/* Ranges to discard or zero that make no sense. */
static enum outcome odd_ranges(struct liar *liar)
{
	const uint64_t end = liar->playground + PLAYGROUND / 512;
	const struct {
		struct virtio_blk_discard_write_zeroes range;
		uint32_t length;
	} lies[] = {
		{ { end, 8, 0 }, 16 },
		{ { end - 4, 8, 0 }, 16 },
		{ { ~0ull, 8, 0 }, 16 },
		{ { ~0ull - 7, 16, 0 }, 16 },
		{ { 1ull << 55, 0xffffffff, 0 }, 16 },
		{ { liar->playground, 0xffffffff, 0 }, 16 },
		{ { liar->playground, 8, 0xfffffffe }, 16 },
		{ { liar->playground, 8, 0 }, 15 },
		{ { liar->playground, 8, 0 }, 17 },
		{ { liar->playground, 8, 0 }, 8 },
		{ { end, 8, 0 }, 4096 },
	};
	enum outcome outcome = IO_FAILED;

	for (unsigned i = 0; i < 2 * sizeof(lies) / sizeof(lies[0]); i++) {
		struct vring_desc *descriptors;

		begin(liar, false);
		honest_read(liar);
		liar->header->type = i % 2 == 0 ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_WRITE_ZEROES;
		for (unsigned k = 0; k < 256; k++)
			memcpy(liar->data + k * 16, &lies[i / 2].range, 16);
		descriptors = lying_ring(liar)->descriptors;
		descriptors[1].len = lies[i / 2].length;
		descriptors[1].flags = VRING_DESC_F_NEXT;
		push(liar, 0);
		outcome = after_push(liar, ANSWER_MS);
		device_free(&liar->device);
		if (outcome != IO_FAILED && outcome != UNSUPPORTED)
			break;
	}
	begin_connected(liar);
	return outcome;
}

/* Less room than the name takes: as much of it as fits, or an error, and nothing behind. */
static enum outcome short_name(struct liar *liar)
{
	enum outcome outcome;

	begin(liar, false);
	honest_read(liar);
	memset(liar->data, 0x5a, 4096);
	liar->header->type = VIRTIO_BLK_T_GET_ID;
	lying_ring(liar)->descriptors[1].len = 5;
	push(liar, 0);
	outcome = after_push(liar, ANSWER_MS);
	for (unsigned i = 5; i < 4096; i++)
		if (liar->data[i] != 0x5a)
			return IGNORED;
	return outcome;
}

/* A flush with data. */
static enum outcome odd_flush(struct liar *liar)
{
	return transfer(liar, VIRTIO_BLK_T_FLUSH, ~0ull, 4096);
}

struct flipper {
	struct liar *liar;
	bool stop;
	uint64_t random;
};

/* Two values at one place, back and forth, faster than anybody looks twice. */
static void *flip(void *argument)
{
	struct flipper *flipper = argument;
	struct liar *liar = flipper->liar;
	struct vring_desc *descriptors = lying_ring(liar)->descriptors;
	const uint64_t end = liar->playground + PLAYGROUND / 512,
		       address = guest_address(&liar->device.guest, liar->data);

	while (!__atomic_load_n(&flipper->stop, __ATOMIC_RELAXED)) {
		const uint64_t word = next_random(&flipper->random);

		/* Reads anywhere; writes only to the playground, whichever half is taken of which. */
		*(volatile uint32_t *)&liar->header->type = word & 1 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
		*(volatile uint64_t *)&liar->header->sector = word & 2 ? liar->playground : end;
		*(volatile uint64_t *)&descriptors[1].addr = word & 4 ? address : address + (1ull << 40);
		*(volatile uint32_t *)&descriptors[1].len = word & 8 ? 4096 : 0xfffff000;
		*(volatile uint16_t *)&descriptors[1].flags =
			(uint16_t)(VRING_DESC_F_NEXT | (word & 1 ? 0 : VRING_DESC_F_WRITE));
		*(volatile uint16_t *)&descriptors[1].next = word & 16 ? 2 : 0x7fff;
	}
	return NULL;
}

static enum outcome changed_while_read(struct liar *liar)
{
	for (unsigned round = 0; round < 40; round++) {
		struct flipper flipper = { .liar = liar, .random = next_random(&liar->random) };
		pthread_t thread;

		begin(liar, false);
		honest_read(liar);
		if (pthread_create(&thread, NULL, flip, &flipper) != 0)
			abort();
		for (unsigned i = 0; i < 400; i++) {
			push(liar, 0);
			if (i % 16 == 0)
				usleep(100);
			/* A broken ring takes no more. */
			if (eventfd_read(lying_ring(liar)->error, &(eventfd_t){ 0 }) == 0)
				break;
		}
		__atomic_store_n(&flipper.stop, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		if (device_request(&liar->device, VIRTIO_BLK_T_IN, 0, liar->data, 4096) != 0)
			return IGNORED;
		device_free(&liar->device);
	}
	begin_connected(liar);
	return SERVED;
}

/* The data of a write, while it is encrypted: what lands there is the playground's affair. */
static void *scribble(void *argument)
{
	struct flipper *flipper = argument;

	while (!__atomic_load_n(&flipper->stop, __ATOMIC_RELAXED))
		((volatile uint64_t *)flipper->liar->data)[random_below(&flipper->random, 512)] =
			next_random(&flipper->random);
	return NULL;
}

static enum outcome data_changed_while_written(struct liar *liar)
{
	struct flipper flipper = { .liar = liar, .random = next_random(&liar->random) };
	enum outcome outcome = SERVED;
	pthread_t thread;

	begin(liar, false);
	honest_read(liar);
	liar->header->type = VIRTIO_BLK_T_OUT;
	liar->header->sector = liar->playground;
	lying_ring(liar)->descriptors[1].flags = VRING_DESC_F_NEXT;
	if (pthread_create(&thread, NULL, scribble, &flipper) != 0)
		abort();
	for (unsigned i = 0; i < 300 && outcome == SERVED; i++) {
		push(liar, 0);
		/* More than the ring holds would be a lie of its own. */
		while (i % 32 == 31 && outcome == SERVED &&
		       __atomic_load_n(&lying_ring(liar)->used->idx, __ATOMIC_ACQUIRE) != lying_ring(liar)->put) {
			usleep(100);
			outcome = after_push(liar, ANSWER_MS);
		}
	}
	__atomic_store_n(&flipper.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	return outcome;
}

/* What may be answered and not shown at one time: what the ring holds, and what is answered while it is looked at. */
#define UNSHOWN	(2 * RING_SIZE)

/* Written by the back-end when it answers, before the index shows it. */
#define NO_ANSWER	UINT32_MAX

struct feeder {
	struct liar *liar;
	bool stop;
	uint64_t answers;
	unsigned most;	/* answered and not shown */
};

/* For each answer one more request, so that half a ring of them waits all the time. */
static void *feed(void *argument)
{
	struct feeder *feeder = argument;
	struct ring *ring = lying_ring(feeder->liar);
	unsigned idle = 0;

	while (!__atomic_load_n(&feeder->stop, __ATOMIC_RELAXED)) {
		const uint16_t at = (uint16_t)feeder->answers;
		volatile uint32_t *answer = &ring->used->ring[at % RING_SIZE].len;
		uint16_t unshown;

		if (*answer == NO_ANSWER) {
			/* It may sleep. */
			if (++idle % 4096 == 0)
				eventfd_write(ring->kick, 1);
			continue;
		}
		*answer = NO_ANSWER;
		unshown = (uint16_t)(at - __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE));
		/* The index may be ahead of what was looked at. */
		if (unshown < 0x8000 && unshown > feeder->most)
			feeder->most = unshown;
		feeder->answers++;
		__atomic_store_n(&ring->available->idx, ++ring->put, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Requests without I/O, as fast as they are answered: answers are shown all the same, and the ring can be stopped. */
static enum outcome put_as_answered(struct liar *liar)
{
	struct vring_number state = { LYING_RING, 0 };
	struct session *session = &liar->device.session;
	struct feeder feeder = { .liar = liar };
	struct ring *ring;
	pthread_t thread;
	int error;

	begin(liar, true);
	honest_read(liar);
	ring = lying_ring(liar);
	liar->header->type = VIRTIO_BLK_T_GET_ID;
	ring->descriptors[1].len = 20;
	for (unsigned i = 0; i < RING_SIZE; i++) {
		ring->available->ring[i] = 0;
		ring->used->ring[i].len = NO_ANSWER;
	}
	for (unsigned i = 0; i < RING_SIZE / 2; i++)
		push(liar, 0);
	if (pthread_create(&thread, NULL, feed, &feeder) != 0)
		abort();
	usleep(300000);
	error = session_send(session, GET_VRING_BASE, VERSION, &state, sizeof(state), NULL, 0);
	if (error == 0)
		error = session_receive(session, GET_VRING_BASE, &state, sizeof(state), NULL);
	__atomic_store_n(&feeder.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	return feeder.answers < UNSHOWN || feeder.most > UNSHOWN ? IGNORED : outcome_of(error);
}

const struct lie request_lies[] = {
	{ "sectors beyond the end", IO_FAILED, beyond_the_end },
	{ "odd lengths", IO_FAILED, odd_lengths },
	{ "unknown types", UNSUPPORTED, unknown_types },
	{ "wrong directions", SERVED | IO_FAILED, wrong_directions },
	{ "odd ranges", IO_FAILED | UNSUPPORTED, odd_ranges },
	{ "a short name", SERVED | IO_FAILED, short_name },
	{ "a flush with data", SERVED | IO_FAILED | UNSUPPORTED, odd_flush },
	{ "requests changed while read", SERVED, changed_while_read },
	{ "data changed while written", SERVED, data_changed_while_written },
	{ "requests put as they are answered", SERVED, put_as_answered },
	{ NULL, 0, NULL },
};
