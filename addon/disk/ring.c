/* SPDX-License-Identifier: Apache-2.0 */
/* A queue by io_uring: nothing of it waits but the turn that is asked to. */
#include <errno.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "addon/disk/engine.h"
#include "addon/monotonic.h"

/*
 * Workers of the kernel's for what cannot be done asynchronously: syncs, punched holes, writes through the page cache, and
 * as many for what a frozen filesystem does not take, each of which has one.
 */
#define WORKERS	4u

/*
 * So many milliseconds in a row the kernel may take nothing, with nothing under way, before what it was offered ends
 * with EIO: a shortage passes, or does not.
 */
#define RESTS	2000u

/* Indexes of the registered files. */
enum { CACHED_FILE, DIRECT_FILE, SYNC_FILE, FILES };

struct engine {
	struct uring ring;
	uint8_t *memory;	/* registered, or NULL */
	size_t memory_size;
	int files[FILES];
	bool registered;	/* the files */
	uint8_t flags;		/* IOSQE_ of each request */
	unsigned inflight;	/* not of `other` */
	unsigned room;
	unsigned rests;		/* since the kernel last took something, or something ended */
	bool cancelled;
	void (*ended)(struct disk_io *io, int result);
	void (*other)(void *context, uint64_t user_data, int32_t result);
	void *context;
};

/* All but a quarter of the room. */
static unsigned ring_changes(const struct disk_queue_options *options)
{
	return options->entries - options->entries / 4;
}

static struct engine *ring_open(struct disk *disk, int sync, const struct disk_queue_options *options,
				void (*ended)(struct disk_io *io, int result))
{
	struct engine *engine = calloc(1, sizeof(*engine));
	const struct iovec memory = { options->memory, options->memory_size };
	unsigned workers[2] = { ring_changes(options) + WORKERS, WORKERS };
	int error;

	if (engine == NULL)
		return NULL;
	error = uring_open(&engine->ring, options->entries, options->wide);
	if (error != 0) {
		free(engine);
		errno = -error;
		return NULL;
	}
	engine->files[CACHED_FILE] = disk->cached;
	engine->files[DIRECT_FILE] = disk->direct >= 0 ? disk->direct : disk->cached;
	engine->files[SYNC_FILE] = sync;
	engine->ended = ended;
	engine->room = options->entries;
	/* Each saves work in every request, none is needed: RLIMIT_MEMLOCK may refuse the memory. */
	engine->registered = uring_register(&engine->ring, IORING_REGISTER_FILES, engine->files, FILES) == 0;
	engine->flags = (engine->registered ? IOSQE_FIXED_FILE : 0) | (disk->waits ? IOSQE_ASYNC : 0);
	if (options->memory != NULL && uring_register(&engine->ring, IORING_REGISTER_BUFFERS, &memory, 1) == 0) {
		engine->memory = options->memory;
		engine->memory_size = options->memory_size;
	}
	uring_register(&engine->ring, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2);
	return engine;
}

static bool in_registered(const struct engine *engine, const uint8_t *memory, size_t length)
{
	return engine->memory != NULL && memory >= engine->memory &&
	       memory + length <= engine->memory + engine->memory_size;
}

static void tell(struct engine *engine, uint64_t user_data, int32_t result)
{
	if (user_data & 1) {
		engine->other(engine->context, user_data, result);
		return;
	}
	engine->inflight--;
	engine->ended((struct disk_io *)(uintptr_t)user_data, result);
}

static void reap(struct engine *engine)
{
	const struct io_uring_cqe *end;

	while ((end = uring_peek(&engine->ring)) != NULL) {
		const uint64_t user_data = end->user_data;
		const int32_t result = end->res;

		uring_seen(&engine->ring);
		engine->rests = 0;
		tell(engine, user_data, result);
	}
}

/* What the kernel has not taken, and will not. */
static void drop(struct engine *engine, int32_t result)
{
	uint64_t user_data;

	engine->rests = 0;
	while (uring_take_back(&engine->ring, &user_data))
		tell(engine, user_data, result);
}

struct io_uring_sqe *ring_engine_sqe(struct engine *engine)
{
	struct io_uring_sqe *entry = uring_sqe(&engine->ring);

	if (entry == NULL && uring_enter(&engine->ring, 0) == 0)
		entry = uring_sqe(&engine->ring);
	return entry;
}

static bool ring_begin(struct engine *engine, struct disk_io *io)
{
	const int file = io->op == DISK_SYNC ? SYNC_FILE : io->direct ? DIRECT_FILE : CACHED_FILE;
	uint8_t *memory = io->memory + io->moved;
	const uint32_t length = io->length - io->moved;
	struct io_uring_sqe *entry;
	bool fixed;

	if (engine->inflight >= engine->room)
		return false;
	entry = ring_engine_sqe(engine);
	if (entry == NULL)
		return false;
	entry->user_data = (uintptr_t)io;
	entry->flags = engine->flags;
	entry->fd = engine->registered ? file : engine->files[file];
	entry->off = io->offset + io->moved;
	switch (io->op) {
	case DISK_READ:
	case DISK_WRITE:
		fixed = in_registered(engine, memory, length);
		entry->opcode = io->op == DISK_READ ? (fixed ? IORING_OP_READ_FIXED : IORING_OP_READ) :
						      (fixed ? IORING_OP_WRITE_FIXED : IORING_OP_WRITE);
		entry->addr = (uintptr_t)memory;
		entry->len = length;
		entry->rw_flags = io->op == DISK_WRITE && io->durable && io->direct ? RWF_DSYNC : 0;
		break;
	case DISK_SYNC:
		entry->opcode = IORING_OP_FSYNC;
		entry->off = 0;
		entry->fsync_flags = IORING_FSYNC_DATASYNC;
		break;
	case DISK_PUNCH:
		entry->opcode = IORING_OP_FALLOCATE;
		entry->len = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
		entry->addr = length;
		break;
	}
	engine->inflight++;
	return true;
}

/* Sleeps for a completion, a millisecond at most: the kernel may have memory for the next request then. */
static void rest(struct engine *engine)
{
	struct pollfd ring = { .fd = engine->ring.fd, .events = POLLIN };

	engine->rests++;
	poll(&ring, 1, 1);
}

/* EAGAIN, EBUSY: the kernel wants us to reap first; what it left stays queued. */
static bool passes(int error)
{
	return error == 0 || error == -EINTR || error == -EAGAIN || error == -EBUSY;
}

static void ring_turn(struct engine *engine, bool wait)
{
	const bool there = uring_peek(&engine->ring) != NULL;
	const int error = uring_enter(&engine->ring, wait && !there ? 1 : 0);

	if (!passes(error) || engine->rests >= RESTS)
		drop(engine, -EIO);
	else if (engine->cancelled)
		drop(engine, -ECANCELED);
	else if (wait && (error == -EAGAIN || error == -EBUSY) && uring_peek(&engine->ring) == NULL)
		rest(engine);
	reap(engine);
}

static bool ring_submit(struct engine *engine)
{
	unsigned left = uring_unsubmitted(&engine->ring);

	/* The kernel stops at an entry that it cannot take, and goes on when it is called again. */
	while (left > 0) {
		const int error = uring_enter(&engine->ring, 0);
		const unsigned before = left;

		left = uring_unsubmitted(&engine->ring);
		if (left < before)
			engine->rests = 0;
		if (left < before || error == -EINTR)
			continue;
		/* The next turn drops it. */
		if (!passes(error))
			return false;
		/* What has ended, or is under way and will, makes the descriptor readable. */
		if (uring_peek(&engine->ring) != NULL || engine->inflight > left)
			return true;
		rest(engine);
		return false;
	}
	return true;
}

/* Block devices give back nothing that they hold; what waits for a worker of the kernel's, or for a network, ends. */
static void ring_cancel(struct engine *engine)
{
	engine->cancelled = true;
	for (int file = 0; file < FILES; file++) {
		struct io_uring_sync_cancel_reg what = {
			.fd = engine->registered ? file : engine->files[file],
			.flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL |
				 (engine->registered ? IORING_ASYNC_CANCEL_FD_FIXED : 0),
		};

		uring_register(&engine->ring, IORING_REGISTER_SYNC_CANCEL, &what, 1);
	}
}

static bool ring_watch(const struct engine *engine, int64_t ns)
{
	const int64_t until = monotonic_ns() + ns;

	/* The kernel shows it when an interrupt has ended, which it does on this thread's way back from it. */
	while (uring_peek(&engine->ring) == NULL) {
		if (monotonic_ns() >= until)
			return false;
		__builtin_ia32_pause();
	}
	return true;
}

static int ring_fd(const struct engine *engine)
{
	return engine->ring.fd;
}

static void ring_close(struct engine *engine)
{
	/* The kernel ends a ring some time after its close; the files' locks are to be free at once. */
	if (engine->registered)
		uring_register(&engine->ring, IORING_UNREGISTER_FILES, NULL, 0);
	if (engine->memory != NULL)
		uring_register(&engine->ring, IORING_UNREGISTER_BUFFERS, NULL, 0);
	uring_close(&engine->ring);
	free(engine);
}

struct uring *ring_engine_ring(struct engine *engine)
{
	return &engine->ring;
}

void ring_engine_listen(struct engine *engine, void (*completed)(void *context, uint64_t user_data, int32_t result),
			void *context)
{
	engine->other = completed;
	engine->context = context;
}

const struct engine_ops ring_engine = {
	.open = ring_open,
	.changes = ring_changes,
	.begin = ring_begin,
	.turn = ring_turn,
	.submit = ring_submit,
	.fd = ring_fd,
	.watch = ring_watch,
	.cancel = ring_cancel,
	.close = ring_close,
};
