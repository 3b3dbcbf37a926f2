/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's side of a queue's tags: commands that fetch a request and commit its result, its data, and lists of those
 * that wait. For queue.c and request.c, on the queue's thread alone but where it says atomic.
 */
#ifndef TRESOR_UBLK_TAG_H
#define TRESOR_UBLK_TAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/ublk.h"
#include "addon/disk/arena.h"
#include "addon/disk/counters.h"
#include "addon/disk/plain.h"
#include "addon/ublk/queue.h"

/* In user_data, above the bit that says it is not the disk's: a tag's number, or this. */
#define UBLK_WAKE	UINT32_MAX

/* A tag, with its request. */
struct ublk_tag {
	struct plain_io io;
	struct ublk_queue *queue;
	struct ublk_tag *next;	/* in one list at a time */
	uint8_t *memory;	/* of the arena; NULL: none */
	uint32_t length;	/* bytes */
	int32_t result;		/* to be committed */
	uint16_t number;
	bool lost;		/* a write's plaintext, once: the kernel has it still */
};

struct ublk_tags {
	struct ublk_tag *first, **last;
};

struct ublk_queue {
	struct ublk_site *site;
	uint16_t index;
	const struct ublk_descriptor *descriptors;
	size_t descriptors_size;
	uint8_t *memory;
	struct arena arena;
	struct plain_queue *plain;
	struct ublk_tag *tags;
	int wake;		/* eventfd */
	uint64_t woken;		/* read by the ring */
	bool awake;		/* somebody has woken it since the last look */
	bool starving;		/* told */
	bool ending;		/* nothing is committed any more */
	bool drained;		/* atomic; after a turn in mode UBLK_DRAIN: nothing was under way */
	uint32_t under_way;	/* requests that plain.c has */
	uint32_t gone;		/* atomic; tags that the kernel took back */
	int fault;		/* errno of one that it did not take */
	struct ublk_tags arrived;	/* to be begun: when there is memory for them */
	struct ublk_tags parked;	/* until there is a key */
	struct ublk_tags uncommitted;	/* until the ring has room */
	struct counters counters;
};

void ublk_tags_empty(struct ublk_tags *tags);
void ublk_tags_append(struct ublk_tags *tags, struct ublk_tag *tag);
/* NULL: there is none. */
struct ublk_tag *ublk_tags_take(struct ublk_tags *tags);

static inline enum ublk_mode ublk_mode_of(const struct ublk_queue *queue)
{
	return __atomic_load_n(&queue->site->mode, __ATOMIC_ACQUIRE);
}

/* Asks for the tag's first request. False: the ring has no room now, as in the next two. */
bool ublk_tag_fetch(struct ublk_tag *tag);
/* Answers its request with `result`, and asks for the next. */
bool ublk_tag_commit(struct ublk_tag *tag);
/* Its completion, of UBLK_WAKE, comes once: when the queue's `wake` is set. */
bool ublk_listen_for_wake(struct ublk_queue *queue);

/* Bytes, or a negative errno. Committed when the ring has room, unless the queue is ending. Gives its memory back. */
void ublk_tag_answer(struct ublk_tag *tag, int32_t result);
/* Its request found no key, and waits; the listener is told unless it found a quiet range. Gives its memory back. */
void ublk_tag_park(struct ublk_tag *tag);
/* It stays with the kernel, until the mode is another. */
void ublk_tag_leave(struct ublk_tag *tag);
/* The data of its request, from the kernel (`in`) or to it, all `length` bytes of `memory`. */
bool ublk_tag_copy(const struct ublk_tag *tag, bool in);

#endif
