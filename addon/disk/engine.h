/* SPDX-License-Identifier: Apache-2.0 */
/* What carries out a queue's requests: ring.c or pool.c; queue.c is the only user. */
#ifndef TRESOR_DISK_ENGINE_H
#define TRESOR_DISK_ENGINE_H

#include <stdbool.h>

#include "addon/disk/queue.h"

struct engine;

struct engine_ops {
	/* NULL with errno. `sync`: the queue's own descriptor for syncs. `ended`: see below. */
	struct engine *(*open)(struct disk *disk, int sync, const struct disk_queue_options *options,
			       void (*ended)(struct disk_io *io, int result));
	/* How many writes and punched holes may be begun at one time, so that all else goes on when none of these ends. */
	unsigned (*changes)(const struct disk_queue_options *options);
	/*
	 * What is left of the request: `moved` bytes of it are done. Takes it, `next` with it. False: no room
	 * before a turn, the request is untouched.
	 */
	bool (*begin)(struct engine *engine, struct disk_io *io);
	/* Calls `ended` for what has ended, with the result of its system call: bytes, 0, or a negative errno. */
	void (*turn)(struct engine *engine, bool wait);
	/*
	 * What was begun is under way, or the descriptor is readable, so that poll(2) on it wakes. `ended` is not called.
	 * False: the system had no memory for it, which was waited for a little; turn again.
	 */
	bool (*submit)(struct engine *engine);
	int (*fd)(const struct engine *engine);
	/* Looks, and does not sleep, for up to `ns`: whether something has ended, for the next turn. NULL: it cannot. */
	bool (*watch)(const struct engine *engine, int64_t ns);
	/* Nothing is begun any more. What the device does not hold yet ends with ECANCELED in later turns. */
	void (*cancel)(struct engine *engine);
	/* Nothing is under way. */
	void (*close)(struct engine *engine);
};

extern const struct engine_ops ring_engine, pool_engine;

/* See queue.h; of a ring engine. */
struct uring *ring_engine_ring(struct engine *engine);
struct io_uring_sqe *ring_engine_sqe(struct engine *engine);
void ring_engine_listen(struct engine *engine, void (*completed)(void *context, uint64_t user_data, int32_t result),
			void *context);

#endif
