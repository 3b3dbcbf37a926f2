/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/vhost/worker.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "addon/disk/arena.h"

#define ENTRIES		256u
#define ARENA_SIZE	(4u << 20)
/* Taken before the next entry: what was read from the page cache is still in the processor's. */
#define BATCH_BYTES	(256u * 1024u)

struct taken {
	struct request request;
	struct worker *worker;
	uint16_t head;
	uint32_t under_way;	/* parts */
	uint32_t segment;	/* where to go on */
	uint64_t begun;		/* bytes of that segment */
	struct request_cursor cursor;
	bool waits;		/* in the backlog: there is more to begin */
	bool keyless;
	bool quiet;		/* for no other reason */
	struct taken *next;
};

/* As much of a request as one piece of the arena takes, or a flush. */
struct part {
	struct plain_io io;
	struct taken *taken;
	uint8_t *ciphertext;	/* the arena's, or NULL */
	uint8_t *plaintext;	/* the arena's: of a write that the enclave does not take from the guest's memory */
	uint32_t length;
	bool give;		/* a read, decrypted in its place */
	struct request_cursor cursor;
	struct iovec pieces[PLAIN_PIECES];
	struct part *next;
};

struct list {
	struct taken *first, **last;
};

struct worker {
	struct worker_options options;
	struct virtqueue ring;
	enum virtqueue_fault fault;
	bool fail;		/* of this turn */
	bool keyless;
	bool full;		/* the arena or the parts, while this turn begins */
	bool ended;		/* a part, in this turn: there may be room again */
	struct plain_queue *io;
	uint8_t *memory;
	struct arena arena;
	struct taken *taken, *unused;
	struct part *parts, *unused_parts;
	uint32_t under_way;	/* taken and not answered, but for what is parked */
	struct list backlog, parked;
};

static uint8_t zeros[ARENA_PIECE] __attribute__((aligned(ARENA_PAGE)));

static void append(struct list *list, struct taken *taken)
{
	taken->next = NULL;
	*list->last = taken;
	list->last = &taken->next;
}

static void empty(struct list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static struct taken *shift(struct list *list)
{
	struct taken *first = list->first;

	list->first = first->next;
	if (list->first == NULL)
		list->last = &list->first;
	return first;
}

/* ---- answers ---- */

static void count_request(struct counters *counters, const struct request *request)
{
	uint64_t bytes = 0;

	if (request->outcome != VIRTIO_BLK_S_OK) {
		counter_add(&counters->errors, 1);
		return;
	}
	for (uint32_t i = 0; i < request->segment_count; i++)
		bytes += request->segments[i].length;
	switch (request->type) {
	case REQUEST_READ:
		counter_add(&counters->reads, 1);
		counter_add(&counters->bytes_read, bytes);
		break;
	case REQUEST_WRITE:
	case REQUEST_ZERO:
		counter_add(&counters->writes, 1);
		counter_add(&counters->bytes_written, bytes);
		break;
	case REQUEST_FLUSH:
		counter_add(&counters->flushes, 1);
		break;
	case REQUEST_DISCARD:
		counter_add(&counters->discards, 1);
		break;
	case REQUEST_ID:
		break;
	}
}

/* Bytes that the guest finds in its buffers, status and all. */
static uint32_t written_by(const struct request *request)
{
	uint64_t bytes = 1;

	if (request->outcome == VIRTIO_BLK_S_OK && (request->type == REQUEST_READ || request->type == REQUEST_ID))
		for (uint32_t i = 0; i < request->piece_count; i++)
			bytes += request->pieces[i].iov_len;
	return bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
}

static void forget(struct worker *worker, struct taken *taken)
{
	taken->next = worker->unused;
	worker->unused = taken;
	worker->under_way--;
	counter_add(&worker->options.counters->held, (uint64_t)-1);
}

static void answer(struct worker *worker, struct taken *taken)
{
	if (worker->fault == RING_SOUND) {
		*(volatile uint8_t *)taken->request.status = taken->request.outcome;
		virtqueue_answer(&worker->ring, taken->head, written_by(&taken->request));
		count_request(worker->options.counters, &taken->request);
	}
	forget(worker, taken);
}

static void park(struct worker *worker, struct taken *taken)
{
	taken->keyless = false;
	taken->segment = 0;
	taken->begun = 0;
	taken->cursor = (struct request_cursor){ 0 };
	append(&worker->parked, taken);
	worker->under_way--;
	/* Who has made a range quiet has it tried again. */
	if (!taken->quiet)
		worker->keyless = true;
	taken->quiet = true;
}

/* Nothing of it is under way, and nothing is to be begun. */
static void settle(struct worker *worker, struct taken *taken)
{
	if (taken->request.outcome == VIRTIO_BLK_S_OK && taken->keyless) {
		if (!worker->fail) {
			park(worker, taken);
			return;
		}
		taken->request.outcome = VIRTIO_BLK_S_IOERR;
	}
	answer(worker, taken);
}

/* ---- parts ---- */

static void give_back(struct worker *worker, uint8_t *memory, uint32_t length)
{
	if (memory != NULL)
		arena_give(&worker->arena, memory, length);
}

static void end_part(struct part *part, int error)
{
	struct taken *taken = part->taken;
	struct worker *worker = taken->worker;

	if (part->give)
		explicit_bzero(part->ciphertext, part->length);
	if (part->plaintext != NULL)
		explicit_bzero(part->plaintext, part->length);
	give_back(worker, part->ciphertext, part->length);
	give_back(worker, part->plaintext, part->length);
	part->next = worker->unused_parts;
	worker->unused_parts = part;
	worker->ended = true;
	if (error == ENOKEY) {
		taken->keyless = true;
		taken->quiet = taken->quiet && part->io.quiet;
	} else if (error != 0)
		taken->request.outcome = VIRTIO_BLK_S_IOERR;
	if (--taken->under_way == 0 && !taken->waits)
		settle(worker, taken);
}

static void io_done(struct plain_io *io)
{
	struct part *part = (struct part *)(void *)((char *)io - offsetof(struct part, io));
	const struct worker *worker = part->taken->worker;

	if (io->error == 0 && part->give && worker->fault == RING_SOUND)
		request_give(&part->taken->request, &part->cursor, part->ciphertext, part->length);
	end_part(part, io->error);
}

static struct part *new_part(struct worker *worker, struct taken *taken)
{
	struct part *part = worker->unused_parts;

	if (part == NULL)
		return NULL;
	worker->unused_parts = part->next;
	part->taken = taken;
	part->ciphertext = part->plaintext = NULL;
	part->give = false;
	part->io.done = io_done;
	part->io.fua = false;
	part->io.pieces = part->pieces;
	part->io.count = 0;
	taken->under_way++;
	return part;
}

static void undo_part(struct worker *worker, struct part *part)
{
	give_back(worker, part->ciphertext, part->length);
	part->taken->under_way--;
	part->next = worker->unused_parts;
	worker->unused_parts = part;
}

/* Where the enclave is to find, or to put, the part's plaintext. False: no room now. */
static bool place_plaintext(struct worker *worker, struct part *part, uint32_t most)
{
	struct taken *taken = part->taken;
	const struct request *request = &taken->request;
	uint32_t length = 0;

	part->length = most;
	if (request->type == REQUEST_ZERO) {
		part->ciphertext = arena_take(&worker->arena, most);
		part->pieces[0] = (struct iovec){ zeros, most };
		part->io.count = 1;
		return part->ciphertext != NULL;
	}
	part->cursor = taken->cursor;
	if (regions_sealed(worker->options.regions))
		length = request_whole(request, &taken->cursor, worker->options.volume->sector_size, most, part->pieces,
				       &part->io.count, PLAIN_PIECES);
	if (length > 0) {
		part->length = length;
		part->ciphertext = arena_take(&worker->arena, length);
		if (part->ciphertext == NULL)
			taken->cursor = part->cursor;
		return part->ciphertext != NULL;
	}
	part->ciphertext = arena_take(&worker->arena, most);
	if (part->ciphertext == NULL)
		return false;
	if (request->type == REQUEST_READ) {
		part->io.pieces = NULL;
		part->give = true;
		/* `give` does so once more, from the part's own. */
		for (uint32_t left = most; left > 0;) {
			const size_t rest = request->pieces[taken->cursor.piece].iov_len - taken->cursor.offset;

			if (rest > left) {
				taken->cursor.offset += left;
				break;
			}
			left -= (uint32_t)rest;
			taken->cursor = (struct request_cursor){ .piece = taken->cursor.piece + 1 };
		}
		return true;
	}
	part->plaintext = arena_take(&worker->arena, most);
	if (part->plaintext == NULL)
		return false;
	request_take(request, &taken->cursor, part->plaintext, most);
	part->pieces[0] = (struct iovec){ part->plaintext, most };
	part->io.count = 1;
	return true;
}

/* The next part of the request's segment. False: no room now. */
static bool begin_sectors(struct worker *worker, struct taken *taken, const struct request_segment *segment)
{
	const uint64_t left = segment->length - taken->begun;
	struct part *part = new_part(worker, taken);

	if (part == NULL)
		return false;
	if (!place_plaintext(worker, part, left < ARENA_PIECE ? (uint32_t)left : ARENA_PIECE)) {
		undo_part(worker, part);
		return false;
	}
	part->io.op = taken->request.type == REQUEST_READ ? PLAIN_READ : PLAIN_WRITE;
	part->io.offset = segment->offset + taken->begun;
	part->io.length = part->length;
	part->io.ciphertext = part->ciphertext;
	taken->begun += part->length;
	plain_queue_put(worker->io, &part->io);
	return true;
}

/* Whole sectors of the volume's, inside the segment; what they are read as afterwards is undefined. */
static bool begin_discard(struct worker *worker, struct taken *taken, const struct request_segment *segment)
{
	const struct plain_volume *volume = worker->options.volume;
	const uint64_t sector = volume->sector_size;
	const uint64_t start = (segment->offset + sector - 1) / sector * sector;
	const uint64_t end = (segment->offset + segment->length) / sector * sector;
	struct part *part;

	if (start < end) {
		part = new_part(worker, taken);
		if (part == NULL)
			return false;
		part->length = 0;
		part->io.op = PLAIN_PUNCH;
		part->io.offset = start;
		part->io.length = (uint32_t)(end - start);
		plain_queue_put(worker->io, &part->io);
	}
	taken->begun = segment->length;
	return true;
}

static bool begin_flush(struct worker *worker, struct taken *taken)
{
	struct part *part = new_part(worker, taken);

	if (part == NULL)
		return false;
	part->length = 0;
	part->io.op = PLAIN_FLUSH;
	part->io.offset = 0;
	part->io.length = 0;
	part->io.ciphertext = NULL;
	plain_queue_put(worker->io, &part->io);
	return true;
}

static void give_id(struct worker *worker, struct taken *taken)
{
	const struct request *request = &taken->request;
	struct request_cursor cursor = { 0 };
	uint64_t room = 0;

	for (uint32_t i = 0; i < request->piece_count; i++)
		room += request->pieces[i].iov_len;
	request_give(request, &cursor, worker->options.id, room < REQUEST_ID_SIZE ? room : REQUEST_ID_SIZE);
}

/* Begins what there is room for. True: all of it was. */
static bool begin(struct worker *worker, struct taken *taken)
{
	const struct request *request = &taken->request;

	if (request->outcome != VIRTIO_BLK_S_OK || taken->keyless)
		return true;
	if (request->type == REQUEST_ID)
		give_id(worker, taken);
	if (request->type == REQUEST_FLUSH)
		return worker->options.volume->read_only || begin_flush(worker, taken);
	for (; taken->segment < request->segment_count; taken->segment++, taken->begun = 0) {
		const struct request_segment *segment = &request->segments[taken->segment];

		while (taken->begun < segment->length)
			if (!(request->type == REQUEST_DISCARD ? begin_discard(worker, taken, segment) :
								 begin_sectors(worker, taken, segment)))
				return false;
	}
	return true;
}

/* In the order in which they came, as far as there is room. */
static void begin_backlog(struct worker *worker)
{
	while (worker->backlog.first != NULL && worker->fault == RING_SOUND) {
		struct taken *taken = worker->backlog.first;

		if (!begin(worker, taken)) {
			worker->full = true;
			return;
		}
		shift(&worker->backlog);
		taken->waits = false;
		if (taken->under_way == 0)
			settle(worker, taken);
	}
}

/* ---- the ring ---- */

static uint64_t size_of(const struct request *request)
{
	return request->type == REQUEST_READ || request->type == REQUEST_WRITE ? request->segments[0].length : 0;
}

/*
 * A ring's size of requests at most: a driver that puts one for each that is answered at once, for which there is no I/O,
 * would have this thread look at nothing else.
 */
static void take(struct worker *worker)
{
	uint64_t bytes = 0;
	uint16_t head;

	for (uint32_t count = 0; count < worker->ring.size && bytes < BATCH_BYTES && !worker->full &&
				 worker->unused != NULL && virtqueue_next(&worker->ring, &head, &worker->fault);
	     count++) {
		struct taken *taken = worker->unused;
		const enum virtqueue_fault fault = request_read(&taken->request, &worker->ring, head,
								worker->options.volume, worker->options.discards);

		if (fault != RING_SOUND) {
			worker->fault = fault;
			return;
		}
		worker->unused = taken->next;
		worker->under_way++;
		counter_add(&worker->options.counters->held, 1);
		taken->head = head;
		taken->segment = 0;
		taken->begun = 0;
		taken->cursor = (struct request_cursor){ 0 };
		taken->keyless = false;
		taken->quiet = true;
		taken->waits = true;
		bytes += taken->request.outcome == VIRTIO_BLK_S_OK ? size_of(&taken->request) : 0;
		append(&worker->backlog, taken);
		begin_backlog(worker);
	}
}

static void drop(struct worker *worker, struct list *list, bool parked)
{
	while (list->first != NULL) {
		struct taken *taken = shift(list);

		taken->waits = false;
		if (parked)
			worker->under_way++;
		/* What of it is under way ends later. */
		if (taken->under_way == 0)
			forget(worker, taken);
	}
}

bool worker_turn(struct worker *worker, bool stop, bool fail, bool *notify)
{
	bool due;

	worker->fail = fail;
	if (fail)
		worker_retry(worker);
	worker->full = worker->ended = false;
	begin_backlog(worker);
	if (!stop && worker->fault == RING_SOUND)
		take(worker);
	due = plain_queue_turn(worker->io, false);
	if (worker->fault == RING_SOUND && regions_lost(worker->options.regions))
		worker->fault = RING_MEMORY;
	*notify = worker->fault == RING_SOUND && virtqueue_publish(&worker->ring);
	if (worker->fault != RING_SOUND) {
		drop(worker, &worker->backlog, false);
		drop(worker, &worker->parked, true);
		return due;
	}
	return due || (worker->backlog.first != NULL && worker->ended) ||
	       (!stop && worker->backlog.first == NULL && worker->unused != NULL && virtqueue_waiting(&worker->ring));
}

void worker_retry(struct worker *worker)
{
	while (worker->parked.first != NULL) {
		struct taken *taken = shift(&worker->parked);

		taken->waits = true;
		worker->under_way++;
		append(&worker->backlog, taken);
	}
}

bool worker_keyless(struct worker *worker)
{
	const bool keyless = worker->keyless;

	worker->keyless = false;
	return keyless;
}

bool worker_idle(const struct worker *worker)
{
	return worker->under_way == 0;
}

void worker_leave(struct worker *worker, bool *notify)
{
	*notify = false;
	if (worker->fault != RING_SOUND)
		return;
	while (worker->ring.inflight.region == NULL && worker->parked.first != NULL) {
		struct taken *taken = shift(&worker->parked);

		worker->under_way++;
		taken->request.outcome = VIRTIO_BLK_S_IOERR;
		answer(worker, taken);
	}
	*notify = virtqueue_publish(&worker->ring);
	drop(worker, &worker->parked, true);
}

enum virtqueue_fault worker_fault(const struct worker *worker)
{
	return worker->fault;
}

struct virtqueue *worker_ring(struct worker *worker)
{
	return &worker->ring;
}

int worker_fd(const struct worker *worker)
{
	return disk_queue_fd(plain_queue_disk(worker->io));
}

/* ---- life ---- */

static void release(struct worker *worker)
{
	arena_close(&worker->arena);
	if (worker->memory != NULL)
		munmap(worker->memory, ARENA_SIZE);
	free(worker->parts);
	free(worker->taken);
	free(worker);
}

static bool allocate(struct worker *worker)
{
	const uint32_t size = worker->ring.size;
	struct disk_queue_options options = { .entries = ENTRIES, .memory_size = ARENA_SIZE };
	void *memory = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return false;
	worker->memory = memory;
	/* Plaintext in flight: not in dumps, and not in swap where the limit of locked memory allows it. */
	madvise(memory, ARENA_SIZE, MADV_DONTDUMP);
	madvise(memory, ARENA_SIZE, MADV_DONTFORK);
	mlock2(memory, ARENA_SIZE, MLOCK_ONFAULT);
	worker->taken = calloc(size, sizeof(*worker->taken));
	worker->parts = calloc(ENTRIES, sizeof(*worker->parts));
	if (worker->taken == NULL || worker->parts == NULL || !arena_open(&worker->arena, memory, ARENA_SIZE))
		return false;
	for (uint32_t i = 0; i < size; i++) {
		worker->taken[i].worker = worker;
		worker->taken[i].next = worker->unused;
		worker->unused = &worker->taken[i];
	}
	for (uint32_t i = 0; i < ENTRIES; i++) {
		worker->parts[i].next = worker->unused_parts;
		worker->unused_parts = &worker->parts[i];
	}
	options.memory = memory;
	worker->io = plain_queue_open(worker->options.volume, &options);
	return worker->io != NULL;
}

struct worker *worker_open(const struct worker_options *options, enum virtqueue_fault *fault)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	*fault = RING_BEGIN;
	if (worker == NULL)
		return NULL;
	worker->options = *options;
	empty(&worker->backlog);
	empty(&worker->parked);
	*fault = virtqueue_open(&worker->ring, options->regions, &options->place, &options->inflight);
	if (*fault == RING_SOUND && regions_lost(options->regions))
		*fault = RING_MEMORY;
	if (*fault == RING_SOUND && !allocate(worker))
		*fault = RING_BEGIN;
	if (*fault == RING_SOUND)
		return worker;
	release(worker);
	return NULL;
}

bool worker_close(struct worker *worker, int ms)
{
	/* What ends in here is answered by nobody. */
	if (worker->fault == RING_SOUND)
		worker->fault = RING_MEMORY;
	drop(worker, &worker->backlog, false);
	drop(worker, &worker->parked, true);
	if (!plain_queue_close(worker->io, ms))
		return false;
	release(worker);
	return true;
}
