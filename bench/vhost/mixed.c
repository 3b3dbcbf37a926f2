/* SPDX-License-Identifier: Apache-2.0 */
#include "mixed.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "random.h"

#define SECTOR		512u
#define SECTORS_MAX	256u	/* of a request */
#define SEGMENTS_MAX	12u
#define PATIENCE_MS	20000
#define RECONNECTS	2000	/* tries, of 10 ms */

/* Marks of sectors beside the number of the write that filled them. */
enum { UNKNOWN = 0, ZEROES = 1, FIRST_WRITE = 2 };

struct slot {
	struct virtio_blk_outhdr *header;
	struct virtio_blk_discard_write_zeroes *segment;
	uint8_t *status, *data;
	struct vring_desc *table;
	uint32_t type, sectors;
	uint64_t sector, write;	/* the number of a write */
	bool busy;
};

struct run {
	struct device *device;
	const struct mixed *mixed;
	struct slot *slots;
	uint64_t *marks;	/* by sector: what it holds */
	bool *taken;		/* by sector: a request is under way there */
	uint64_t sectors, unit;	/* of the area; of every request's place and length */
	uint64_t random, issued, writes;
	unsigned busy, reconnects;
	uint64_t counts[5];	/* reads, writes, flushes, discards, zeroes */
	uint64_t compared;
	bool enough;	/* SIGTERM has come */
};

uint64_t mixed_memory(const struct mixed *mixed)
{
	return mixed->depth * (SECTORS_MAX * SECTOR + 16384ull);
}

static void fill(uint8_t *data, uint64_t sector, uint64_t write)
{
	uint64_t state = sector * 0x10001 + write * 0x100000001b3ull;

	for (unsigned at = 0; at < SECTOR; at += 8) {
		const uint64_t word = next_random(&state);

		memcpy(data + at, &word, 8);
	}
}

static bool same(const uint8_t *data, uint64_t sector, uint64_t mark)
{
	uint8_t wanted[SECTOR] = { 0 };

	if (mark == UNKNOWN)
		return true;
	if (mark != ZEROES)
		fill(wanted, sector, mark);
	return memcmp(data, wanted, SECTOR) == 0;
}

static bool compare(struct run *run, const struct slot *slot)
{
	for (uint64_t i = 0; i < slot->sectors; i++) {
		const uint64_t sector = slot->sector + i;

		run->compared += run->marks[sector] != UNKNOWN;
		if (!same(slot->data + i * SECTOR, sector, run->marks[sector])) {
			fprintf(stderr, "sector %llu differs from write %llu\n", (unsigned long long)sector,
				(unsigned long long)run->marks[sector]);
			return false;
		}
	}
	return true;
}

/* A place where nothing is under way. */
static bool choose_place(struct run *run, struct slot *slot)
{
	const uint64_t units = run->sectors / run->unit, most = SECTORS_MAX / run->unit;
	uint64_t length = 1 + random_below(&run->random, random_below(&run->random, 4) == 0 ? most : (most + 7) / 8);
	const uint64_t from = random_below(&run->random, units);

	if (length > units - from)
		length = units - from;
	slot->sector = from * run->unit;
	slot->sectors = (uint32_t)(length * run->unit);
	for (uint64_t i = 0; i < slot->sectors; i++)
		if (run->taken[slot->sector + i])
			return false;
	return true;
}

static void mark(struct run *run, const struct slot *slot, bool taken)
{
	memset(run->taken + slot->sector, taken, slot->sectors);
}

/* Cuts `length` bytes at random places, sectors or not. */
static unsigned cut(struct run *run, struct piece *pieces, const uint8_t *memory, uint32_t length, unsigned most,
		    bool written)
{
	unsigned count = 0;

	while (length > 0) {
		uint32_t some = length;

		if (count + 1 < most && length > 1 && random_below(&run->random, 2) == 0)
			some = 1 + (uint32_t)random_below(&run->random, length - 1);
		pieces[count++] = (struct piece){ memory, some, written };
		memory += some;
		length -= some;
	}
	return count;
}

static uint32_t choose_type(struct run *run)
{
	const uint64_t features = run->device->session.features;

	switch (random_below(&run->random, 16)) {
	case 0:
		return has(features, VIRTIO_BLK_F_FLUSH) ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_IN;
	case 1:
		return has(features, VIRTIO_BLK_F_DISCARD) ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_IN;
	case 2:
		return has(features, VIRTIO_BLK_F_WRITE_ZEROES) ? VIRTIO_BLK_T_WRITE_ZEROES : VIRTIO_BLK_T_OUT;
	case 3 ... 8:
		return VIRTIO_BLK_T_IN;
	default:
		return VIRTIO_BLK_T_OUT;
	}
}

/* 0 without a request where the place is taken. */
static int issue(struct run *run, unsigned index)
{
	const unsigned queues = run->device->options.queues;
	struct slot *slot = &run->slots[index];
	struct piece pieces[2 * SEGMENTS_MAX];
	unsigned count;

	slot->type = choose_type(run);
	if (slot->type == VIRTIO_BLK_T_FLUSH)
		slot->sector = slot->sectors = 0;
	else if (!choose_place(run, slot))
		return 0;
	*slot->header = (struct virtio_blk_outhdr){ .type = slot->type };
	*slot->status = 0xff;
	count = cut(run, pieces, (uint8_t *)slot->header, sizeof(*slot->header), 2, false);
	switch (slot->type) {
	case VIRTIO_BLK_T_IN:
		slot->header->sector = slot->sector;
		memset(slot->data, 0xa5, (size_t)slot->sectors * SECTOR);
		count += cut(run, pieces + count, slot->data, slot->sectors * SECTOR, SEGMENTS_MAX, true);
		break;
	case VIRTIO_BLK_T_OUT:
		slot->header->sector = slot->sector;
		slot->write = FIRST_WRITE + run->writes++;
		for (uint32_t i = 0; i < slot->sectors; i++)
			fill(slot->data + i * SECTOR, slot->sector + i, slot->write);
		count += cut(run, pieces + count, slot->data, slot->sectors * SECTOR, SEGMENTS_MAX, false);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		*slot->segment = (struct virtio_blk_discard_write_zeroes){ .sector = slot->sector,
									   .num_sectors = slot->sectors };
		count += cut(run, pieces + count, (uint8_t *)slot->segment, sizeof(*slot->segment), 2, false);
		break;
	}
	pieces[count++] = (struct piece){ slot->status, 1, true };
	if (!ring_put(&run->device->rings[index % queues], pieces, count, (uint16_t)(index / queues),
		      random_below(&run->random, 4) == 0 ? NULL : slot->table))
		return 0;
	mark(run, slot, true);
	slot->busy = true;
	run->busy++;
	run->issued++;
	return 1;
}

static int ended(struct run *run, struct slot *slot)
{
	uint64_t now = UNKNOWN;

	if (!slot->busy)
		return -EPROTO;
	slot->busy = false;
	run->busy--;
	if (*slot->status != VIRTIO_BLK_S_OK) {
		fprintf(stderr, "type %u, sector %llu, %u sectors: status %u\n", slot->type,
			(unsigned long long)slot->sector, slot->sectors, *slot->status);
		return -EIO;
	}
	mark(run, slot, false);
	switch (slot->type) {
	case VIRTIO_BLK_T_IN:
		run->counts[0]++;
		return compare(run, slot) ? 0 : -EILSEQ;
	case VIRTIO_BLK_T_FLUSH:
		run->counts[2]++;
		return 0;
	case VIRTIO_BLK_T_OUT:
		run->counts[1]++;
		now = slot->write;
		break;
	case VIRTIO_BLK_T_DISCARD:
		run->counts[3]++;
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		run->counts[4]++;
		now = ZEROES;
		break;
	}
	for (uint64_t i = 0; i < slot->sectors; i++)
		run->marks[slot->sector + i] = now;
	return 0;
}

static int reconnect(struct run *run)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	int error = -EPIPE;

	if (!run->mixed->reconnect || run->device->inflight < 0)
		return error;
	for (unsigned tries = 0; tries < RECONNECTS; tries++) {
		error = device_restart(run->device);
		if (error == 0) {
			run->reconnects++;
			return 0;
		}
		nanosleep(&pause, NULL);
	}
	return error;
}

/* Blocked, so that no system call is interrupted. */
static bool told_to_end(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 && sigismember(&pending, SIGTERM) == 1;
}

static bool goes_on(struct run *run)
{
	run->enough = run->enough || told_to_end();
	return !run->enough && run->issued < run->mixed->count;
}

static int turn(struct run *run)
{
	const unsigned queues = run->device->options.queues;
	bool quiet = true;
	int error;

	for (unsigned i = 0; i < queues; i++) {
		uint32_t written;
		uint16_t token;

		while (ring_take(&run->device->rings[i], &token, &written)) {
			quiet = false;
			if (token * queues + i >= run->mixed->depth)
				return -EPROTO;
			error = ended(run, &run->slots[token * queues + i]);
			if (error != 0)
				return error;
		}
	}
	for (unsigned i = 0; i < run->mixed->depth; i++)
		if (!run->slots[i].busy && goes_on(run))
			quiet &= issue(run, i) == 0;
	for (unsigned i = 0; i < queues; i++)
		ring_publish(&run->device->rings[i]);
	for (unsigned i = 0; i < queues && quiet; i++)
		quiet = ring_arm(&run->device->rings[i]);
	if (!quiet || run->busy == 0)
		return 0;
	error = device_wait(run->device, PATIENCE_MS);
	return error == -EPIPE ? reconnect(run) : error;
}

static int compare_all(struct run *run)
{
	struct slot *slot = &run->slots[0];

	slot->sectors = SECTORS_MAX;
	for (slot->sector = 0; slot->sector < run->sectors; slot->sector += SECTORS_MAX) {
		int error;

		if (slot->sectors > run->sectors - slot->sector)
			slot->sectors = (uint32_t)(run->sectors - slot->sector);
		error = device_request(run->device, VIRTIO_BLK_T_IN, slot->sector, slot->data, slot->sectors * SECTOR);
		if (error != 0)
			return error > 0 ? -EIO : error;
		if (!compare(run, slot))
			return -EILSEQ;
	}
	return 0;
}

static bool new_run(struct run *run, struct device *device, const struct mixed *mixed)
{
	const struct virtio_blk_config *config = &device->session.config;
	struct guest *guest = &device->guest;
	const uint64_t area = mixed->area / SECTOR;

	run->device = device;
	run->mixed = mixed;
	run->random = mixed->seed;
	run->sectors = area == 0 || area > config->capacity ? config->capacity : area;
	run->unit = has(device->session.features, VIRTIO_BLK_F_BLK_SIZE) ? config->blk_size / SECTOR : 1;
	run->slots = calloc(mixed->depth, sizeof(*run->slots));
	run->marks = calloc(run->sectors, sizeof(*run->marks));
	run->taken = calloc(run->sectors, sizeof(*run->taken));
	if (run->slots == NULL || run->marks == NULL || run->taken == NULL)
		return false;
	for (unsigned i = 0; i < mixed->depth; i++) {
		struct slot *slot = &run->slots[i];

		slot->header = guest_take(guest, sizeof(*slot->header), 8);
		slot->segment = guest_take(guest, sizeof(*slot->segment), 8);
		slot->status = guest_take(guest, 1, 1);
		slot->data = guest_take(guest, SECTORS_MAX * SECTOR, 1);
		if (has(device->session.features, VIRTIO_RING_F_INDIRECT_DESC))
			slot->table = guest_take_whole(guest, 2ull * SEGMENTS_MAX * DESCRIPTOR_SIZE, 16);
	}
	return true;
}

int mixed_run(struct device *device, const struct mixed *mixed)
{
	struct run run = { 0 };
	int error = -ENOMEM;
	sigset_t end;

	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, NULL);
	if (new_run(&run, device, mixed)) {
		error = 0;
		while (error == 0 && (run.busy > 0 || goes_on(&run)))
			error = turn(&run);
		if (error == 0)
			error = compare_all(&run);
	}
	printf("{\"reads\":%llu,\"writes\":%llu,\"flushes\":%llu,\"discards\":%llu,\"zeroes\":%llu,\"compared\":%llu,"
	       "\"reconnects\":%u}\n",
	       (unsigned long long)run.counts[0], (unsigned long long)run.counts[1], (unsigned long long)run.counts[2],
	       (unsigned long long)run.counts[3], (unsigned long long)run.counts[4], (unsigned long long)run.compared,
	       run.reconnects);
	free(run.slots);
	free(run.marks);
	free(run.taken);
	return error;
}
