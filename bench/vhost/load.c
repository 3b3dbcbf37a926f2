/* SPDX-License-Identifier: Apache-2.0 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "random.h"

#define PATIENCE_MS	20000

/* Latencies are counted in steps of a sixteenth of a power of two of nanoseconds. */
#define STEPS	16u
#define BUCKETS	(64u * STEPS)

struct slot {
	struct virtio_blk_outhdr *header;
	uint8_t *status, *data;
	struct vring_desc *table;
	uint64_t begun;
};

struct run {
	struct device *device;
	const struct load *load;
	struct slot *slots;
	uint64_t blocks, next, random, issued, end;
	unsigned busy;
	uint64_t done, failed, waits, nanoseconds;
	uint64_t latencies[BUCKETS];
};

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

static double cpu_seconds(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static unsigned bucket_of(uint64_t nanoseconds)
{
	const unsigned power = 63u - (unsigned)__builtin_clzll(nanoseconds | STEPS);

	return power * STEPS + (unsigned)(nanoseconds >> (power - 4) & (STEPS - 1));
}

/* Its upper end. */
static uint64_t bucket_end(unsigned bucket)
{
	const unsigned power = bucket / STEPS;

	return (uint64_t)(STEPS + bucket % STEPS + 1) << (power - 4);
}

static double percentile_us(const struct run *run, double share)
{
	uint64_t left = (uint64_t)((double)run->done * share);

	for (unsigned i = 0; i < BUCKETS; i++) {
		if (run->latencies[i] > left)
			return (double)bucket_end(i) / 1e3;
		left -= run->latencies[i];
	}
	return 0;
}

static unsigned pieces_of(const struct load *load)
{
	return (load->size + load->segment - 1) / load->segment;
}

uint64_t load_memory(const struct load *load)
{
	return load->depth * (load->size + 4096ull + 16ull * (pieces_of(load) + 2));
}

static bool new_slots(struct run *run)
{
	struct guest *guest = &run->device->guest;
	const struct load *load = run->load;

	run->slots = calloc(load->depth, sizeof(*run->slots));
	if (run->slots == NULL)
		return false;
	for (unsigned i = 0; i < load->depth; i++) {
		struct slot *slot = &run->slots[i];

		slot->header = guest_take(guest, sizeof(*slot->header), 16);
		slot->status = guest_take(guest, 1, 1);
		if (has(run->device->session.features, VIRTIO_RING_F_INDIRECT_DESC))
			slot->table = guest_take_whole(guest, DESCRIPTOR_SIZE * (pieces_of(load) + 2ull), 16);
	}
	for (unsigned i = 0; i < load->depth; i++) {
		struct slot *slot = &run->slots[i];

		slot->data = guest_take(guest, load->size, 4096);
		for (uint32_t at = 0; at + 8 <= load->size; at += 8) {
			const uint64_t word = next_random(&run->random);

			memcpy(slot->data + at, &word, 8);
		}
	}
	return true;
}

/* The next request from this slot, if there is to be one at this time. False when the ring has no room. */
static bool issue(struct run *run, unsigned index, uint64_t at)
{
	const struct load *load = run->load;
	const unsigned queues = run->device->options.queues;
	struct slot *slot = &run->slots[index];
	const uint64_t block = load->random ? next_random(&run->random) : run->next++;
	struct piece pieces[PIECES_MAX];
	unsigned count = 0;

	if (load->count != 0 ? run->issued == load->count : at >= run->end)
		return true;
	*slot->header = (struct virtio_blk_outhdr){
		.type = load->write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
		.sector = block % run->blocks * (load->size / 512),
	};
	*slot->status = 0xff;
	pieces[count++] = (struct piece){ slot->header, sizeof(*slot->header), false };
	for (uint32_t from = 0; from < load->size; from += load->segment) {
		const uint32_t left = load->size - from;

		pieces[count++] =
			(struct piece){ slot->data + from, left < load->segment ? left : load->segment, !load->write };
	}
	pieces[count++] = (struct piece){ slot->status, 1, true };
	slot->begun = at;
	if (!ring_put(&run->device->rings[index % queues], pieces, count, (uint16_t)(index / queues), slot->table))
		return false;
	run->issued++;
	run->busy++;
	return true;
}

static void ended(struct run *run, const struct slot *slot, uint32_t written, uint64_t at)
{
	const uint64_t took = at - slot->begun;

	run->busy--;
	run->done++;
	run->nanoseconds += took;
	run->latencies[bucket_of(took)]++;
	if (*slot->status != VIRTIO_BLK_S_OK || written < (run->load->write ? 1 : run->load->size + 1))
		run->failed++;
}

/* Whether anything had come back. */
static bool turn(struct run *run)
{
	const unsigned queues = run->device->options.queues;
	bool any = false;

	for (unsigned i = 0; i < queues; i++) {
		struct ring *ring = &run->device->rings[i];
		uint32_t written;
		uint16_t token;

		while (ring_take(ring, &token, &written)) {
			const unsigned index = token * queues + i;
			const uint64_t at = now();

			any = true;
			ended(run, &run->slots[index], written, at);
			/* There is room: as much as came back. */
			issue(run, index, at);
		}
		ring_publish(ring);
	}
	return any;
}

static void report(const struct run *run, double seconds, double cpu)
{
	const struct load *load = run->load;
	const struct device *device = run->device;
	const double done = (double)run->done;
	uint64_t kicks = 0;

	for (unsigned i = 0; i < device->options.queues; i++)
		kicks += device->rings[i].kicks;
	printf("{\"op\":\"%s\",\"size\":%u,\"depth\":%u,\"queues\":%u,\"eventIdx\":%s,\"indirect\":%s,"
	       "\"requests\":%llu,\"bytes\":%llu,\"errors\":%llu,\"seconds\":%.6f,\"iops\":%.1f,\"meanUs\":%.2f,"
	       "\"p99Us\":%.2f,\"cpuSeconds\":%.4f,\"kicks\":%llu,\"waits\":%llu}\n",
	       load->write ? "write" : "read", load->size, load->depth, device->options.queues,
	       device->rings[0].event_idx ? "true" : "false",
	       has(device->session.features, VIRTIO_RING_F_INDIRECT_DESC) ? "true" : "false",
	       (unsigned long long)run->done, (unsigned long long)run->done * load->size,
	       (unsigned long long)run->failed, seconds, done / seconds,
	       done > 0 ? (double)run->nanoseconds / done / 1e3 : 0, percentile_us(run, 0.99), cpu,
	       (unsigned long long)kicks, (unsigned long long)run->waits);
}

static int work(struct run *run)
{
	const unsigned queues = run->device->options.queues;
	const uint64_t begun = now();
	const double cpu = cpu_seconds();
	int error = 0;

	run->end = begun + (uint64_t)(run->load->seconds * 1e9);
	for (unsigned i = 0; i < run->load->depth; i++)
		if (!issue(run, i, begun))
			return -ENOSPC;
	for (unsigned i = 0; i < queues; i++)
		ring_publish(&run->device->rings[i]);
	while (run->busy > 0 && error == 0) {
		bool quiet = !turn(run);

		for (unsigned i = 0; i < queues && quiet; i++)
			quiet = ring_arm(&run->device->rings[i]);
		if (quiet) {
			run->waits++;
			error = device_wait(run->device, PATIENCE_MS);
		}
	}
	report(run, (double)(now() - begun) / 1e9, cpu_seconds() - cpu);
	return error;
}

int load_run(struct device *device, const struct load *load)
{
	const uint64_t capacity = device->session.config.capacity * 512;
	struct run *run = calloc(1, sizeof(*run));
	int error = -ENOMEM;

	if (run == NULL)
		return error;
	run->device = device;
	run->load = load;
	run->random = load->seed;
	run->blocks = (load->area == 0 || load->area > capacity ? capacity : load->area) / load->size;
	if (run->blocks == 0)
		error = -EINVAL;
	else if (new_slots(run))
		error = work(run);
	free(run->slots);
	free(run);
	return error;
}
