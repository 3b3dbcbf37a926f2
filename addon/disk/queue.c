/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "addon/disk/engine.h"
#include "addon/monotonic.h"

/* So often a request is begun again that was interrupted, or that the kernel had no memory or no slot for (EAGAIN). */
#define TRIES	64u

/* Of a close, beyond its time: for what was cancelled to come back. */
#define GRACE_MS	100

struct list {
	struct disk_io *first, **last;
};

struct disk_queue {
	struct disk *disk;
	const struct engine_ops *ops;
	struct engine *engine;
	/*
	 * Of its own: the system tells of pages that it could not write once per open file. Two queues that
	 * shared one would hear of it in one of two syncs, and the other one would answer that all is safe.
	 */
	int sync_fd;
	unsigned pending;	/* put and not done */
	unsigned begun;		/* the engine has them: with a sync of the queue's own */
	/*
	 * Of these, what changes the store. A filesystem that is frozen takes no change, for as long as it is, and answers all
	 * else: changes must not have all of the engine's room, or its threads.
	 */
	unsigned changing, changing_most;
	bool other_last;	/* changes and others have their turns */
	bool giving_up;		/* nothing is begun any more */
	bool due;		/* to be begun: put since the last turn, or the engine had no memory for it */
	struct list changes, others;	/* put, or left in part, and not begun */
	struct list ended;	/* to be told */
	/*
	 * A sync covers only what was written before it began. Who asks while one is under way needs
	 * one after it; all that ask meanwhile need no more than that one.
	 */
	struct disk_io sync;
	struct list syncing, to_sync;	/* who asked: for the one under way, for the next one */
};

static void append(struct list *list, struct disk_io *io)
{
	io->next = NULL;
	*list->last = io;
	list->last = &io->next;
}

static void empty(struct list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static struct disk_io *take(struct list *list)
{
	struct disk_io *io = list->first;

	if (io == NULL)
		return NULL;
	list->first = io->next;
	if (list->first == NULL)
		list->last = &list->first;
	return io;
}

static void end(struct disk_queue *queue, struct disk_io *io, int error)
{
	io->error = error;
	append(&queue->ended, io);
}

static int failed(const struct disk_queue *queue)
{
	return __atomic_load_n(&queue->disk->failed, __ATOMIC_ACQUIRE);
}

/* The first failure stays: the system tells of pages it could not write once, and forgets them. */
static void fail(struct disk_queue *queue, int error)
{
	int none = 0;

	__atomic_compare_exchange_n(&queue->disk->failed, &none, error, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

static void count_begun(struct disk_queue *queue)
{
	const unsigned now = __atomic_add_fetch(&queue->disk->inflight, 1, __ATOMIC_RELAXED);

	queue->begun++;
	/* Two threads at the same time may leave the smaller count: it is for people. */
	if (now > __atomic_load_n(&queue->disk->deepest, __ATOMIC_RELAXED))
		__atomic_store_n(&queue->disk->deepest, now, __ATOMIC_RELAXED);
}

static bool is_change(const struct disk_io *io)
{
	return io->op == DISK_WRITE || io->op == DISK_PUNCH;
}

static void wait_for_turn(struct disk_queue *queue, struct disk_io *io)
{
	append(is_change(io) ? &queue->changes : &queue->others, io);
}

/* Where the next one to begin is. NULL: none is to begin now. */
static struct list *next_list(struct disk_queue *queue)
{
	const bool change = queue->changes.first != NULL && queue->changing < queue->changing_most;

	if (queue->others.first != NULL && !(change && queue->other_last))
		return &queue->others;
	return change ? &queue->changes : NULL;
}

static void begin_waiting(struct disk_queue *queue)
{
	struct list *list;

	queue->due = false;
	while ((list = next_list(queue)) != NULL) {
		struct disk_io *io = list->first;
		/* The engine links it elsewhere. */
		struct disk_io *next = io->next;

		if (!queue->ops->begin(queue->engine, io))
			break;
		list->first = next;
		if (next == NULL)
			list->last = &list->first;
		queue->other_last = list == &queue->others;
		queue->changing += !queue->other_last;
		count_begun(queue);
	}
}

/* Begins the next one unless one is under way. */
static void begin_sync(struct disk_queue *queue)
{
	if (queue->syncing.first != NULL || queue->to_sync.first == NULL)
		return;
	queue->syncing.first = queue->to_sync.first;
	queue->syncing.last = queue->to_sync.last;
	empty(&queue->to_sync);
	queue->sync = (struct disk_io){ .op = DISK_SYNC, .queue = queue };
	wait_for_turn(queue, &queue->sync);
}

static void end_sync(struct disk_queue *queue, int error)
{
	struct disk_io *io;

	if (error != 0)
		fail(queue, error);
	/* Also when another queue's failed meanwhile. */
	error = failed(queue) != 0 ? EIO : 0;
	while ((io = take(&queue->syncing)) != NULL)
		end(queue, io, error);
	while (error != 0 && (io = take(&queue->to_sync)) != NULL)
		end(queue, io, error);
	begin_sync(queue);
}

/* All of a write is written. */
static void written(struct disk_queue *queue, struct disk_io *io)
{
	if (!io->durable || io->direct) {
		end(queue, io, 0);
	} else if (queue->giving_up || failed(queue) != 0) {
		end(queue, io, EIO);
	} else {
		append(&queue->to_sync, io);
		begin_sync(queue);
	}
}

/* An engine's answer. */
static void ended(struct disk_io *io, int result)
{
	struct disk_queue *queue = io->queue;

	__atomic_sub_fetch(&queue->disk->inflight, 1, __ATOMIC_RELAXED);
	queue->begun--;
	queue->changing -= is_change(io);
	if (queue->giving_up && (result == -ECANCELED || result == -EINTR || result == -EAGAIN)) {
		/* A sync's askers have been told. */
		if (io != &queue->sync)
			end(queue, io, EIO);
		return;
	}
	if ((result == -EINTR || result == -EAGAIN) && io->tries++ < TRIES) {
		wait_for_turn(queue, io);
		return;
	}
	if (io == &queue->sync) {
		end_sync(queue, result < 0 ? -result : 0);
		return;
	}
	if (result < 0) {
		/*
		 * Of a durable write past the page cache, the write or the sync: which is not told. Only what is found
		 * before anything is written leaves the writes before it as they were.
		 */
		if (io->durable && io->direct && result != -ENOSPC && result != -EINVAL && result != -EAGAIN &&
		    result != -EINTR)
			fail(queue, -result);
		end(queue, io, result == -EAGAIN || result == -EINTR ? EIO : -result);
		return;
	}
	if (io->op == DISK_PUNCH) {
		end(queue, io, 0);
		return;
	}
	io->moved += (uint32_t)result;
	if (io->moved == io->length) {
		if (io->op == DISK_WRITE)
			written(queue, io);
		else
			end(queue, io, 0);
		return;
	}
	/* The end of the store; past the page cache, also one within a block: the rest could not begin there. */
	if (result == 0 || (io->direct && (uint32_t)result % queue->disk->block != 0)) {
		end(queue, io, EIO);
		return;
	}
	/* In part, as when a file system is full: the rest has the error, if there is one. */
	if (queue->giving_up)
		end(queue, io, EIO);
	else
		wait_for_turn(queue, io);
}

/* The same file as `fd`, opened once more. */
static int reopen(int fd)
{
	char path[sizeof("/proc/self/fd/") + 3 * sizeof(fd)];
	const int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, (flags & O_ACCMODE) | O_CLOEXEC);
}

/*
 * A ring as large as a queue's is refused where the one that disk_open tried was not: since Linux 6.14 rings
 * count against RLIMIT_MEMLOCK.
 */
static bool open_engine(struct disk_queue *queue, struct disk *disk, const struct disk_queue_options *options)
{
	const enum disk_engine engine = __atomic_load_n(&disk->engine, __ATOMIC_RELAXED);

	queue->ops = engine == DISK_RING ? &ring_engine : &pool_engine;
	queue->engine = queue->ops->open(disk, queue->sync_fd, options, ended);
	if (queue->engine == NULL && engine == DISK_RING && !disk->only_ring) {
		disk_use_pool(disk, errno);
		queue->ops = &pool_engine;
		queue->engine = queue->ops->open(disk, queue->sync_fd, options, ended);
	}
	return queue->engine != NULL;
}

struct disk_queue *disk_queue_open(struct disk *disk, const struct disk_queue_options *options)
{
	struct disk_queue *queue = calloc(1, sizeof(*queue));
	int cause;

	if (queue == NULL)
		return NULL;
	queue->sync_fd = reopen(disk->cached);
	if (queue->sync_fd < 0 || !open_engine(queue, disk, options))
		goto fail;
	queue->changing_most = queue->ops->changes(options);
	queue->disk = disk_ref(disk);
	empty(&queue->changes);
	empty(&queue->others);
	empty(&queue->ended);
	empty(&queue->syncing);
	empty(&queue->to_sync);
	return queue;
fail:
	cause = errno;
	if (queue->sync_fd >= 0)
		close(queue->sync_fd);
	free(queue);
	errno = cause;
	return NULL;
}

void disk_queue_put(struct disk_queue *queue, struct disk_io *io)
{
	io->queue = queue;
	io->moved = io->tries = 0;
	queue->pending++;
	queue->due = true;
	if (queue->giving_up || (io->op != DISK_READ && failed(queue) != 0)) {
		end(queue, io, EIO);
	} else if (io->op == DISK_SYNC) {
		append(&queue->to_sync, io);
		begin_sync(queue);
	} else if (io->op == DISK_WRITE && !disk_holds(queue->disk, io->offset, io->length)) {
		/*
		 * Nothing is written past the end of a regular file: it would come back between its new end and the
		 * write as zeros, which decrypt to garbage. One that is cut off after this look is extended all the same.
		 */
		end(queue, io, EIO);
	} else {
		wait_for_turn(queue, io);
	}
}

/* What is told may put more, and what of that has ended at once is for the next turn. */
static void tell(struct disk_queue *queue)
{
	struct disk_io *io = queue->ended.first;

	empty(&queue->ended);
	while (io != NULL) {
		struct disk_io *next = io->next;

		queue->pending--;
		io->done(io);
		io = next;
	}
}

bool disk_queue_turn(struct disk_queue *queue, bool wait)
{
	begin_waiting(queue);
	queue->ops->turn(queue->engine, wait && queue->ended.first == NULL);
	tell(queue);
	begin_waiting(queue);
	/* Who waits in the next turn submits there, by the same system call. */
	if (!wait && !queue->ops->submit(queue->engine))
		queue->due = true;
	return disk_queue_due(queue);
}

bool disk_queue_due(const struct disk_queue *queue)
{
	return queue->due || queue->ended.first != NULL;
}

int disk_queue_fd(const struct disk_queue *queue)
{
	return queue->ops->fd(queue->engine);
}

bool disk_queue_watch(const struct disk_queue *queue, int64_t ns)
{
	return queue->pending == 1 && queue->begun == 1 && queue->ops->watch != NULL &&
	       queue->ops->watch(queue->engine, ns);
}

unsigned disk_queue_pending(const struct disk_queue *queue)
{
	return queue->pending;
}

/* Turns until nothing is pending or under way, for `ms` at most. */
static bool drained(struct disk_queue *queue, int ms)
{
	const int64_t until = monotonic_ms() + ms;

	for (;;) {
		struct pollfd event = { .fd = disk_queue_fd(queue), .events = POLLIN };
		const bool due = disk_queue_turn(queue, false);
		const int64_t left = until - monotonic_ms();

		if (queue->pending == 0 && queue->begun == 0)
			return true;
		if (left <= 0)
			return false;
		if (!due)
			poll(&event, 1, (int)left);
	}
}

/* Ends with EIO what the device does not hold: what was not begun, and those whose memory only waits for a sync. */
static void give_up(struct disk_queue *queue)
{
	struct list *lists[] = { &queue->changes, &queue->others, &queue->syncing, &queue->to_sync };
	struct disk_io *io;

	queue->giving_up = true;
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		while ((io = take(lists[i])) != NULL)
			if (io != &queue->sync)
				end(queue, io, EIO);
	queue->ops->cancel(queue->engine);
}

bool disk_queue_close(struct disk_queue *queue, int ms)
{
	if (!drained(queue, ms)) {
		give_up(queue);
		if (!drained(queue, GRACE_MS)) {
			__atomic_add_fetch(&queue->disk->stranded, queue->begun, __ATOMIC_RELAXED);
			return false;
		}
	}
	queue->ops->close(queue->engine);
	close(queue->sync_fd);
	disk_unref(queue->disk);
	free(queue);
	return true;
}

struct uring *disk_queue_ring(struct disk_queue *queue)
{
	return queue->ops == &ring_engine ? ring_engine_ring(queue->engine) : NULL;
}

struct io_uring_sqe *disk_queue_sqe(struct disk_queue *queue)
{
	return ring_engine_sqe(queue->engine);
}

void disk_queue_listen(struct disk_queue *queue, void (*completed)(void *context, uint64_t user_data, int32_t result),
		       void *context)
{
	ring_engine_listen(queue->engine, completed, context);
}
