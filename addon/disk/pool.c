/* SPDX-License-Identifier: Apache-2.0 */
/* A queue by threads of its own, each carrying out one request at a time. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "addon/disk/engine.h"
#include "addon/event.h"
#include "addon/thread.h"

#define THREADS		8u
/* Of them, for a sync and for reads. */
#define OTHERS		3u
#define STACK_SIZE	(128u * 1024u)

struct list {
	struct disk_io *first, **last;
};

struct engine {
	struct disk *disk;
	int sync;		/* descriptor */
	void (*ended)(struct disk_io *io, int result);
	int event;		/* readable: something is in `done` */
	unsigned inflight, room;	/* the owner's */
	pthread_t threads[THREADS];
	unsigned started;	/* the owner's */
	/* Under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t work;
	unsigned idle, queued;	/* threads that wait; requests in `waiting` */
	bool closing;
	struct list waiting, done;
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

static int carry_out(const struct engine *engine, const struct disk_io *io)
{
	const int fd = io->direct ? engine->disk->direct : engine->disk->cached;
	const struct iovec rest = { io->memory + io->moved, io->length - io->moved };
	const off_t offset = (off_t)(io->offset + io->moved);
	ssize_t result = -1;

	switch (io->op) {
	case DISK_READ:
		result = preadv2(fd, &rest, 1, offset, 0);
		break;
	case DISK_WRITE:
		result = pwritev2(fd, &rest, 1, offset, io->durable && io->direct ? RWF_DSYNC : 0);
		break;
	case DISK_SYNC:
		result = fdatasync(engine->sync);
		break;
	case DISK_PUNCH:
		result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, io->length);
		break;
	}
	return result < 0 ? -errno : (int)result;
}

/* Under the lock. */
static void finish(struct engine *engine, struct disk_io *io)
{
	if (engine->done.first == NULL)
		event_set(engine->event);
	append(&engine->done, io);
}

static void *serve(void *argument)
{
	struct engine *engine = argument;

	pthread_mutex_lock(&engine->lock);
	while (!engine->closing) {
		struct disk_io *io = engine->waiting.first;

		if (io == NULL) {
			engine->idle++;
			pthread_cond_wait(&engine->work, &engine->lock);
			engine->idle--;
			continue;
		}
		engine->waiting.first = io->next;
		if (engine->waiting.first == NULL)
			engine->waiting.last = &engine->waiting.first;
		engine->queued--;
		pthread_mutex_unlock(&engine->lock);
		io->result = carry_out(engine, io);
		pthread_mutex_lock(&engine->lock);
		finish(engine, io);
	}
	pthread_mutex_unlock(&engine->lock);
	return NULL;
}

/* A thread that is in a system call ends after it. */
static void pool_cancel(struct engine *engine)
{
	struct disk_io *io;

	pthread_mutex_lock(&engine->lock);
	engine->closing = true;
	pthread_cond_broadcast(&engine->work);
	io = engine->waiting.first;
	empty(&engine->waiting);
	engine->queued = 0;
	while (io != NULL) {
		struct disk_io *next = io->next;

		io->result = -ECANCELED;
		finish(engine, io);
		io = next;
	}
	pthread_mutex_unlock(&engine->lock);
}

static void pool_close(struct engine *engine)
{
	pool_cancel(engine);
	for (unsigned i = 0; i < engine->started; i++)
		pthread_join(engine->threads[i], NULL);
	pthread_cond_destroy(&engine->work);
	pthread_mutex_destroy(&engine->lock);
	close(engine->event);
	free(engine);
}

static bool start(struct engine *engine)
{
	errno = thread_start(&engine->threads[engine->started], STACK_SIZE, serve, engine);
	engine->started += errno == 0;
	return errno == 0;
}

static struct engine *pool_open(struct disk *disk, int sync, const struct disk_queue_options *options,
				void (*ended)(struct disk_io *io, int result))
{
	struct engine *engine = calloc(1, sizeof(*engine));

	if (engine == NULL)
		return NULL;
	*engine = (struct engine){ .disk = disk, .sync = sync, .ended = ended, .room = options->entries };
	empty(&engine->waiting);
	empty(&engine->done);
	engine->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	pthread_mutex_init(&engine->lock, NULL);
	pthread_cond_init(&engine->work, NULL);
	/* With one thread everything can be carried out; more are started as they are wanted. */
	if (engine->event >= 0 && start(engine))
		return engine;
	const int cause = errno;

	pool_close(engine);
	errno = cause;
	return NULL;
}

static unsigned pool_changes(const struct disk_queue_options *options)
{
	(void)options;
	return THREADS - OTHERS;
}

static bool pool_begin(struct engine *engine, struct disk_io *io)
{
	bool more;

	if (engine->inflight >= engine->room)
		return false;
	engine->inflight++;
	pthread_mutex_lock(&engine->lock);
	append(&engine->waiting, io);
	engine->queued++;
	/* One that was woken still counts as idle until it runs. */
	more = engine->queued > engine->idle;
	pthread_cond_signal(&engine->work);
	pthread_mutex_unlock(&engine->lock);
	if (more && engine->started < THREADS)
		start(engine);
	return true;
}

static void pool_turn(struct engine *engine, bool wait)
{
	struct pollfd event = { .fd = engine->event, .events = POLLIN };
	struct disk_io *io;

	if (wait && engine->inflight > 0)
		poll(&event, 1, -1);
	pthread_mutex_lock(&engine->lock);
	event_clear(engine->event);
	io = engine->done.first;
	empty(&engine->done);
	pthread_mutex_unlock(&engine->lock);
	while (io != NULL) {
		struct disk_io *next = io->next;

		engine->inflight--;
		engine->ended(io, io->result);
		io = next;
	}
}

/* The threads have it already. */
static bool pool_submit(struct engine *engine)
{
	(void)engine;
	return true;
}

static int pool_fd(const struct engine *engine)
{
	return engine->event;
}

const struct engine_ops pool_engine = {
	.open = pool_open,
	.changes = pool_changes,
	.begin = pool_begin,
	.turn = pool_turn,
	.submit = pool_submit,
	.fd = pool_fd,
	.cancel = pool_cancel,
	.close = pool_close,
};
