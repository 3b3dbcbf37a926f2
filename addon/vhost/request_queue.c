/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/vhost/request_queue.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "addon/disk/arena.h"
#include "addon/disk/lanes.h"
#include "addon/io/huge.h"

/* Parts under way at one time. */
#define ENTRIES		256u
#define ARENA_SIZE	(4u << 20)

/*
 * What a lane is asked for, once this thread itself has as much as BUSY: to wake another thread takes as long as half
 * of that.
 */
#define LANE_LEAST	(64u * 1024u)
#define BUSY		(128u * 1024u)

/* As much of a request as one piece of the arena takes, or a flush. */
struct part {
	struct lane_io lane;	/* its `lane` is NULL while this thread's own queue has it */
	struct request_queue *queue;
	struct request_io *whole;
	uint8_t *ciphertext;	/* the arena's, or NULL */
	uint8_t *plaintext;	/* the arena's: of a write that the enclave does not take from the guest's memory */
	uint32_t length;
	bool give;		/* a read, decrypted in its place */
	struct request_cursor cursor;
	struct iovec pieces[PLAIN_PIECES];
	struct part *next;	/* unused */
};

struct request_queue {
	struct request_queue_options options;
	struct plain_queue *io;
	struct lanes *lanes;	/* one; NULL: not needed yet, or there is none to be had */
	bool no_lane;		/* there is none to be had */
	uint64_t own_bytes, lane_bytes;	/* under way, of reads and writes */
	uint8_t *memory;
	struct arena arena;
	struct part *parts, *unused;
	bool abandoned;
	bool ended;		/* a part, in this turn */
};

static uint8_t zeros[ARENA_PIECE] __attribute__((aligned(ARENA_PAGE)));

/* ---- parts ---- */

static void give_back(struct request_queue *queue, uint8_t *memory, uint32_t length)
{
	if (memory != NULL)
		arena_give(&queue->arena, memory, length);
}

static void end_part(struct part *part, int error)
{
	struct request_queue *queue = part->queue;
	struct request_io *whole = part->whole;

	if (part->give)
		explicit_bzero(part->ciphertext, part->length);
	if (part->plaintext != NULL)
		explicit_bzero(part->plaintext, part->length);
	give_back(queue, part->ciphertext, part->length);
	give_back(queue, part->plaintext, part->length);
	*(part->lane.lane == NULL ? &queue->own_bytes : &queue->lane_bytes) -= part->length;
	part->next = queue->unused;
	queue->unused = part;
	queue->ended = true;
	if (error == ENOKEY) {
		whole->keyless = true;
		whole->quiet = whole->quiet && part->lane.io.quiet;
	} else if (error != 0)
		whole->request.outcome = VIRTIO_BLK_S_IOERR;
	if (--whole->under_way == 0)
		queue->options.ended(queue->options.context, whole);
}

static void io_done(struct plain_io *io)
{
	struct part *part = (struct part *)(void *)((char *)io - offsetof(struct part, lane.io));

	if (io->error == 0 && part->give && !part->queue->abandoned)
		request_give(&part->whole->request, &part->cursor, part->ciphertext, part->length);
	end_part(part, io->error);
}

static struct part *new_part(struct request_queue *queue, struct request_io *whole)
{
	struct part *part = queue->unused;

	if (part == NULL)
		return NULL;
	queue->unused = part->next;
	part->whole = whole;
	part->ciphertext = part->plaintext = NULL;
	part->length = 0;
	part->give = false;
	part->lane = (struct lane_io){ .io = { .pieces = part->pieces, .done = io_done } };
	whole->under_way++;
	return part;
}

static void undo_part(struct part *part)
{
	struct request_queue *queue = part->queue;

	give_back(queue, part->ciphertext, part->length);
	part->whole->under_way--;
	part->next = queue->unused;
	queue->unused = part;
}

/* ---- which thread moves it ---- */

/* Opened for the first part that it helps with. */
static bool has_lane(struct request_queue *queue)
{
	const struct disk_queue_options options = {
		.entries = ENTRIES,
		.memory = queue->memory,
		.memory_size = ARENA_SIZE,
	};

	if (queue->lanes == NULL && !queue->no_lane) {
		queue->lanes = lanes_open(queue->options.volume, &options, 1, LANES_WRITE);
		queue->no_lane = queue->lanes == NULL;
	}
	return queue->lanes != NULL;
}

/* There is work for two threads, and a processor that no vring's thread needs. */
static bool is_for_lane(struct request_queue *queue, const struct part *part)
{
	return part->length >= LANE_LEAST && queue->own_bytes >= BUSY && queue->lane_bytes < queue->own_bytes &&
	       __atomic_load_n(queue->options.running, __ATOMIC_RELAXED) < queue->options.processors && has_lane(queue);
}

static void put(struct part *part)
{
	struct request_queue *queue = part->queue;

	if (is_for_lane(queue, part)) {
		queue->lane_bytes += part->length;
		lanes_put(queue->lanes, &part->lane);
		return;
	}
	queue->own_bytes += part->length;
	plain_queue_put(queue->io, &part->lane.io);
}

static void end_lane_ios(struct lane_io *lane)
{
	while (lane != NULL) {
		struct lane_io *next = lane->next;

		io_done(&lane->io);
		lane = next;
	}
}

/* ---- where the enclave finds, or puts, the plaintext ---- */

/* Whole sectors of the guest's memory, as many as there are in place. False: the next one is not. */
static bool place_in_guest(struct part *part, uint32_t most)
{
	const struct request_queue *queue = part->queue;
	struct request_io *whole = part->whole;
	uint32_t length;

	if (!regions_sealed(queue->options.regions))
		return false;
	length = request_whole(&whole->request, &whole->cursor, queue->options.volume->sector_size, most, part->pieces,
			       &part->lane.io.count, PLAIN_PIECES);
	if (length > 0)
		part->length = length;
	return length > 0;
}

/* A read ends in the place of its ciphertext, and is copied to the guest from there. */
static void place_read(struct part *part)
{
	struct request_io *whole = part->whole;

	part->lane.io.pieces = NULL;
	part->give = true;
	/* `give` does so once more, from the part's own. */
	for (uint32_t left = part->length; left > 0;) {
		const size_t rest = whole->request.pieces[whole->cursor.piece].iov_len - whole->cursor.offset;

		if (rest > left) {
			whole->cursor.offset += left;
			break;
		}
		left -= (uint32_t)rest;
		whole->cursor = (struct request_cursor){ .piece = whole->cursor.piece + 1 };
	}
}

static bool place_write(struct part *part)
{
	struct request_io *whole = part->whole;

	part->plaintext = arena_take(&part->queue->arena, part->length);
	if (part->plaintext == NULL)
		return false;
	request_take(&whole->request, &whole->cursor, part->plaintext, part->length);
	part->pieces[0] = (struct iovec){ part->plaintext, part->length };
	part->lane.io.count = 1;
	return true;
}

/* Of at most `most` bytes. False: no room now. */
static bool place(struct part *part, uint32_t most)
{
	struct request_io *whole = part->whole;
	const bool zero = whole->request.type == REQUEST_ZERO;
	bool in_guest;

	part->length = most;
	part->cursor = whole->cursor;
	in_guest = !zero && place_in_guest(part, most);
	part->ciphertext = arena_take(&part->queue->arena, part->length);
	if (part->ciphertext == NULL) {
		whole->cursor = part->cursor;
		return false;
	}
	if (in_guest)
		return true;
	if (zero) {
		part->pieces[0] = (struct iovec){ zeros, most };
		part->lane.io.count = 1;
		return true;
	}
	if (whole->request.type == REQUEST_WRITE)
		return place_write(part);
	place_read(part);
	return true;
}

/* ---- requests ---- */

/* The next part of the request's segment. False: no room now. */
static bool begin_sectors(struct request_queue *queue, struct request_io *whole, const struct request_segment *segment)
{
	const uint64_t left = segment->length - whole->begun;
	struct part *part = new_part(queue, whole);

	if (part == NULL)
		return false;
	if (!place(part, left < ARENA_PIECE ? (uint32_t)left : ARENA_PIECE)) {
		undo_part(part);
		return false;
	}
	part->lane.io.op = whole->request.type == REQUEST_READ ? PLAIN_READ : PLAIN_WRITE;
	part->lane.io.offset = segment->offset + whole->begun;
	part->lane.io.length = part->length;
	part->lane.io.ciphertext = part->ciphertext;
	whole->begun += part->length;
	put(part);
	return true;
}

/* Whole sectors of the volume's, inside the segment; what they are read as afterwards is undefined. */
static bool begin_discard(struct request_queue *queue, struct request_io *whole, const struct request_segment *segment)
{
	const uint64_t sector = queue->options.volume->sector_size;
	const uint64_t start = (segment->offset + sector - 1) / sector * sector;
	const uint64_t end = (segment->offset + segment->length) / sector * sector;
	struct part *part;

	if (start < end) {
		part = new_part(queue, whole);
		if (part == NULL)
			return false;
		part->lane.io.op = PLAIN_PUNCH;
		part->lane.io.offset = start;
		part->lane.io.length = (uint32_t)(end - start);
		put(part);
	}
	whole->begun = segment->length;
	return true;
}

static bool begin_flush(struct request_queue *queue, struct request_io *whole)
{
	struct part *part = new_part(queue, whole);

	if (part == NULL)
		return false;
	part->lane.io.op = PLAIN_FLUSH;
	put(part);
	return true;
}

static void give_id(const struct request_queue *queue, const struct request *request)
{
	struct request_cursor cursor = { 0 };
	uint64_t room = 0;

	for (uint32_t i = 0; i < request->piece_count; i++)
		room += request->pieces[i].iov_len;
	request_give(request, &cursor, queue->options.id, room < REQUEST_ID_SIZE ? room : REQUEST_ID_SIZE);
}

void request_io_reset(struct request_io *io)
{
	io->segment = 0;
	io->begun = 0;
	io->cursor = (struct request_cursor){ 0 };
	io->keyless = false;
	io->quiet = true;
}

bool request_queue_begin(struct request_queue *queue, struct request_io *io)
{
	const struct request *request = &io->request;

	if (request->outcome != VIRTIO_BLK_S_OK || io->keyless)
		return true;
	if (request->type == REQUEST_ID)
		give_id(queue, request);
	if (request->type == REQUEST_FLUSH)
		return queue->options.volume->read_only || begin_flush(queue, io);
	for (; io->segment < request->segment_count; io->segment++, io->begun = 0) {
		const struct request_segment *segment = &request->segments[io->segment];

		while (io->begun < segment->length)
			if (!(request->type == REQUEST_DISCARD ? begin_discard(queue, io, segment) :
								 begin_sectors(queue, io, segment)))
				return false;
	}
	return true;
}

void request_queue_abandon(struct request_queue *queue)
{
	queue->abandoned = true;
}

bool request_queue_turn(struct request_queue *queue, bool *room)
{
	bool due;

	queue->ended = false;
	if (queue->lanes != NULL)
		lanes_go(queue->lanes);
	due = plain_queue_turn(queue->io, false);
	if (queue->lanes != NULL)
		end_lane_ios(lanes_take(queue->lanes));
	*room = queue->ended;
	return due;
}

int request_queue_fd(const struct request_queue *queue)
{
	return disk_queue_fd(plain_queue_disk(queue->io));
}

int request_queue_lane_fd(const struct request_queue *queue)
{
	return queue->lanes == NULL ? -1 : lanes_fd(queue->lanes);
}

/* ---- life ---- */

static void release(struct request_queue *queue)
{
	arena_close(&queue->arena);
	if (queue->memory != NULL)
		munmap(queue->memory, ARENA_SIZE);
	free(queue->parts);
	free(queue);
}

static bool set_up(struct request_queue *queue)
{
	struct disk_queue_options options = { .entries = ENTRIES, .memory_size = ARENA_SIZE };
	uint8_t *memory = huge_map(0, ARENA_SIZE);

	if (memory == NULL)
		return false;
	queue->memory = memory;
	/* Plaintext in flight: not in swap where the limit of locked memory allows it. */
	madvise(memory, ARENA_SIZE, MADV_DONTFORK);
	mlock2(memory, ARENA_SIZE, MLOCK_ONFAULT);
	queue->parts = calloc(ENTRIES, sizeof(*queue->parts));
	if (queue->parts == NULL || !arena_open(&queue->arena, memory, ARENA_SIZE))
		return false;
	for (uint32_t i = 0; i < ENTRIES; i++) {
		queue->parts[i].queue = queue;
		queue->parts[i].next = queue->unused;
		queue->unused = &queue->parts[i];
	}
	options.memory = memory;
	queue->io = plain_queue_open(queue->options.volume, &options);
	return queue->io != NULL;
}

struct request_queue *request_queue_open(const struct request_queue_options *options)
{
	struct request_queue *queue = calloc(1, sizeof(*queue));

	if (queue == NULL)
		return NULL;
	queue->options = *options;
	if (set_up(queue))
		return queue;
	release(queue);
	return NULL;
}

bool request_queue_close(struct request_queue *queue, int ms)
{
	struct lane_io *rest = NULL;
	bool closed;

	if (queue->lanes != NULL)
		lanes_end(queue->lanes, ms);
	closed = plain_queue_close(queue->io, ms);
	if (queue->lanes != NULL && !lanes_close(queue->lanes, &rest))
		closed = false;
	end_lane_ios(rest);
	if (!closed)
		return false;
	release(queue);
	return true;
}
