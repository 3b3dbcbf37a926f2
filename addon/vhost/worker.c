/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/vhost/worker.h"

#include <linux/virtio_blk.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "addon/vhost/request_queue.h"

/* Taken before the next entry: what was read from the page cache is still in the processor's. */
#define BATCH_BYTES	(256u * 1024u)

struct taken {
	struct request_io io;
	uint16_t head;
	bool waits;		/* in the backlog: there is more to begin */
	struct taken *next;
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
	bool full;		/* the queue, while this turn begins */
	struct request_queue *queue;
	struct taken *taken, *unused;
	uint32_t under_way;	/* taken and not answered, but for what is parked */
	struct list backlog, parked;
};

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
	const struct request *request = &taken->io.request;

	if (worker->fault == RING_SOUND) {
		*(volatile uint8_t *)request->status = request->outcome;
		virtqueue_answer(&worker->ring, taken->head, written_by(request));
		count_request(worker->options.counters, request);
	}
	forget(worker, taken);
}

static void park(struct worker *worker, struct taken *taken)
{
	/* Who has made a range quiet has it tried again. */
	if (!taken->io.quiet)
		worker->keyless = true;
	request_io_reset(&taken->io);
	append(&worker->parked, taken);
	worker->under_way--;
}

/* Nothing of it is under way, and nothing is to be begun. */
static void settle(struct worker *worker, struct taken *taken)
{
	if (taken->io.request.outcome == VIRTIO_BLK_S_OK && taken->io.keyless) {
		if (!worker->fail) {
			park(worker, taken);
			return;
		}
		taken->io.request.outcome = VIRTIO_BLK_S_IOERR;
	}
	answer(worker, taken);
}

static void ended(void *context, struct request_io *io)
{
	struct taken *taken = (struct taken *)(void *)((char *)io - offsetof(struct taken, io));

	if (!taken->waits)
		settle(context, taken);
}

/* ---- the ring ---- */

/* Nothing is answered any more, nor given to the guest. */
static void break_ring(struct worker *worker, enum virtqueue_fault fault)
{
	worker->fault = fault;
	request_queue_abandon(worker->queue);
}

/* In the order in which they came, as far as there is room. */
static void begin_backlog(struct worker *worker)
{
	while (worker->backlog.first != NULL && worker->fault == RING_SOUND) {
		struct taken *taken = worker->backlog.first;

		if (!request_queue_begin(worker->queue, &taken->io)) {
			worker->full = true;
			return;
		}
		shift(&worker->backlog);
		taken->waits = false;
		if (taken->io.under_way == 0)
			settle(worker, taken);
	}
}

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
	const uint64_t most = worker_lane_fd(worker) < 0 ? BATCH_BYTES : 2 * BATCH_BYTES;
	enum virtqueue_fault fault = RING_SOUND;
	uint64_t bytes = 0;
	uint16_t head;

	for (uint32_t count = 0; count < worker->ring.size && bytes < most && !worker->full && worker->unused != NULL &&
				 virtqueue_next(&worker->ring, &head, &fault);
	     count++) {
		struct taken *taken = worker->unused;

		fault = request_read(&taken->io.request, &worker->ring, head, worker->options.volume,
				     worker->options.discards);
		if (fault != RING_SOUND)
			break;
		worker->unused = taken->next;
		worker->under_way++;
		counter_add(&worker->options.counters->held, 1);
		taken->head = head;
		taken->waits = true;
		request_io_reset(&taken->io);
		bytes += taken->io.request.outcome == VIRTIO_BLK_S_OK ? size_of(&taken->io.request) : 0;
		append(&worker->backlog, taken);
		begin_backlog(worker);
	}
	if (fault != RING_SOUND)
		break_ring(worker, fault);
}

static void drop(struct worker *worker, struct list *list, bool parked)
{
	while (list->first != NULL) {
		struct taken *taken = shift(list);

		taken->waits = false;
		if (parked)
			worker->under_way++;
		/* What of it is under way ends later. */
		if (taken->io.under_way == 0)
			forget(worker, taken);
	}
}

bool worker_turn(struct worker *worker, bool stop, bool fail, bool *notify)
{
	bool due, room;

	worker->fail = fail;
	if (fail)
		worker_retry(worker);
	worker->full = false;
	begin_backlog(worker);
	if (!stop && worker->fault == RING_SOUND)
		take(worker);
	due = request_queue_turn(worker->queue, &room);
	if (worker->fault == RING_SOUND && regions_lost(worker->options.regions))
		break_ring(worker, RING_MEMORY);
	*notify = worker->fault == RING_SOUND && virtqueue_publish(&worker->ring);
	if (worker->fault != RING_SOUND) {
		drop(worker, &worker->backlog, false);
		drop(worker, &worker->parked, true);
		return due;
	}
	return due || (worker->backlog.first != NULL && room) ||
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
		taken->io.request.outcome = VIRTIO_BLK_S_IOERR;
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
	return request_queue_fd(worker->queue);
}

int worker_lane_fd(const struct worker *worker)
{
	return request_queue_lane_fd(worker->queue);
}

/* ---- life ---- */

static void release(struct worker *worker)
{
	free(worker->taken);
	free(worker);
}

static bool allocate(struct worker *worker)
{
	const struct worker_options *options = &worker->options;
	struct request_queue_options of_queue = {
		.volume = options->volume,
		.regions = options->regions,
		.running = options->running,
		.processors = options->processors,
		.ended = ended,
		.context = worker,
	};
	const uint32_t size = worker->ring.size;

	memcpy(of_queue.id, options->id, sizeof(of_queue.id));
	worker->taken = calloc(size, sizeof(*worker->taken));
	if (worker->taken == NULL)
		return false;
	for (uint32_t i = 0; i < size; i++) {
		worker->taken[i].next = worker->unused;
		worker->unused = &worker->taken[i];
	}
	worker->queue = request_queue_open(&of_queue);
	return worker->queue != NULL;
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
		break_ring(worker, RING_MEMORY);
	drop(worker, &worker->backlog, false);
	drop(worker, &worker->parked, true);
	if (!request_queue_close(worker->queue, ms))
		return false;
	release(worker);
	return true;
}
