/* SPDX-License-Identifier: Apache-2.0 */
/* A thread of a queue touches no file: writeback may depend on it (queue_thread.h). */
#include "addon/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/enclave.h"
#include "addon/disk/counters.h"
#include "addon/monotonic.h"
#include "addon/queue_thread.h"
#include "addon/spin.h"

/* More lets the kernel's side wait, less enters too often: 16 sectors of 4096, 64 of 512. */
#define BATCH_BYTES	(64u * 1024u)

struct queue {
	struct tresor_ring *ring;
	uint32_t index;
	const struct tresor_ring_head *head;	/* read-only mapping */
	uint8_t *data;
	size_t head_size;
	size_t data_size;
	pthread_t thread;
	bool running;
	struct tresor_ring_counters counters;	/* written by the thread alone, read by anyone with atomics */
	struct tresor_blocks request;
	struct tresor_block block[TRESOR_BATCH_MAX];
	struct tresor_result results[TRESOR_BATCH_MAX];
	uint16_t slots[TRESOR_BATCH_MAX];
};

struct tresor_ring {
	int device;
	bool stopped;		/* its owner's thread alone */
	bool stopping;		/* atomic: threads are asked to end */
	bool abandoned;		/* a thread did not: what it uses stays */
	struct tresor_ring_options options;
	struct tresor_enclave *enclave;	/* a reference */
	struct queue *queues;
	pthread_t event_thread;
	bool event_running;
	struct tresor_ring_listener listener;
};

/* ---- the threads ---- */

/*
 * A thread ends and nobody asked it to. The module declares a daemon dead that
 * stood still; it still has its keys and may attach anew.
 */
static void report_end(struct tresor_ring *ring, int error)
{
	if (__atomic_load_n(&ring->stopping, __ATOMIC_ACQUIRE))
		return;
	ring->listener.ended(ring->listener.context, error == ESHUTDOWN);
}

/* Requests of the fetched slots into results. Returns false when the enclave is gone. */
static bool work(struct queue *queue, uint32_t fetched)
{
	const struct tresor_descriptor *descriptors =
		(const void *)((const uint8_t *)queue->head + TRESOR_DESCRIPTORS_OFFSET);
	uint64_t bytes = 0, failures = 0;
	uint32_t status;

	for (uint32_t i = 0; i < fetched; i++) {
		const struct tresor_descriptor *from = &descriptors[queue->slots[i]];
		uint64_t data = (uintptr_t)queue->data + (uint64_t)queue->slots[i] * TRESOR_SLOT_SIZE;
		struct tresor_block *block = &queue->block[i];

		*block = (struct tresor_block){
			.in = data,
			.out = data,
			.length = from->length,
			.handle = from->cookie,
			.mode = from->mode,
			.decrypt = from->decrypt,
			.flags = from->flags & TRESOR_PART_CONTINUED ? TRESOR_BLOCK_CONTINUED : 0,
			.status = TRESOR_E_REQUEST,
		};
		memcpy(block->iv, from->iv, sizeof(block->iv));
		bytes += from->length;
	}
	queue->request = (struct tresor_blocks){
		.head = { .op = TRESOR_OP_BLOCKS, .size = sizeof(queue->request) },
		.count = fetched,
		.blocks = (uintptr_t)queue->block,
	};
	status = tresor_enclave_enter(queue->ring->enclave, &queue->request);
	if (status == TRESOR_ENTER_LOST)
		return false;
	for (uint32_t i = 0; i < fetched; i++) {
		const struct tresor_block *block = &queue->block[i];
		uint32_t each = status == TRESOR_OK ? block->status : status;
		struct tresor_result *result = &queue->results[i];

		*result = (struct tresor_result){
			.slot = queue->slots[i],
			.status = each == TRESOR_OK	  ? 0 :
				  each == TRESOR_E_HANDLE ? -ENOKEY :
							    -EIO,
		};
		memcpy(result->iv, block->iv, sizeof(result->iv));
		failures += each != TRESOR_OK;
	}
	counter_add(&queue->counters.batches, 1);
	counter_add(&queue->counters.blocks, fetched);
	counter_add(&queue->counters.bytes, bytes);
	counter_add(&queue->counters.failures, failures);
	return true;
}

/* Until the next request is there, or `spin_us` have passed. */
static void watch(const struct queue *queue, uint64_t seen, struct spin *spin)
{
	const int64_t end = monotonic_us() + queue->ring->options.spin_us;
	bool found = false;

	do {
		for (int i = 0; i < 64 && !found; i++) {
			found = __atomic_load_n(&queue->head->submitted, __ATOMIC_ACQUIRE) != seen;
			__builtin_ia32_pause();
		}
	} while (!found && monotonic_us() < end);
	spin_found(spin, found);
}

/*
 * The CPUs whose requests the module puts into this queue: a thread that wakes
 * where its request was submitted costs no interrupt to another CPU.
 */
static cpu_set_t near_cpus(const struct queue *queue)
{
	cpu_set_t near;

	CPU_ZERO(&near);
	for (uint32_t cpu = queue->index; cpu < CPU_SETSIZE; cpu += queue->ring->options.queues)
		CPU_SET(cpu, &near);
	return near;
}

static void *serve(void *argument)
{
	struct queue *queue = argument;
	struct tresor_ring *ring = queue->ring;
	const cpu_set_t near = near_cpus(queue);
	uint64_t seen = 0;
	struct spin spin = { .credit = SPIN_CREDIT };
	uint32_t done = 0;
	bool patient = !ring->options.spin_us;

	queue_thread_begin(&near);
	for (;;) {
		struct tresor_exchange exchange = {
			.queue = queue->index,
			.flags = patient ? 0 : TRESOR_EXCHANGE_NOWAIT,
			.results = (uintptr_t)queue->results,
			.slots = (uintptr_t)queue->slots,
			.commit = done,
			.fetch = TRESOR_BATCH_MAX,
			.bytes = BATCH_BYTES,
		};

		if (ioctl(ring->device, TRESOR_IOC_EXCHANGE, &exchange) != 0) {
			if (errno != EINTR) {
				report_end(ring, errno);
				return NULL;
			}
			/* What was committed is done; nothing was fetched. */
			done = 0;
			continue;
		}
		done = exchange.fetch;
		seen += done;
		if (done == 0) {
			if (!patient && spin_pays(&spin))
				watch(queue, seen, &spin);
			patient = true;
			continue;
		}
		patient = !ring->options.spin_us;
		if (!work(queue, done)) {
			report_end(ring, 0);
			return NULL;
		}
	}
}

static void *take_events(void *argument)
{
	struct tresor_ring *ring = argument;

	for (;;) {
		struct tresor_event *event = calloc(1, sizeof(*event));

		if (event == NULL) {
			report_end(ring, 0);
			return NULL;
		}
		while (ioctl(ring->device, TRESOR_IOC_EVENT, event) != 0) {
			if (errno != EINTR) {
				report_end(ring, errno);
				free(event);
				return NULL;
			}
		}
		if (!ring->listener.event(ring->listener.context, event)) {
			explicit_bzero(event, sizeof(*event));
			free(event);
			return NULL;
		}
	}
}

/* ---- life ---- */

static void unmap_queues(struct tresor_ring *ring)
{
	for (uint32_t i = 0; i < ring->options.queues; i++) {
		struct queue *queue = &ring->queues[i];

		if (queue->head != NULL)
			munmap((void *)queue->head, queue->head_size);
		if (queue->data != NULL)
			munmap(queue->data, queue->data_size);
	}
}

/* The owner waits meanwhile; a batch in the enclave takes milliseconds. */
#define JOIN_MS	5000

void tresor_ring_stop(struct tresor_ring *ring)
{
	struct timespec deadline;

	if (ring->stopped)
		return;
	ring->stopped = true;
	__atomic_store_n(&ring->stopping, true, __ATOMIC_RELEASE);
	ioctl(ring->device, TRESOR_IOC_STOP);
	deadline = monotonic_after_ms(JOIN_MS);
	for (uint32_t i = 0; i < ring->options.queues; i++)
		if (ring->queues[i].running && !queue_thread_join(ring->queues[i].thread, &deadline))
			ring->abandoned = true;
	if (ring->event_running && !queue_thread_join(ring->event_thread, &deadline))
		ring->abandoned = true;
	if (ring->abandoned)
		return;
	unmap_queues(ring);
	close(ring->device);
	tresor_enclave_unref(ring->enclave);
	ring->enclave = NULL;
}

void tresor_ring_free(struct tresor_ring *ring)
{
	if (ring->abandoned)
		return;
	free(ring->queues);
	free(ring);
}

static int map_queue(struct tresor_ring *ring, uint32_t index)
{
	struct queue *queue = &ring->queues[index];
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = TRESOR_DESCRIPTORS_OFFSET + ring->options.depth * sizeof(struct tresor_descriptor);
	void *area;

	queue->ring = ring;
	queue->index = index;
	queue->head_size = (size + page - 1) & ~(page - 1);
	queue->data_size = (size_t)ring->options.depth * TRESOR_SLOT_SIZE;
	area = mmap(NULL, queue->head_size, PROT_READ, MAP_SHARED, ring->device, (off_t)TRESOR_MMAP_DESCRIPTORS(index));
	if (area == MAP_FAILED)
		return -1;
	queue->head = area;
	area = mmap(NULL, queue->data_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->device,
		    (off_t)TRESOR_MMAP_DATA(index));
	if (area == MAP_FAILED)
		return -1;
	queue->data = area;
	return 0;
}

struct tresor_ring *tresor_ring_open(struct tresor_enclave *enclave, const struct tresor_ring_options *options)
{
	struct tresor_ring *ring = calloc(1, sizeof(*ring));

	if (ring == NULL)
		return NULL;
	ring->options = *options;
	ring->queues = calloc(options->queues, sizeof(*ring->queues));
	ring->device = ring->queues != NULL ? open(TRESOR_DEVICE, O_RDWR | O_CLOEXEC) : -1;
	if (ring->device < 0) {
		const int cause = errno;

		free(ring->queues);
		free(ring);
		errno = cause;
		return NULL;
	}
	ring->enclave = tresor_enclave_ref(enclave);
	return ring;
}

int tresor_ring_start(struct tresor_ring *ring, const struct tresor_ring_listener *listener)
{
	struct tresor_attach attach = {
		.version = TRESOR_KMOD_VERSION,
		.queues = ring->options.queues,
		.depth = ring->options.depth,
		.flags = ring->options.legacy ? TRESOR_ATTACH_LEGACY : 0,
	};

	ring->listener = *listener;
	if (queue_threads_lock_memory() != 0 || mlock(ring->queues, ring->options.queues * sizeof(*ring->queues)) != 0)
		return -1;
	queue_threads_outlive_shortage();
	if (ioctl(ring->device, TRESOR_IOC_ATTACH, &attach) != 0)
		return -1;
	for (uint32_t i = 0; i < ring->options.queues; i++)
		if (map_queue(ring, i) != 0)
			return -1;
	for (uint32_t i = 0; i < ring->options.queues; i++) {
		errno = queue_thread_start(&ring->queues[i].thread, serve, &ring->queues[i]);
		if (errno != 0)
			return -1;
		ring->queues[i].running = true;
	}
	if (ring->options.legacy) {
		errno = queue_thread_start(&ring->event_thread, take_events, ring);
		if (errno != 0)
			return -1;
		ring->event_running = true;
	}
	return 0;
}

/* ---- keys ---- */

int tresor_ring_control(const struct tresor_ring *ring, unsigned long command, void *argument)
{
	return ioctl(ring->device, command, argument);
}

int tresor_ring_probe(const struct tresor_ring *ring, uint32_t cookie, uint16_t mode, uint64_t sector, uint8_t *data,
		      uint32_t length)
{
	struct tresor_block block = {
		.in = (uintptr_t)data,
		.out = (uintptr_t)data,
		.length = length,
		.handle = cookie,
		.mode = mode,
		.status = TRESOR_E_REQUEST,
	};
	struct tresor_blocks request = {
		.head = { .op = TRESOR_OP_BLOCKS, .size = sizeof(request) },
		.count = 1,
		.blocks = (uintptr_t)&block,
	};
	uint32_t status;

	memset(data, 0, length);
	memcpy(block.iv, &sector, sizeof(sector));
	status = tresor_enclave_enter(ring->enclave, &request);
	if (status == TRESOR_OK && block.status == TRESOR_OK)
		return 0;
	return status == TRESOR_ENTER_LOST ? ENXIO : EIO;
}

struct tresor_ring_counters tresor_ring_counters(const struct tresor_ring *ring)
{
	struct tresor_ring_counters sums = { 0 };

	for (uint32_t i = 0; i < ring->options.queues; i++) {
		const struct tresor_ring_counters *each = &ring->queues[i].counters;

		sums.batches += __atomic_load_n(&each->batches, __ATOMIC_RELAXED);
		sums.blocks += __atomic_load_n(&each->blocks, __ATOMIC_RELAXED);
		sums.bytes += __atomic_load_n(&each->bytes, __ATOMIC_RELAXED);
		sums.failures += __atomic_load_n(&each->failures, __ATOMIC_RELAXED);
	}
	return sums;
}
