/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/transfers.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "addon/disk/arena.h"
#include "addon/io/huge.h"
#include "addon/io/slab.h"
#include "addon/processors.h"
#include "addon/spin.h"

/*
 * Of the memory: locked and registered from the start, so that there are always some transfers. The rest is locked as it
 * is used, and given back once nothing has been under way for a while: most volumes are idle most of the time.
 */
#define KEPT		HUGE_PAGE

/* Linux 5.18. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED	24
#endif

/*
 * To sleep and be woken takes longer than a fast disk takes for one request. A disk that needs more than that gets no
 * attention soon (addon/spin.h).
 */
#define WATCH_NS	100000

/* So many requests in a row came one by one: who asks for several at a time sends the next while this thread looks. */
#define WATCH_AFTER	8

/* Bytes under way in the queue before lanes have some. */
#define OWN_SHARE	ARENA_PIECE

/* Whole sectors, by a token. */
struct transfer {
	struct lane_io io;
	struct iovec plaintext;	/* of a write that is not in place */
	uint8_t *copy;		/* of the arena's, where that is for a lane; or NULL */
	struct transfers *transfers;
	uint32_t token;
	struct transfer *next;	/* free, or ended and not told */
};

struct transfers {
	struct plain_volume *volume;
	struct plain_queue *queue;
	uint64_t bytes;		/* of what is in it */
	struct lanes *lanes;	/* NULL: there are none */
	uint8_t *memory;	/* a slab; the arena's */
	struct arena arena;
	struct transfer *transfers, *unused;
	struct transfer *ended, **last_ended;
	bool due;		/* a turn has left some */
	bool watches;		/* there is a CPU for a client beside ours */
	unsigned alone;		/* requests in a row, up to WATCH_AFTER, that were put while nothing was under way */
	struct spin spin;
};

static void transfer_ended(struct transfer *transfer)
{
	if (transfer->copy != NULL) {
		if (transfer->io.io.error == ENOKEY)
			memcpy(transfer->io.io.ciphertext, transfer->copy, transfer->io.io.length);
		arena_give(&transfer->transfers->arena, transfer->copy, transfer->io.io.length);
	}
	transfer->next = NULL;
	*transfer->transfers->last_ended = transfer;
	transfer->transfers->last_ended = &transfer->next;
}

static void transfer_done(struct plain_io *io)
{
	struct transfer *transfer = (struct transfer *)(void *)((char *)io - offsetof(struct transfer, io.io));

	transfer->transfers->bytes -= io->length;
	transfer_ended(transfer);
}

static void take_ended(struct transfers *transfers)
{
	struct lane_io *io = transfers->lanes == NULL ? NULL : lanes_take(transfers->lanes);

	while (io != NULL) {
		struct lane_io *next = io->next;

		transfer_ended((struct transfer *)(void *)((char *)io - offsetof(struct transfer, io)));
		io = next;
	}
}

/* A few are carried out here: to wake another thread takes longer than they do. */
static bool stays(const struct transfers *transfers, const struct transfer *transfer)
{
	return transfers->lanes == NULL || transfers->bytes + transfer->io.io.length <= OWN_SHARE;
}

static void put_here(struct transfers *transfers, struct transfer *transfer)
{
	transfers->bytes += transfer->io.io.length;
	plain_queue_put(transfers->queue, &transfer->io.io);
}

static void put_in_place(struct transfers *transfers, struct transfer *transfer)
{
	if (stays(transfers, transfer))
		put_here(transfers, transfer);
	else
		lanes_put(transfers->lanes, &transfer->io);
}

/* A lane reads it later than the next turn. */
static void put_plaintext(struct transfers *transfers, struct transfer *transfer)
{
	if (!stays(transfers, transfer))
		transfer->copy = arena_take(&transfers->arena, transfer->io.io.length);
	if (transfer->copy == NULL) {
		/* The enclave wants it 8-byte aligned. */
		if ((uintptr_t)transfer->plaintext.iov_base % 8 == 0) {
			transfer->io.io.pieces = &transfer->plaintext;
			transfer->io.io.count = 1;
		} else {
			memcpy(transfer->io.io.ciphertext, transfer->plaintext.iov_base, transfer->io.io.length);
		}
		put_here(transfers, transfer);
		return;
	}
	memcpy(transfer->copy, transfer->plaintext.iov_base, transfer->io.io.length);
	transfer->plaintext.iov_base = transfer->copy;
	transfer->io.io.pieces = &transfer->plaintext;
	transfer->io.io.count = 1;
	lanes_put(transfers->lanes, &transfer->io);
}

static void note_depth(struct transfers *transfers)
{
	if (transfers->bytes > 0)
		transfers->alone = 0;
	else if (transfers->alone < WATCH_AFTER)
		transfers->alone++;
}

bool transfers_put(struct transfers *transfers, const struct transfer_request *request, uint8_t *plaintext)
{
	struct transfer *transfer = transfers->unused;

	if (transfer == NULL)
		return false;
	note_depth(transfers);
	transfers->unused = transfer->next;
	transfer->transfers = transfers;
	transfer->token = request->token;
	transfer->copy = NULL;
	transfer->io.io = (struct plain_io){
		.op = request->op,
		.fua = request->durable,
		.offset = request->offset,
		.length = request->length,
		.ciphertext = transfers->arena.memory + request->at,
		.done = transfer_done,
	};
	if (plaintext == NULL) {
		put_in_place(transfers, transfer);
	} else {
		transfer->plaintext = (struct iovec){ plaintext, request->length };
		put_plaintext(transfers, transfer);
	}
	return true;
}

/* Whether the only request that is under way has come while this thread looked for it. */
static bool watched(struct transfers *transfers)
{
	const struct disk_queue *queue = plain_queue_disk(transfers->queue);
	bool found;

	if (!transfers->watches || transfers->alone < WATCH_AFTER || transfers->ended != NULL ||
	    disk_queue_pending(queue) != 1 || !spin_pays(&transfers->spin))
		return false;
	found = disk_queue_watch(queue, WATCH_NS);
	spin_found(&transfers->spin, found);
	return found;
}

uint32_t transfers_turn(struct transfers *transfers, double *rows, uint32_t most)
{
	uint32_t told = 0;

	if (transfers->lanes != NULL)
		lanes_go(transfers->lanes);
	do
		transfers->due = plain_queue_turn(transfers->queue, false);
	while ((transfers->due && transfers->ended == NULL) || watched(transfers));
	take_ended(transfers);
	while (told < most && transfers->ended != NULL) {
		struct transfer *transfer = transfers->ended;

		transfers->ended = transfer->next;
		if (transfers->ended == NULL)
			transfers->last_ended = &transfers->ended;
		rows[told * TRANSFERS_COLUMNS] = transfer->token;
		rows[told * TRANSFERS_COLUMNS + 1] = transfer->io.io.error;
		told++;
		transfer->next = transfers->unused;
		transfers->unused = transfer;
	}
	return told;
}

bool transfers_due(const struct transfers *transfers)
{
	return transfers->due || transfers->ended != NULL;
}

/* ---- memory ---- */

double transfers_reserve(struct transfers *transfers, uint32_t length)
{
	const uint8_t *memory = arena_take(&transfers->arena, length);

	return memory == NULL ? -1 : (double)(memory - transfers->arena.memory);
}

/* Whole pages of the arena that start at `at`. */
bool transfers_hold(const struct transfers *transfers, uint32_t at, uint32_t length)
{
	return at % ARENA_PAGE == 0 && length > 0 && length <= ARENA_PIECE && at <= transfers->arena.size &&
	       length <= transfers->arena.size - at;
}

void transfers_release(struct transfers *transfers, uint32_t at, uint32_t length)
{
	arena_give(&transfers->arena, transfers->arena.memory + at, length);
}

/* Not to be swapped out where the limit of locked memory allows it, from the first use on. */
static void lock_rest(const struct transfers *transfers)
{
	mlock2(transfers->memory + KEPT, TRANSFERS_MEMORY - KEPT, MLOCK_ONFAULT);
}

/* Wiped pages, and what came with them in a huge one; zero pages come in their place when they are used again. */
static void give_back(const struct transfers *transfers, size_t reach)
{
	uint8_t *rest = transfers->memory + KEPT;
	const size_t end = (reach + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);

	if (end <= KEPT || madvise(rest, end - KEPT, MADV_DONTNEED_LOCKED) == 0)
		return;
	munlock(rest, end - KEPT);
	madvise(rest, end - KEPT, MADV_DONTNEED);
	lock_rest(transfers);
}

void transfers_wipe(struct transfers *transfers)
{
	const size_t reach = transfers->arena.reach;

	arena_wipe(&transfers->arena);
	if (transfers->arena.reach == 0)
		give_back(transfers, reach);
}

/* ---- life ---- */

static bool set_up(struct transfers *transfers, struct disk *disk, bool past, uint32_t threads)
{
	struct disk_queue_options options = { .entries = TRANSFERS_MOST };

	transfers->volume = plain_volume_new(disk);
	transfers->transfers = calloc(TRANSFERS_MOST, sizeof(*transfers->transfers));
	transfers->memory = slab_new_huge(TRANSFERS_MEMORY);
	if (transfers->volume == NULL || transfers->transfers == NULL || transfers->memory == NULL ||
	    !arena_open(&transfers->arena, transfers->memory, TRANSFERS_MEMORY)) {
		errno = ENOMEM;
		return false;
	}
	transfers->volume->direct = past && disk->direct >= 0;
	/* Plaintext in flight, not to be swapped out where the limit of locked memory allows it; and the disk writes there. */
	mlock(transfers->memory, KEPT);
	lock_rest(transfers);
	for (uint32_t i = 0; i < TRANSFERS_MOST; i++) {
		transfers->transfers[i].next = transfers->unused;
		transfers->unused = &transfers->transfers[i];
	}
	transfers->last_ended = &transfers->ended;
	options.memory = transfers->arena.memory;
	options.memory_size = KEPT;
	transfers->queue = plain_queue_open(transfers->volume, &options);
	if (transfers->queue == NULL)
		return false;
	/* This thread has others to serve. */
	plain_queue_leave_writes(transfers->queue);
	plain_queue_divide(transfers->queue, ARENA_PIECE);
	transfers->spin.credit = SPIN_CREDIT;
	transfers->watches = processors() > 1;
	if (threads > 0)
		transfers->lanes = lanes_open(transfers->volume, &options, threads, LANES_LEAVE_WRITES);
	return threads == 0 || transfers->lanes != NULL;
}

struct transfers *transfers_open(struct disk *disk, bool past, uint32_t threads)
{
	struct transfers *transfers = calloc(1, sizeof(*transfers));
	int cause;

	if (transfers == NULL)
		return NULL;
	if (set_up(transfers, disk, past, threads))
		return transfers;
	cause = errno;
	transfers_close(transfers, 0);
	errno = cause;
	return NULL;
}

bool transfers_close(struct transfers *transfers, int ms)
{
	struct lane_io *rest;
	bool closed = true;

	if (transfers->lanes != NULL)
		lanes_end(transfers->lanes, ms);
	if (transfers->queue != NULL)
		closed = plain_queue_close(transfers->queue, ms);
	if (transfers->lanes != NULL)
		closed = lanes_close(transfers->lanes, &rest) && closed;
	if (transfers->volume != NULL)
		plain_volume_unref(transfers->volume);
	if (!closed)
		return false;
	arena_close(&transfers->arena);
	if (transfers->memory != NULL)
		slab_unref(transfers->memory);
	free(transfers->transfers);
	free(transfers);
	return true;
}

struct plain_volume *transfers_volume(const struct transfers *transfers)
{
	return transfers->volume;
}

struct disk_queue *transfers_queue(const struct transfers *transfers)
{
	return plain_queue_disk(transfers->queue);
}

struct lanes *transfers_lanes(const struct transfers *transfers)
{
	return transfers->lanes;
}

uint8_t *transfers_memory(const struct transfers *transfers)
{
	return transfers->memory;
}
