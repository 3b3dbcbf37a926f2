/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/ublk/server.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "addon/monotonic.h"
#include "addon/queue_thread.h"

/* What its owner waits for a thread. */
#define JOIN_MS	5000

struct thread {
	struct ublk_server *server;
	struct ublk_queue *queue;
	pthread_t thread;
	bool running;
	int setup;		/* errno */
};

struct ublk_server {
	struct ublk_site site;	/* with a reference to the volume */
	struct ublk_options options;
	struct ublk_listener listener;
	bool stopping;		/* atomic: threads are asked to end */
	bool stopped;		/* its owner's thread alone */
	bool abandoned;		/* a thread did not end: what it uses stays */
	sem_t ready;
	struct thread *threads;
};

static bool stopping(const struct ublk_server *server)
{
	return __atomic_load_n(&server->stopping, __ATOMIC_ACQUIRE);
}

/* A thread that hung while it was asked to end has nobody to tell any more. */
static void starved(void *context)
{
	struct ublk_server *server = context;

	if (!stopping(server))
		server->listener.starved(server->listener.context);
}

static void finish(struct thread *thread)
{
	if (!ublk_queue_end(thread->queue))
		thread->server->abandoned = true;
}

static void *serve(void *argument)
{
	struct thread *thread = argument;
	struct ublk_server *server = thread->server;
	cpu_set_t near;

	memset(&near, 0xff, sizeof(near));
	queue_thread_begin(&near);
	thread->setup = ublk_queue_begin(thread->queue);
	if (thread->setup != 0) {
		finish(thread);
		sem_post(&server->ready);
		return NULL;
	}
	sem_post(&server->ready);
	while (!stopping(server) && ublk_queue_turn(thread->queue))
		;
	finish(thread);
	if (!stopping(server))
		server->listener.ended(server->listener.context, ublk_queue_fault(thread->queue));
	return NULL;
}

static void wake(struct ublk_server *server)
{
	for (uint32_t i = 0; server->threads != NULL && i < server->options.queues; i++)
		if (server->threads[i].running)
			ublk_queue_wake(server->threads[i].queue);
}

/* 0, or the errno of a thread that is not ready. */
static int start(struct ublk_server *server)
{
	uint32_t started = 0;
	int error = 0;

	for (; error == 0 && started < server->options.queues; started++) {
		struct thread *thread = &server->threads[started];

		error = queue_thread_start(&thread->thread, serve, thread);
		if (error != 0)
			break;
		thread->running = true;
	}
	for (uint32_t i = 0; i < started; i++)
		while (sem_wait(&server->ready) != 0)
			;
	for (uint32_t i = 0; error == 0 && i < started; i++)
		error = server->threads[i].setup;
	return error;
}

/* 0, or an errno. */
static int open_queues(struct ublk_server *server)
{
	for (uint32_t i = 0; i < server->options.queues; i++) {
		server->threads[i].server = server;
		server->threads[i].queue = ublk_queue_open(&server->site, (uint16_t)i);
		if (server->threads[i].queue == NULL)
			return errno;
	}
	if (queue_threads_lock_memory() != 0 ||
	    mlock(server->threads, server->options.queues * sizeof(*server->threads)) != 0)
		return errno;
	queue_threads_outlive_shortage();
	return 0;
}

struct ublk_server *ublk_server_open(struct plain_volume *volume, const struct ublk_options *options,
				     const struct ublk_listener *listener)
{
	struct ublk_server *server = calloc(1, sizeof(*server));
	int error;

	if (server == NULL)
		return NULL;
	server->options = *options;
	server->listener = *listener;
	sem_init(&server->ready, 0, 0);
	server->threads = calloc(options->queues, sizeof(*server->threads));
	server->site = (struct ublk_site){
		.volume = plain_volume_ref(volume),
		.device = server->threads == NULL ? -1 : fcntl(options->device, F_DUPFD_CLOEXEC, 3),
		.depth = options->depth,
		.discards = options->discards,
		.starved = starved,
		.context = server,
	};
	error = server->site.device < 0 ? errno : open_queues(server);
	if (error == 0)
		error = start(server);
	if (error == 0)
		return server;
	ublk_server_stop(server);
	ublk_server_free(server);
	errno = error;
	return NULL;
}

void ublk_server_set_mode(struct ublk_server *server, enum ublk_mode mode)
{
	__atomic_store_n(&server->site.mode, mode, __ATOMIC_RELEASE);
	wake(server);
}

bool ublk_server_drained(const struct ublk_server *server)
{
	for (uint32_t i = 0; i < server->options.queues; i++)
		if (!ublk_queue_drained(server->threads[i].queue))
			return false;
	return true;
}

bool ublk_server_whole(const struct ublk_server *server)
{
	for (uint32_t i = 0; i < server->options.queues; i++)
		if (ublk_queue_gone(server->threads[i].queue) > 0)
			return false;
	return true;
}

void ublk_server_stop(struct ublk_server *server)
{
	struct timespec deadline;

	if (server->stopped)
		return;
	server->stopped = true;
	__atomic_store_n(&server->stopping, true, __ATOMIC_RELEASE);
	wake(server);
	deadline = monotonic_after_ms(JOIN_MS);
	for (uint32_t i = 0; server->threads != NULL && i < server->options.queues; i++)
		if (server->threads[i].running && !queue_thread_join(server->threads[i].thread, &deadline))
			server->abandoned = true;
	if (server->abandoned)
		return;
	/* DEL_DEV waits for whoever has the device open or mapped. */
	for (uint32_t i = 0; server->threads != NULL && i < server->options.queues; i++)
		if (server->threads[i].queue != NULL)
			ublk_queue_close(server->threads[i].queue);
	if (server->site.device >= 0)
		close(server->site.device);
}

void ublk_server_free(struct ublk_server *server)
{
	if (server->abandoned)
		return;
	for (uint32_t i = 0; server->threads != NULL && i < server->options.queues; i++)
		ublk_queue_free(server->threads[i].queue);
	free(server->threads);
	plain_volume_unref(server->site.volume);
	sem_destroy(&server->ready);
	free(server);
}

struct counters ublk_server_counters(const struct ublk_server *server)
{
	struct counters sums = { 0 };

	for (uint32_t i = 0; i < server->options.queues; i++)
		counters_sum(&sums, ublk_queue_counters(server->threads[i].queue));
	return sums;
}
