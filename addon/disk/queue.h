/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread's queue of I/O on a disk: many requests under way, their ends told
 * as they come. By io_uring or by a pool of threads, with the same behaviour.
 * A queue belongs to the thread that opened it: only that thread calls in here,
 * and `done` is called on it, from within disk_queue_turn.
 */
#ifndef TRESOR_DISK_QUEUE_H
#define TRESOR_DISK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addon/disk/disk.h"
#include "addon/disk/uring.h"

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_SYNC,	/* fdatasync(2): covers every write whose end was told before it was put */
	DISK_PUNCH,	/* the range takes no space and reads as zeros */
};

/* The caller's, with its memory, from disk_queue_put until `done`. */
struct disk_io {
	enum disk_op op;
	bool direct;		/* past the page cache: the range is disk_aligned, the memory page aligned */
	bool durable;		/* a write: done when it is on stable storage (FUA) */
	uint32_t length;	/* bytes, not 0 but for a sync */
	uint64_t offset;	/* bytes of the store */
	uint8_t *memory;
	int error;		/* when done: 0, all of it was moved, or an errno. EIO: also a store that ends before,
				   and what a close gave up */
	void (*done)(struct disk_io *io);
	/* The queue's own. */
	uint32_t moved;
	uint32_t tries;
	int result;
	struct disk_queue *queue;
	struct disk_io *next;
};

struct disk_queue;

struct disk_queue_options {
	unsigned entries;	/* requests under way at one time; more wait in the queue. A power of two */
	uint8_t *memory;	/* where most requests' memory lies, page aligned, to be registered; or NULL */
	size_t memory_size;
	bool wide;		/* see disk_queue_ring */
};

/*
 * With a reference to the disk, whose file it opens once more for its syncs, by /proc/self/fd and with the
 * rights of the first time. NULL with errno.
 */
struct disk_queue *disk_queue_open(struct disk *disk, const struct disk_queue_options *options);
/* Takes it; begun by the next turn at the latest. */
void disk_queue_put(struct disk_queue *queue, struct disk_io *io);
/*
 * Begins what was put and tells the ends of what is done. `wait`: sleeps until there may be something to tell.
 * Returns disk_queue_due.
 */
bool disk_queue_turn(struct disk_queue *queue, bool wait);
/* Whether another turn has work at once: `done` has put more. Then do not sleep in poll(2) before it. */
bool disk_queue_due(const struct disk_queue *queue);
/* After a turn without `wait`: readable (poll(2)) when the next one has something to tell. Stays the queue's. */
int disk_queue_fd(const struct disk_queue *queue);
/*
 * For who would sleep: looks for up to `ns` for the end of the only request that there is. True: the next turn has it, or
 * some of it. False at once where there are none or several, and by a pool.
 */
bool disk_queue_watch(const struct disk_queue *queue, int64_t ns);
/* Put and not done. */
unsigned disk_queue_pending(const struct disk_queue *queue);
/*
 * Waits for everything that was put, for `ms` at most, and frees the queue. After that time all that the
 * device does not hold ends with EIO. False: the device holds some, which is never told of. Then the queue
 * stays, as must all memory of those requests and what was registered: a device that answers late writes there.
 * Nothing may be put any more, also not from within `done`.
 */
bool disk_queue_close(struct disk_queue *queue, int ms);

/*
 * The ring, for other commands of this thread (ublk's, with `wide`): their entries are got by
 * disk_queue_sqe, and their completions, whose user_data has bit 0 set, go to `completed` from
 * within a turn. NULL where the engine is the pool.
 */
struct uring *disk_queue_ring(struct disk_queue *queue);
/* An entry of the ring for another command; makes room by submitting. NULL: the kernel takes none now. */
struct io_uring_sqe *disk_queue_sqe(struct disk_queue *queue);
void disk_queue_listen(struct disk_queue *queue, void (*completed)(void *context, uint64_t user_data, int32_t result),
		       void *context);

#endif
