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
#include "addon/queue_thread.h"

/* Of a queue: for data of requests under way. More of them wait in the kernel. */
#define ARENA_SIZE	(4u << 20)
/* Of a queue's ring: commands of every tag, requests on the disk, the wake-up. */
#define ENTRIES		256u
/* What a thread waits at its end for requests that the disk holds. */
#define CLOSE_MS	2000

/* In user_data, above the bit that says it is not the disk's: a tag, or this. */
#define WAKE		UINT32_MAX

struct list {
	struct slot *first, **last;
};

/* A tag's request. */
struct slot {
	struct plain_io io;
	struct ublk_queue *queue;
	struct slot *next;
	uint8_t *memory;	/* of the arena; NULL: none */
	uint32_t length;	/* bytes */
	int32_t result;		/* to be committed */
	uint16_t tag;
	bool lost;		/* a write's plaintext, once: the kernel has it still */
};

struct ublk_queue {
	struct ublk_site *site;
	uint16_t index;
	const struct ublk_descriptor *descriptors;
	size_t descriptors_size;
	uint8_t *memory;
	struct arena arena;
	struct plain_queue *plain;
	struct slot *slots;
	int wake;		/* eventfd */
	uint64_t woken;		/* read by the ring */
	bool awake;		/* somebody has woken it since the last look */
	bool starving;		/* told */
	bool ending;		/* nothing is committed any more */
	bool drained;		/* atomic; after a turn in mode UBLK_DRAIN: nothing was under way */
	uint32_t under_way;	/* requests that plain.c has */
	uint32_t gone;		/* atomic; tags that the kernel took back */
	int fault;		/* errno of one that it did not take */
	struct list arrived;	/* to be begun: when there is memory for them */
	struct list parked;	/* until there is a key */
	struct list uncommitted;	/* until the ring has room */
	struct counters counters;
};

static void append(struct list *list, struct slot *slot)
{
	slot->next = NULL;
	*list->last = slot;
	list->last = &slot->next;
}

static void empty(struct list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static struct slot *take(struct list *list)
{
	struct slot *slot = list->first;

	if (slot == NULL)
		return NULL;
	list->first = slot->next;
	if (list->first == NULL)
		list->last = &list->first;
	return slot;
}

static enum ublk_mode mode_of(const struct ublk_queue *queue)
{
	return __atomic_load_n(&queue->site->mode, __ATOMIC_ACQUIRE);
}

/* ---- the kernel's side of a tag ---- */

/* Asks for the tag's next request, and answers the one before unless it is the first. False: the ring has no room now. */
static bool send(struct ublk_queue *queue, uint16_t tag, uint32_t operation, int32_t result)
{
	const struct ublk_queue_command command = { .q_id = queue->index, .tag = tag, .result = result };
	struct io_uring_sqe *entry = disk_queue_sqe(plain_queue_disk(queue->plain));

	if (entry == NULL)
		return false;
	entry->opcode = IORING_OP_URING_CMD;
	entry->fd = queue->site->device;
	entry->cmd_op = operation;
	entry->user_data = (uint64_t)tag << 1 | 1;
	memcpy(entry->cmd, &command, sizeof(command));
	return true;
}

/* The wake-up's, once: it is the mode's or the end's. */
static bool listen_for_wake(struct ublk_queue *queue)
{
	struct io_uring_sqe *entry = disk_queue_sqe(plain_queue_disk(queue->plain));

	if (entry == NULL)
		return false;
	entry->opcode = IORING_OP_READ;
	entry->fd = queue->wake;
	entry->addr = (uintptr_t)&queue->woken;
	entry->len = sizeof(queue->woken);
	entry->user_data = (uint64_t)WAKE << 1 | 1;
	return true;
}

static void release(struct slot *slot)
{
	/* What was under way when the volume was locked ends after the queue's memory was wiped. */
	if (slot->memory != NULL && mode_of(slot->queue) != UBLK_SERVE)
		explicit_bzero(slot->memory, slot->length);
	if (slot->memory != NULL)
		arena_give(&slot->queue->arena, slot->memory, slot->length);
	slot->memory = NULL;
}

/* Bytes, or a negative errno. */
static void answer(struct slot *slot, int32_t result)
{
	struct ublk_queue *queue = slot->queue;

	release(slot);
	slot->lost = false;
	slot->result = result;
	if (result < 0)
		counter_add(&queue->counters.errors, 1);
	/* At the end of a thread that was asked to: the next server is given the request again. */
	if (queue->ending)
		return;
	if (!send(queue, slot->tag, UBLK_COMMIT_AND_FETCH_REQ, result))
		append(&queue->uncommitted, slot);
}

static void park(struct slot *slot)
{
	struct ublk_queue *queue = slot->queue;

	release(slot);
	append(&queue->parked, slot);
	counter_add(&queue->counters.held, 1);
	/* Who has made the range quiet wakes the queue. */
	if (slot->io.quiet || mode_of(queue) != UBLK_SERVE || queue->starving || queue->ending)
		return;
	queue->starving = true;
	queue->site->starved(queue->site->context);
}

/* With the kernel, until the mode is another. */
static void leave(struct slot *slot)
{
	slot->io.quiet = false;
	park(slot);
}

static bool copy(const struct slot *slot, bool in)
{
	const struct ublk_queue *queue = slot->queue;
	const off_t at = (off_t)UBLK_DATA_OFFSET(queue->index, slot->tag);
	ssize_t done;

	do {
		done = in ? pread(queue->site->device, slot->memory, slot->length, at) :
			    pwrite(queue->site->device, slot->memory, slot->length, at);
	} while (done < 0 && errno == EINTR);
	return done == (ssize_t)slot->length;
}

/* ---- requests ---- */

static void put(struct slot *slot)
{
	slot->queue->under_way++;
	plain_queue_put(slot->queue->plain, &slot->io);
}

/* Of one that has ended. */
static struct slot *take_back(struct plain_io *io)
{
	struct slot *slot = (struct slot *)(void *)((char *)io - offsetof(struct slot, io));

	slot->queue->under_way--;
	return slot;
}

static void flushed(struct plain_io *io)
{
	struct slot *slot = take_back(io);

	if (io->error == 0)
		counter_add(&slot->queue->counters.flushes, 1);
	answer(slot, -io->error);
}

static void read_done(struct plain_io *io)
{
	struct slot *slot = take_back(io);

	if (io->error == ENOKEY) {
		park(slot);
	} else if (io->error != 0 || !copy(slot, false)) {
		answer(slot, io->error == 0 ? -EIO : -io->error);
	} else {
		counter_add(&slot->queue->counters.reads, 1);
		counter_add(&slot->queue->counters.bytes_read, slot->length);
		answer(slot, (int32_t)slot->length);
	}
}

static void written(struct plain_io *io)
{
	struct slot *slot = take_back(io);

	/* What an enclave left half encrypted is read from the kernel again; a refusal comes again, and is told. */
	if (io->error == ENOKEY || (io->error == EIO && !io->encrypted && !slot->lost)) {
		slot->lost = io->error == EIO;
		park(slot);
	} else if (io->error != 0) {
		answer(slot, -io->error);
	} else {
		counter_add(&slot->queue->counters.writes, 1);
		counter_add(&slot->queue->counters.bytes_written, slot->length);
		answer(slot, (int32_t)slot->length);
	}
}

static void punched(struct plain_io *io)
{
	struct slot *slot = take_back(io);

	if (io->quiet) {
		park(slot);
		return;
	}
	/* A file system without holes keeps its blocks. */
	if (io->error != 0 && io->error != EOPNOTSUPP) {
		answer(slot, -io->error);
		return;
	}
	counter_add(&slot->queue->counters.discards, 1);
	answer(slot, 0);
}

/* Whole blocks of the store, so that every device takes it; what is left at the edges is kept. */
static void discard(struct slot *slot, uint64_t offset, uint64_t length)
{
	const struct plain_volume *volume = slot->queue->site->volume;
	const uint64_t size = __atomic_load_n(&volume->size, __ATOMIC_RELAXED);
	const uint64_t start = (volume->offset + offset + ARENA_PAGE - 1) / ARENA_PAGE * ARENA_PAGE;
	const uint64_t end = (volume->offset + offset + length) / ARENA_PAGE * ARENA_PAGE;

	if (!slot->queue->site->discards || volume->read_only) {
		answer(slot, -EOPNOTSUPP);
	} else if (offset > size || length > size - offset) {
		answer(slot, -EINVAL);
	} else if (start >= end) {
		answer(slot, 0);
	} else {
		slot->io = (struct plain_io){ .op = PLAIN_PUNCH,
					      .offset = start - volume->offset,
					      .length = (uint32_t)(end - start),
					      .done = punched };
		put(slot);
	}
}

/* False: it waits for memory. */
static bool transfer(struct slot *slot, uint32_t operation, uint32_t flags, uint64_t offset, uint64_t length)
{
	struct ublk_queue *queue = slot->queue;
	const enum ublk_mode mode = mode_of(queue);

	if (length == 0 || length > UBLK_REQUEST_SIZE) {
		answer(slot, -EINVAL);
		return true;
	}
	if (mode == UBLK_HOLD) {
		leave(slot);
		return true;
	}
	if (mode == UBLK_FAIL) {
		answer(slot, -EIO);
		return true;
	}
	slot->length = (uint32_t)length;
	slot->memory = arena_take(&queue->arena, slot->length);
	if (slot->memory == NULL)
		return false;
	if (operation == UBLK_OP_WRITE_ZEROES)
		memset(slot->memory, 0, slot->length);
	else if (operation == UBLK_OP_WRITE && !copy(slot, true)) {
		answer(slot, -EIO);
		return true;
	}
	slot->io = (struct plain_io){
		.op = operation == UBLK_OP_READ ? PLAIN_READ : PLAIN_WRITE,
		.fua = flags & UBLK_OP_FUA,
		.offset = offset,
		.length = slot->length,
		.ciphertext = slot->memory,
		.done = operation == UBLK_OP_READ ? read_done : written,
	};
	put(slot);
	return true;
}

static bool begin(struct slot *slot)
{
	const struct ublk_descriptor *asked = &slot->queue->descriptors[slot->tag];
	const uint32_t operation = asked->op_flags & UBLK_OP_MASK;
	const uint64_t offset = asked->start_sector * 512, length = (uint64_t)asked->nr_sectors * 512;

	if (mode_of(slot->queue) == UBLK_DRAIN) {
		leave(slot);
		return true;
	}
	switch (operation) {
	case UBLK_OP_READ:
	case UBLK_OP_WRITE:
	case UBLK_OP_WRITE_ZEROES:
		return transfer(slot, operation, asked->op_flags, offset, length);
	case UBLK_OP_FLUSH:
		slot->io = (struct plain_io){ .op = PLAIN_FLUSH, .done = flushed };
		put(slot);
		return true;
	case UBLK_OP_DISCARD:
		discard(slot, offset, length);
		return true;
	default:
		answer(slot, -EOPNOTSUPP);
		return true;
	}
}

/* ---- the threads ---- */

/* From within a turn: of what is not the disk's. */
static void completed(void *context, uint64_t user_data, int32_t result)
{
	struct ublk_queue *queue = context;
	const uint32_t tag = (uint32_t)(user_data >> 1);

	if (tag == WAKE) {
		queue->awake = true;
	} else if (result == 0) {
		append(&queue->arrived, &queue->slots[tag]);
	} else {
		__atomic_store_n(&queue->gone, queue->gone + 1, __ATOMIC_RELEASE);
		if (result != -ENODEV)
			queue->fault = -result;
	}
}

/* What waited for a key is tried again, or ends; nothing of it is left in memory while there is none. */
static void look_at_mode(struct ublk_queue *queue)
{
	const enum ublk_mode mode = mode_of(queue);
	struct slot *slot;

	if (!listen_for_wake(queue))
		return;
	queue->awake = false;
	queue->starving = false;
	if (mode == UBLK_HOLD || mode == UBLK_DRAIN) {
		arena_wipe(&queue->arena);
		return;
	}
	while ((slot = take(&queue->parked)) != NULL)
		append(&queue->arrived, slot);
	counter_set(&queue->counters.held, 0);
}

/* Between two turns. */
static void advance(struct ublk_queue *queue)
{
	struct slot *slot;

	while ((slot = queue->uncommitted.first) != NULL &&
	       send(queue, slot->tag, UBLK_COMMIT_AND_FETCH_REQ, slot->result))
		take(&queue->uncommitted);
	if (queue->awake)
		look_at_mode(queue);
	while ((slot = queue->arrived.first) != NULL) {
		/* It is linked elsewhere by what begins it. */
		struct slot *next = slot->next;

		if (!begin(slot))
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
	if (!listen_for_wake(queue))
		return EAGAIN;
	for (uint32_t tag = 0; tag < queue->site->depth; tag++)
		if (!send(queue, (uint16_t)tag, UBLK_FETCH_REQ, 0))
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
			 mode_of(queue) == UBLK_DRAIN && queue->under_way == 0 && queue->uncommitted.first == NULL,
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
	queue->slots = calloc(depth, sizeof(*queue->slots));
	if (queue->wake < 0 || queue->slots == NULL)
		return false;
	for (uint32_t tag = 0; tag < depth; tag++) {
		queue->slots[tag].queue = queue;
		queue->slots[tag].tag = (uint16_t)tag;
	}
	empty(&queue->arrived);
	empty(&queue->parked);
	empty(&queue->uncommitted);
	queue->descriptors_size = (depth * sizeof(struct ublk_descriptor) + page - 1) & ~(page - 1);
	area = mmap(NULL, queue->descriptors_size, PROT_READ, MAP_SHARED, queue->site->device,
		    (off_t)queue->index * UBLK_DESCRIPTORS_STRIDE);
	if (area == MAP_FAILED)
		return false;
	queue->descriptors = area;
	area = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return false;
	queue->memory = area;
	/* Plaintext in flight: not in a core, nor in swap. */
	madvise(area, ARENA_SIZE, MADV_DONTDUMP);
	return mlock(area, ARENA_SIZE) == 0 && arena_open(&queue->arena, queue->memory, ARENA_SIZE) &&
	       mlock(queue->slots, depth * sizeof(*queue->slots)) == 0 && mlock(queue, sizeof(*queue)) == 0;
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
	free(queue->slots);
	if (queue->wake >= 0)
		close(queue->wake);
}

void ublk_queue_free(struct ublk_queue *queue)
{
	free(queue);
}
