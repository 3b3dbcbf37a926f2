/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watchdog's look at kernel/queue.c while requests come and go, in user
 * space under ThreadSanitizer. The daemon of this model answers at once, and
 * time passes only while it has nothing to do: it is never hung.
 *
 *   race SECONDS
 *
 * Prints how often it looked; fails when it ever saw a hung queue.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <time.h>

#include "kernel/queue.h"

#define DEPTH	16u
#define REST	1000u	/* jiffies between two bursts, */
#define LIMIT	100u	/* and those a request may take */
#define BURST	24u	/* some of them wait in the backlog */

struct tresor_key {
	u32 cookie;
};

atomic_ulong model_jiffies;

static struct tresor_queue queue;
static struct tresor_key key;
static struct tresor_request requests[BURST];
static atomic_uint completed;
static atomic_bool stop;
static unsigned long looks, hung;

void tresor_request_read(struct tresor_request *request, u8 *to, u32 size)
{
	(void)request;
	memset(to, 0, size);
}

void tresor_request_write(struct tresor_request *request, const u8 *from, u32 size)
{
	(void)request;
	(void)from;
	(void)size;
}

void tresor_request_progress(struct tresor_request *request)
{
	request->owed = false;
}

void tresor_requests_complete(struct list_head *finished)
{
	struct tresor_request *request, *next;

	list_for_each_entry_safe(request, next, finished, node) {
		list_del_init(&request->node);
		atomic_fetch_add(&completed, 1);
	}
}

void tresor_requests_place(struct list_head *left)
{
	(void)left;
	abort();
}

void tresor_queue_busy(struct tresor_queue *which)
{
	(void)which;
}

u32 tresor_key_cookie(const struct tresor_key *which)
{
	return READ_ONCE(which->cookie);
}

static void *serve(void *unused)
{
	struct tresor_batch_counts counts = { 0 };
	struct tresor_result results[TRESOR_BATCH_MAX];
	u16 slots[TRESOR_BATCH_MAX];

	while (!atomic_load(&stop)) {
		u32 count = tresor_queue_fetch(&queue, slots, 4, 0);

		for (u32 i = 0; i < count; i++)
			results[i] = (struct tresor_result){ .slot = slots[i] };
		if (count)
			tresor_queue_commit(&queue, results, count, &counts);
	}
	return unused;
}

static void *watch(void *unused)
{
	while (!atomic_load(&stop)) {
		hung += tresor_queue_check(&queue, LIMIT) == TRESOR_QUEUE_HUNG;
		looks += tresor_queue_load(&queue) <= DEPTH + BURST;
	}
	return unused;
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 3);
	pthread_t server, watcher;

	if (tresor_queue_init(&queue, DEPTH) || pthread_create(&server, NULL, serve, NULL) ||
	    pthread_create(&watcher, NULL, watch, NULL))
		abort();
	while (time(NULL) < end) {
		atomic_store(&completed, 0);
		for (u32 i = 0; i < BURST; i++) {
			memset(&requests[i], 0, sizeof(requests[i]));
			INIT_LIST_HEAD(&requests[i].node);
			requests[i].key = &key;
			requests[i].length = 4096 + i;
			requests[i].mode = TRESOR_KMODE_CTR;
			requests[i].may_backlog = true;
			tresor_queue_submit(&queue, &requests[i]);
		}
		while (atomic_load(&completed) != BURST)
			sched_yield();
		atomic_fetch_add(&model_jiffies, REST);
	}
	atomic_store(&stop, true);
	pthread_join(server, NULL);
	pthread_join(watcher, NULL);
	tresor_queue_exit(&queue);
	printf("%lu looks, %lu hung\n", looks, hung);
	return hung || !looks;
}
