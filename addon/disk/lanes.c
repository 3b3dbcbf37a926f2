/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/lanes.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "addon/event.h"
#include "addon/queue_thread.h"

struct list {
	struct lane_io *first, **last;
};

struct lane {
	struct lanes *lanes;
	pthread_t thread;
	int wake;		/* eventfd: there is something in `queued`, or it is to end */
	/* The owner's. */
	uint64_t bytes;		/* put and not taken */
	bool fresh;		/* put since the last lanes_go */
	/* The thread's. */
	struct plain_queue *queue;
	struct list ended;	/* not handed over */
	bool closed;		/* after its end: nothing of it is left */
	/* Under the lock. */
	pthread_mutex_t lock;
	struct list queued;
	bool asleep, ending;
	int close_ms;
};

struct lanes {
	struct plain_volume *volume;	/* a reference */
	struct disk_queue_options options;
	enum lanes_writes writes;
	int told;		/* eventfd: there is something in `done` */
	unsigned pending;	/* the owner's */
	unsigned started;	/* the owner's */
	/* Under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t opened;
	unsigned open;		/* threads that have tried to open their queues */
	int error;		/* errno of one that could not */
	struct list done;
	unsigned count;
	struct lane each[];
};

static void empty(struct list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void append(struct list *list, struct lane_io *io)
{
	io->next = NULL;
	*list->last = io;
	list->last = &io->next;
}

static struct lane_io *take_all(struct list *list)
{
	struct lane_io *first = list->first;

	empty(list);
	return first;
}

/* ---- on a lane's thread ---- */

static void ended(struct plain_io *plain)
{
	struct lane_io *io = (struct lane_io *)(void *)plain;

	append(&io->lane->ended, io);
}

static void hand_over(struct lane *lane)
{
	struct lanes *lanes = lane->lanes;
	bool first;

	if (lane->ended.first == NULL)
		return;
	pthread_mutex_lock(&lanes->lock);
	first = lanes->done.first == NULL;
	*lanes->done.last = lane->ended.first;
	lanes->done.last = lane->ended.last;
	pthread_mutex_unlock(&lanes->lock);
	empty(&lane->ended);
	if (first)
		event_set(lanes->told);
}

/* True: it is to end; what was put before is in the queue. */
static bool take_over(struct lane *lane)
{
	struct lane_io *io;
	bool ending;

	pthread_mutex_lock(&lane->lock);
	io = take_all(&lane->queued);
	ending = lane->ending;
	pthread_mutex_unlock(&lane->lock);
	while (io != NULL) {
		struct lane_io *next = io->next;

		plain_queue_put(lane->queue, &io->io);
		io = next;
	}
	return ending;
}

static void rest(struct lane *lane)
{
	struct pollfd events[] = {
		{ .fd = disk_queue_fd(plain_queue_disk(lane->queue)), .events = POLLIN },
		{ .fd = lane->wake, .events = POLLIN },
	};

	pthread_mutex_lock(&lane->lock);
	lane->asleep = lane->queued.first == NULL && !lane->ending;
	pthread_mutex_unlock(&lane->lock);
	if (!lane->asleep)
		return;
	poll(events, 2, -1);
	pthread_mutex_lock(&lane->lock);
	lane->asleep = false;
	pthread_mutex_unlock(&lane->lock);
	event_clear(lane->wake);
}

static void *serve(void *argument)
{
	struct lane *lane = argument;
	struct lanes *lanes = lane->lanes;

	lane->queue = plain_queue_open(lanes->volume, &lanes->options);
	pthread_mutex_lock(&lanes->lock);
	if (lane->queue == NULL)
		lanes->error = errno;
	lanes->open++;
	pthread_cond_signal(&lanes->opened);
	pthread_mutex_unlock(&lanes->lock);
	lane->closed = lane->queue == NULL;
	if (lane->closed)
		return NULL;
	if (lanes->writes == LANES_LEAVE_WRITES)
		plain_queue_leave_writes(lane->queue);
	while (!take_over(lane)) {
		const bool due = plain_queue_turn(lane->queue, false);

		hand_over(lane);
		if (!due)
			rest(lane);
	}
	lane->closed = plain_queue_close(lane->queue, lane->close_ms);
	hand_over(lane);
	return NULL;
}

/* ---- on the owner's ---- */

static void wake(struct lane *lane)
{
	bool asleep;

	pthread_mutex_lock(&lane->lock);
	asleep = lane->asleep;
	pthread_mutex_unlock(&lane->lock);
	if (asleep)
		event_set(lane->wake);
}

static void release(struct lanes *lanes)
{
	for (unsigned i = 0; i < lanes->count; i++) {
		pthread_mutex_destroy(&lanes->each[i].lock);
		if (lanes->each[i].wake >= 0)
			close(lanes->each[i].wake);
	}
	pthread_cond_destroy(&lanes->opened);
	pthread_mutex_destroy(&lanes->lock);
	if (lanes->told >= 0)
		close(lanes->told);
	plain_volume_unref(lanes->volume);
	free(lanes);
}

/* 0, or the errno of what could not be started. */
static int start(struct lanes *lanes)
{
	int error = 0;

	if (lanes->told < 0)
		return errno;
	for (unsigned i = 0; i < lanes->count; i++) {
		if (lanes->each[i].wake < 0)
			return EMFILE;
		error = queue_thread_start(&lanes->each[i].thread, serve, &lanes->each[i]);
		if (error != 0)
			return error;
		lanes->started++;
	}
	pthread_mutex_lock(&lanes->lock);
	while (lanes->open < lanes->count)
		pthread_cond_wait(&lanes->opened, &lanes->lock);
	error = lanes->error;
	pthread_mutex_unlock(&lanes->lock);
	return error;
}

struct lanes *lanes_open(struct plain_volume *volume, const struct disk_queue_options *options, unsigned count,
			 enum lanes_writes writes)
{
	struct lanes *lanes = calloc(1, sizeof(*lanes) + count * sizeof(lanes->each[0]));
	struct lane_io *none;
	int error;

	if (lanes == NULL)
		return NULL;
	lanes->volume = plain_volume_ref(volume);
	lanes->options = *options;
	lanes->writes = writes;
	lanes->count = count;
	pthread_mutex_init(&lanes->lock, NULL);
	pthread_cond_init(&lanes->opened, NULL);
	empty(&lanes->done);
	lanes->told = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (unsigned i = 0; i < count; i++) {
		struct lane *lane = &lanes->each[i];

		lane->lanes = lanes;
		lane->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		pthread_mutex_init(&lane->lock, NULL);
		empty(&lane->queued);
		empty(&lane->ended);
	}
	error = start(lanes);
	if (error == 0)
		return lanes;
	lanes_end(lanes, 0);
	lanes_close(lanes, &none);
	errno = error;
	return NULL;
}

void lanes_put(struct lanes *lanes, struct lane_io *io)
{
	struct lane *least = &lanes->each[0];

	for (unsigned i = 1; i < lanes->count; i++)
		if (lanes->each[i].bytes < least->bytes)
			least = &lanes->each[i];
	io->lane = least;
	io->io.done = ended;
	least->bytes += io->io.length;
	least->fresh = true;
	lanes->pending++;
	pthread_mutex_lock(&least->lock);
	append(&least->queued, io);
	pthread_mutex_unlock(&least->lock);
}

void lanes_go(struct lanes *lanes)
{
	for (unsigned i = 0; i < lanes->count; i++) {
		if (lanes->each[i].fresh)
			wake(&lanes->each[i]);
		lanes->each[i].fresh = false;
	}
}

struct lane_io *lanes_take(struct lanes *lanes)
{
	struct lane_io *first;

	pthread_mutex_lock(&lanes->lock);
	first = take_all(&lanes->done);
	if (first != NULL)
		event_clear(lanes->told);
	pthread_mutex_unlock(&lanes->lock);
	for (const struct lane_io *io = first; io != NULL; io = io->next) {
		io->lane->bytes -= io->io.length;
		lanes->pending--;
	}
	return first;
}

int lanes_fd(const struct lanes *lanes)
{
	return lanes->told;
}

unsigned lanes_pending(const struct lanes *lanes)
{
	return lanes->pending;
}

void lanes_end(struct lanes *lanes, int ms)
{
	for (unsigned i = 0; i < lanes->started; i++) {
		struct lane *lane = &lanes->each[i];

		pthread_mutex_lock(&lane->lock);
		lane->close_ms = ms;
		lane->ending = true;
		pthread_mutex_unlock(&lane->lock);
		wake(lane);
	}
}

bool lanes_close(struct lanes *lanes, struct lane_io **rest)
{
	bool closed = true;

	/* Each leaves what the device holds after its time. */
	for (unsigned i = 0; i < lanes->started; i++) {
		pthread_join(lanes->each[i].thread, NULL);
		closed &= lanes->each[i].closed;
	}
	*rest = lanes_take(lanes);
	if (closed)
		release(lanes);
	return closed;
}
