/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/ublk/request.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "addon/disk/arena.h"

static void put(struct ublk_tag *tag)
{
	tag->queue->under_way++;
	plain_queue_put(tag->queue->plain, &tag->io);
}

/* Of one that has ended. */
static struct ublk_tag *take_back(struct plain_io *io)
{
	struct ublk_tag *tag = (struct ublk_tag *)(void *)((char *)io - offsetof(struct ublk_tag, io));

	tag->queue->under_way--;
	return tag;
}

static void flushed(struct plain_io *io)
{
	struct ublk_tag *tag = take_back(io);

	if (io->error == 0)
		counter_add(&tag->queue->counters.flushes, 1);
	ublk_tag_answer(tag, -io->error);
}

static void read_done(struct plain_io *io)
{
	struct ublk_tag *tag = take_back(io);

	if (io->error == ENOKEY) {
		ublk_tag_park(tag);
	} else if (io->error != 0 || !ublk_tag_copy(tag, false)) {
		ublk_tag_answer(tag, io->error == 0 ? -EIO : -io->error);
	} else {
		counter_add(&tag->queue->counters.reads, 1);
		counter_add(&tag->queue->counters.bytes_read, tag->length);
		ublk_tag_answer(tag, (int32_t)tag->length);
	}
}

static void written(struct plain_io *io)
{
	struct ublk_tag *tag = take_back(io);

	/* What an enclave left half encrypted is read from the kernel again; a refusal comes again, and is told. */
	if (io->error == ENOKEY || (io->error == EIO && !io->encrypted && !tag->lost)) {
		tag->lost = io->error == EIO;
		ublk_tag_park(tag);
	} else if (io->error != 0) {
		ublk_tag_answer(tag, -io->error);
	} else {
		counter_add(&tag->queue->counters.writes, 1);
		counter_add(&tag->queue->counters.bytes_written, tag->length);
		ublk_tag_answer(tag, (int32_t)tag->length);
	}
}

static void punched(struct plain_io *io)
{
	struct ublk_tag *tag = take_back(io);

	if (io->quiet) {
		ublk_tag_park(tag);
		return;
	}
	/* A file system without holes keeps its blocks. */
	if (io->error != 0 && io->error != EOPNOTSUPP) {
		ublk_tag_answer(tag, -io->error);
		return;
	}
	counter_add(&tag->queue->counters.discards, 1);
	ublk_tag_answer(tag, 0);
}

/* Whole blocks of the store, so that every device takes it; what is left at the edges is kept. */
static void discard(struct ublk_tag *tag, uint64_t offset, uint64_t length)
{
	const struct plain_volume *volume = tag->queue->site->volume;
	const uint64_t size = __atomic_load_n(&volume->size, __ATOMIC_RELAXED);
	const uint64_t start = (volume->offset + offset + ARENA_PAGE - 1) / ARENA_PAGE * ARENA_PAGE;
	const uint64_t end = (volume->offset + offset + length) / ARENA_PAGE * ARENA_PAGE;

	if (!tag->queue->site->discards || volume->read_only) {
		ublk_tag_answer(tag, -EOPNOTSUPP);
	} else if (offset > size || length > size - offset) {
		ublk_tag_answer(tag, -EINVAL);
	} else if (start >= end) {
		ublk_tag_answer(tag, 0);
	} else {
		tag->io = (struct plain_io){ .op = PLAIN_PUNCH,
					     .offset = start - volume->offset,
					     .length = (uint32_t)(end - start),
					     .done = punched };
		put(tag);
	}
}

/* False: it waits for memory. */
static bool transfer(struct ublk_tag *tag, uint32_t operation, uint32_t flags, uint64_t offset, uint64_t length)
{
	struct ublk_queue *queue = tag->queue;
	const enum ublk_mode mode = ublk_mode_of(queue);

	if (length == 0 || length > UBLK_REQUEST_SIZE) {
		ublk_tag_answer(tag, -EINVAL);
		return true;
	}
	if (mode == UBLK_HOLD) {
		ublk_tag_leave(tag);
		return true;
	}
	if (mode == UBLK_FAIL) {
		ublk_tag_answer(tag, -EIO);
		return true;
	}
	tag->length = (uint32_t)length;
	tag->memory = arena_take(&queue->arena, tag->length);
	if (tag->memory == NULL)
		return false;
	if (operation == UBLK_OP_WRITE_ZEROES)
		memset(tag->memory, 0, tag->length);
	else if (operation == UBLK_OP_WRITE && !ublk_tag_copy(tag, true)) {
		ublk_tag_answer(tag, -EIO);
		return true;
	}
	tag->io = (struct plain_io){
		.op = operation == UBLK_OP_READ ? PLAIN_READ : PLAIN_WRITE,
		.fua = flags & UBLK_OP_FUA,
		.offset = offset,
		.length = tag->length,
		.ciphertext = tag->memory,
		.done = operation == UBLK_OP_READ ? read_done : written,
	};
	put(tag);
	return true;
}

bool ublk_request_begin(struct ublk_tag *tag)
{
	const struct ublk_descriptor *asked = &tag->queue->descriptors[tag->number];
	const uint32_t operation = asked->op_flags & UBLK_OP_MASK;
	const uint64_t offset = asked->start_sector * 512, length = (uint64_t)asked->nr_sectors * 512;

	if (ublk_mode_of(tag->queue) == UBLK_DRAIN) {
		ublk_tag_leave(tag);
		return true;
	}
	switch (operation) {
	case UBLK_OP_READ:
	case UBLK_OP_WRITE:
	case UBLK_OP_WRITE_ZEROES:
		return transfer(tag, operation, asked->op_flags, offset, length);
	case UBLK_OP_FLUSH:
		tag->io = (struct plain_io){ .op = PLAIN_FLUSH, .done = flushed };
		put(tag);
		return true;
	case UBLK_OP_DISCARD:
		discard(tag, offset, length);
		return true;
	default:
		ublk_tag_answer(tag, -EOPNOTSUPP);
		return true;
	}
}
