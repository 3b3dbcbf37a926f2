/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/ublk/queue.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "addon/disk/arena.h"
#include "addon/event.h"
#include "addon/io/huge.h"
#include "addon/queue_thread.h"
#include "addon/ublk/request.h"
#include "addon/ublk/tag.h"

/* Of a queue: for data of requests under way. More of them wait in the kernel. */
#define ARENA_SIZE	(4u << 20)
/* Of a queue's ring: commands of every tag, requests on the disk, the wake-up. */
#define ENTRIES		256u
/* What a thread waits at its end for requests that the disk holds. */
#define CLOSE_MS	2000

/* From within a turn: of what is not the disk's. */
static void completed(void *context, uint64_t user_data, int32_t result)
{
	struct ublk_queue *queue = context;
	const uint32_t number = (uint32_t)(user_data >> 1);

	if (number == UBLK_WAKE) {
		queue->awake = true;
	} else if (result == 0) {
		ublk_tags_append(&queue->arrived, &queue->tags[number]);
	} else {
		__atomic_store_n(&queue->gone, queue->gone + 1, __ATOMIC_RELEASE);
		if (result != -ENODEV)
			queue->fault = -result;
	}
}

/* What waited for a key is tried again, or ends; nothing of it is left in memory while there is none. */
static void look_at_mode(struct ublk_queue *queue)
{
	const enum ublk_mode mode = ublk_mode_of(queue);
	struct ublk_tag *tag;

	if (!ublk_listen_for_wake(queue))
		return;
	queue->awake = false;
	queue->starving = false;
	if (mode == UBLK_HOLD || mode == UBLK_DRAIN) {
		arena_wipe(&queue->arena);
		return;
	}
	while ((tag = ublk_tags_take(&queue->parked)) != NULL)
		ublk_tags_append(&queue->arrived, tag);
	counter_set(&queue->counters.held, 0);
}

/* Between two turns. */
static void advance(struct ublk_queue *queue)
{
	struct ublk_tag *tag;

	while ((tag = queue->uncommitted.first) != NULL && ublk_tag_commit(tag))
		ublk_tags_take(&queue->uncommitted);
	if (queue->awake)
		look_at_mode(queue);
	while ((tag = queue->arrived.first) != NULL) {
		/* It is linked elsewhere by what begins it. */
		struct ublk_tag *next = tag->next;

		if (!ublk_request_begin(tag))
			break;
		queue->arrived.first = next;
		if (next == NULL)
			queue->arrived.last = &queue->arrived.first;
	}
}

/* What was put waits for a turn; sleeping in one would be for something else. */
static bool busy(const struct ublk_queue *queue)
{
	return queue->uncommitted.first != NULL || queue->awake;
}

int ublk_queue_begin(struct ublk_queue *queue)
{
	const struct disk_queue_options options = {
		.entries = ENTRIES, .memory = queue->memory, .memory_size = ARENA_SIZE, .wide = true
	};

	queue->plain = plain_queue_open(queue->site->volume, &options);
	if (queue->plain == NULL)
		return errno;
	if (disk_queue_ring(plain_queue_disk(queue->plain)) == NULL)
		return ENOSYS;
	/* One that hangs in the page cache would hold up all of the queue. */
	plain_queue_leave_writes(queue->plain);
	disk_queue_listen(plain_queue_disk(queue->plain), completed, queue);
	if (!ublk_listen_for_wake(queue))
		return EAGAIN;
	for (uint32_t i = 0; i < queue->site->depth; i++)
		if (!ublk_tag_fetch(&queue->tags[i]))
			return EAGAIN;
	plain_queue_turn(queue->plain, false);
	if (queue->gone > 0)
		return queue->fault == 0 ? ENODEV : queue->fault;
	queue_thread_lock_around(queue->plain);
	return 0;
}

bool ublk_queue_turn(struct ublk_queue *queue)
{
	plain_queue_turn(queue->plain, !busy(queue));
	advance(queue);
	/* In this order: after the mode was seen nothing is begun. */
	__atomic_store_n(&queue->drained,
			 ublk_mode_of(queue) == UBLK_DRAIN && queue->under_way == 0 && queue->uncommitted.first == NULL,
			 __ATOMIC_RELEASE);
	return queue->gone < queue->site->depth;
}

bool ublk_queue_drained(const struct ublk_queue *queue)
{
	return __atomic_load_n(&queue->drained, __ATOMIC_ACQUIRE);
}

uint32_t ublk_queue_gone(const struct ublk_queue *queue)
{
	return __atomic_load_n(&queue->gone, __ATOMIC_ACQUIRE);
}

bool ublk_queue_end(struct ublk_queue *queue)
{
	queue->ending = true;
	if (queue->plain == NULL)
		return true;
	if (!plain_queue_close(queue->plain, CLOSE_MS))
		return false;
	arena_wipe(&queue->arena);
	queue->plain = NULL;
	return true;
}

int ublk_queue_fault(const struct ublk_queue *queue)
{
	return queue->fault;
}

void ublk_queue_wake(struct ublk_queue *queue)
{
	event_set(queue->wake);
}

const struct counters *ublk_queue_counters(const struct ublk_queue *queue)
{
	return &queue->counters;
}

/* ---- life ---- */

static bool set_up(struct ublk_queue *queue)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const uint32_t depth = queue->site->depth;
	void *area;

	queue->wake = eventfd(0, EFD_CLOEXEC);
	queue->tags = calloc(depth, sizeof(*queue->tags));
	if (queue->wake < 0 || queue->tags == NULL)
		return false;
	for (uint32_t i = 0; i < depth; i++) {
		queue->tags[i].queue = queue;
		queue->tags[i].number = (uint16_t)i;
	}
	ublk_tags_empty(&queue->arrived);
	ublk_tags_empty(&queue->parked);
	ublk_tags_empty(&queue->uncommitted);
	queue->descriptors_size = (depth * sizeof(struct ublk_descriptor) + page - 1) & ~(page - 1);
	area = mmap(NULL, queue->descriptors_size, PROT_READ, MAP_SHARED, queue->site->device,
		    (off_t)queue->index * UBLK_DESCRIPTORS_STRIDE);
	if (area == MAP_FAILED)
		return false;
	queue->descriptors = area;
	queue->memory = huge_map(0, ARENA_SIZE);
	if (queue->memory == NULL)
		return false;
	/* Plaintext in flight: not in swap. */
	return mlock(queue->memory, ARENA_SIZE) == 0 && arena_open(&queue->arena, queue->memory, ARENA_SIZE) &&
	       mlock(queue->tags, depth * sizeof(*queue->tags)) == 0 && mlock(queue, sizeof(*queue)) == 0;
}

struct ublk_queue *ublk_queue_open(struct ublk_site *site, uint16_t index)
{
	struct ublk_queue *queue = calloc(1, sizeof(*queue));
	int cause;

	if (queue == NULL)
		return NULL;
	queue->site = site;
	queue->index = index;
	queue->wake = -1;
	if (set_up(queue))
		return queue;
	cause = errno;
	ublk_queue_close(queue);
	ublk_queue_free(queue);
	errno = cause;
	return NULL;
}

void ublk_queue_close(struct ublk_queue *queue)
{
	if (queue->memory != NULL) {
		if (queue->arena.memory != NULL)
			arena_close(&queue->arena);
		munmap(queue->memory, ARENA_SIZE);
	}
	if (queue->descriptors != NULL)
		munmap((void *)queue->descriptors, queue->descriptors_size);
	free(queue->tags);
	if (queue->wake >= 0)
		close(queue->wake);
}

void ublk_queue_free(struct ublk_queue *queue)
{
	free(queue);
}
