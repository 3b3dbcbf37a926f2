/* SPDX-License-Identifier: Apache-2.0 */
/* Lies by chance: messages and rings of random content, as many as the seed makes. */
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lies.h"
#include "random.h"

#define ROUNDS		100
#define MESSAGES	12

/* Often a number that means something. */
static uint64_t number(struct liar *liar)
{
	const struct guest *guest = &liar->device.guest;
	const uint64_t word = next_random(&liar->random);

	switch (word & 15) {
	case 0:
		return 0;
	case 1:
		return ~0ull - (word >> 8 & 4095);
	case 2:
		return GUEST_BASE + (word >> 8) % (guest->size + 4096);
	case 3:
		return (uintptr_t)guest->memory + (word >> 8) % (guest->size + 4096);
	case 4:
		return (word >> 8 & 0xffff) << 12;
	case 5:
		return 1ull << (word >> 8 & 63);
	case 6 ... 9:
		return word >> 8 & 3;
	case 10 ... 12:
		return word >> 8 & 255;
	default:
		return word >> 8;
	}
}

/* Memory that any descriptor may point to: whatever is taken for a header writes to the playground only. */
static void sow(struct liar *liar)
{
	struct guest *guest = &liar->device.guest;

	for (uint64_t at = guest->taken; at + 16 <= guest->size; at += 16) {
		struct virtio_blk_outhdr *header = (struct virtio_blk_outhdr *)(guest->memory + at);

		header->type = at / 16 % 2 == 0 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
		header->sector = liar->playground + at / 16 % 64 * 8;
	}
}

static void random_descriptor(struct liar *liar, struct vring_desc *each)
{
	const struct guest *guest = &liar->device.guest;
	const uint64_t word = next_random(&liar->random), room = guest->size - guest->taken;

	each->addr = GUEST_BASE + ((guest->taken + 15) & ~15ull) + (word >> 8) % room / 16 * 16;
	each->len = (uint32_t[]){ 16, 1, 512, 4096, 8192, 48, 0, 16 }[word & 7];
	each->flags = (uint16_t)(word >> 3 & 7);
	each->next = (uint16_t)(word >> 40 & (RING_SIZE - 1));
	if ((word >> 56 & 31) == 0)
		each->addr = number(liar);
	if ((word >> 56 & 31) == 1)
		each->len = (uint32_t)number(liar);
	if ((word >> 56 & 31) == 2)
		each->next = (uint16_t)number(liar);
	if ((word >> 56 & 31) == 3)
		each->flags = (uint16_t)number(liar);
	/* A header, mostly, is the first. */
	if (each->len == 16)
		each->flags = VRING_DESC_F_NEXT;
}

static enum outcome random_rings(struct liar *liar)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct ring *ring;

		begin(liar, round % 2 == 0);
		sow(liar);
		ring = lying_ring(liar);
		for (unsigned i = 0; i < 40; i++) {
			for (unsigned k = 0; k < RING_SIZE; k++)
				random_descriptor(liar, &ring->descriptors[k]);
			for (unsigned k = 0; k < 8; k++)
				random_descriptor(liar, &liar->table[k]);
			ring->descriptors[0] = (struct vring_desc){ guest_address(&liar->device.guest, liar->table),
								    128, VRING_DESC_F_INDIRECT, 0 };
			ring->available->ring[ring->put++ % RING_SIZE] =
				(uint16_t)(random_below(&liar->random, 100) == 0 ?
						   number(liar) :
						   random_below(&liar->random, RING_SIZE));
			if (random_below(&liar->random, 200) == 0)
				ring->put = (uint16_t)number(liar);
			__atomic_store_n(&ring->available->idx, ring->put, __ATOMIC_RELEASE);
			eventfd_write(ring->kick, 1);
			if (eventfd_read(ring->error, &(eventfd_t){ 0 }) == 0)
				break;
			if (i % 8 == 7)
				usleep(100);
		}
		if (device_request(&liar->device, VIRTIO_BLK_T_IN, 0, liar->data, 4096) != 0)
			return IGNORED;
		device_free(&liar->device);
	}
	begin_connected(liar);
	return SERVED;
}

static enum outcome random_messages(struct liar *liar)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		const int files[] = { memfd_create("chance", MFD_CLOEXEC), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };

		if (ftruncate(files[0], 1 << 20) != 0)
			return IGNORED;
		switch (random_below(&liar->random, 3)) {
		case 0:
			begin(liar, round % 2 == 0);
			break;
		case 1:
			begin_negotiated(liar);
			break;
		default:
			begin_connected(liar);
		}
		for (unsigned i = 0; i < MESSAGES; i++) {
			static const uint32_t sizes[] = { 0, 8, 8, 8, 20, 40, 40, 72 };
			uint64_t payload[64];
			uint32_t request = (uint32_t)random_below(&liar->random, 41);
			uint32_t size = sizes[random_below(&liar->random, 8)];
			int which[8];

			for (unsigned k = 0; k < 64; k++)
				payload[k] = number(liar);
			for (unsigned k = 0; k < 8; k++)
				which[k] = files[random_below(&liar->random, 2)];
			/* What this would do is known, and it would take all the time. */
			if (request == SET_BACKEND_REQ_FD)
				continue;
			if (random_below(&liar->random, 16) == 0)
				size = (uint32_t)random_below(&liar->random, sizeof(payload));
			if (session_send(&liar->device.session, request,
					 random_below(&liar->random, 16) == 0 ? (uint32_t)number(liar) :
					 random_below(&liar->random, 2) == 0  ? VERSION :
										VERSION | NEED_REPLY,
					 payload, size, which, (unsigned)random_below(&liar->random, 3)) != 0)
				break;
			for (unsigned k = 0; k < liar->device.options.queues; k++)
				eventfd_write(liar->device.rings[k].kick, 1);
		}
		usleep((useconds_t)random_below(&liar->random, 500));
		device_free(&liar->device);
		memset(&liar->device, 0, sizeof(liar->device));
		close(files[0]);
		close(files[1]);
	}
	begin_connected(liar);
	return SERVED;
}

const struct lie random_lies[] = {
	{ "rings by chance", SERVED, random_rings },
	{ "messages by chance", SERVED, random_messages },
	{ NULL, 0, NULL },
};
