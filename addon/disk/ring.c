/* SPDX-License-Identifier: Apache-2.0 */
/* A queue by io_uring: nothing of it waits but the turn that is asked to. */
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "addon/disk/engine.h"

/* Workers of the kernel's for what cannot be done asynchronously: syncs, punched holes, writes through the page cache. */
#define WORKERS	4u

/* Indexes of the registered files. */
enum { CACHED_FILE, DIRECT_FILE };

struct engine {
	struct uring ring;
	struct disk *disk;
	uint8_t *memory;	/* registered, or NULL */
	size_t memory_size;
	bool files;		/* registered */
	unsigned inflight;	/* not of `other` */
	unsigned room;
	void (*ended)(struct disk_io *io, int result);
	void (*other)(void *context, uint64_t user_data, int32_t result);
	void *context;
};

static struct engine *ring_open(struct disk *disk, const struct disk_queue_options *options,
				void (*ended)(struct disk_io *io, int result))
{
	struct engine *engine = calloc(1, sizeof(*engine));
	const int files[] = { disk->cached, disk->direct >= 0 ? disk->direct : disk->cached };
	const struct iovec memory = { options->memory, options->memory_size };
	unsigned workers[2] = { WORKERS, WORKERS };
	int error;

	if (engine == NULL)
		return NULL;
	error = uring_open(&engine->ring, options->entries, options->wide);
	if (error != 0) {
		free(engine);
		errno = -error;
		return NULL;
	}
	engine->disk = disk;
	engine->ended = ended;
	engine->room = options->entries;
	/* Each saves work in every request, none is needed: RLIMIT_MEMLOCK may refuse the memory. */
	engine->files = uring_register(&engine->ring, IORING_REGISTER_FILES, files, 2) == 0;
	if (options->memory != NULL && uring_register(&engine->ring, IORING_REGISTER_BUFFERS, &memory, 1) == 0) {
		engine->memory = options->memory;
		engine->memory_size = options->memory_size;
	}
	uring_register(&engine->ring, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2);
	return engine;
}

static bool registered(const struct engine *engine, const uint8_t *memory, size_t length)
{
	return engine->memory != NULL && memory >= engine->memory &&
	       memory + length <= engine->memory + engine->memory_size;
}

static void reap(struct engine *engine)
{
	const struct io_uring_cqe *end;

	while ((end = uring_peek(&engine->ring)) != NULL) {
		const uint64_t user_data = end->user_data;
		const int32_t result = end->res;

		uring_seen(&engine->ring);
		if (user_data & 1) {
			engine->other(engine->context, user_data, result);
			continue;
		}
		engine->inflight--;
		engine->ended((struct disk_io *)(uintptr_t)user_data, result);
	}
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
	const bool file = io->direct;
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
	entry->flags = engine->files ? IOSQE_FIXED_FILE : 0;
	entry->fd = engine->files ? (file ? DIRECT_FILE : CACHED_FILE) :
				    (file ? engine->disk->direct : engine->disk->cached);
	entry->off = io->offset + io->moved;
	switch (io->op) {
	case DISK_READ:
	case DISK_WRITE:
		fixed = registered(engine, memory, length);
		entry->opcode = io->op == DISK_READ ? (fixed ? IORING_OP_READ_FIXED : IORING_OP_READ) :
						      (fixed ? IORING_OP_WRITE_FIXED : IORING_OP_WRITE);
		entry->addr = (uintptr_t)memory;
		entry->len = length;
		entry->rw_flags = io->op == DISK_WRITE && io->durable ? RWF_DSYNC : 0;
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

/* EINTR: told again by the next turn. EAGAIN, EBUSY: the kernel wants us to reap first; what it left stays queued. */
static void ring_turn(struct engine *engine, bool wait)
{
	const bool there = uring_peek(&engine->ring) != NULL;

	uring_enter(&engine->ring, wait && !there ? 1 : 0);
	reap(engine);
}

static int ring_fd(const struct engine *engine)
{
	return engine->ring.fd;
}

static void ring_close(struct engine *engine)
{
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
	.begin = ring_begin,
	.turn = ring_turn,
	.fd = ring_fd,
	.close = ring_close,
};
