/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/queue_thread.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "addon/thread.h"

/* Small, so that all of it can be locked, and is there before it is needed. */
#define STACK_SIZE	(256u * 1024u)

/* Of /proc/self/maps. */
struct mapping {
	uintptr_t from, to;
	char path[16];	/* its beginning; empty: anonymous memory */
};

static bool next_mapping(FILE *maps, struct mapping *mapping)
{
	char line[512];

	while (fgets(line, sizeof(line), maps)) {
		mapping->path[0] = '\0';
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %15s", &mapping->from, &mapping->to,
			   mapping->path) >= 2)
			return true;
	}
	return false;
}

/* On fault: the enclave's reserved heap is not to be filled. */
static int lock(const struct mapping *mapping)
{
	return mlock2((void *)mapping->from, mapping->to - mapping->from, MLOCK_ONFAULT);
}

int queue_threads_lock_memory(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	struct mapping each;
	int status = 0;

	if (!maps)
		return -1;
	while (status == 0 && next_mapping(maps, &each)) {
		/* Locked by its nature, and mlock2(2) says ENOMEM to it. */
		if (strcmp(each.path, "/secretmem") == 0)
			continue;
		if (each.path[0] == '/' || strcmp(each.path, "[heap]") == 0)
			status = lock(&each);
	}
	fclose(maps);
	return status;
}

void queue_threads_outlive_shortage(void)
{
	int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (file < 0)
		return;
	(void)!write(file, "-1000", 5);
	close(file);
}

int queue_thread_start(pthread_t *thread, void *(*body)(void *), void *argument)
{
	return thread_start(thread, STACK_SIZE, body, argument);
}

static void lock_stack(void)
{
	pthread_attr_t attributes;
	void *stack;
	size_t size;

	if (pthread_getattr_np(pthread_self(), &attributes) != 0)
		return;
	if (pthread_attr_getstack(&attributes, &stack, &size) == 0)
		mlock(stack, size);
	pthread_attr_destroy(&attributes);
}

static void stay_near(const cpu_set_t *near)
{
	cpu_set_t allowed, both;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return;
	CPU_AND(&both, &allowed, near);
	if (CPU_COUNT(&both) != 0)
		sched_setaffinity(0, sizeof(both), &both);
}

void queue_thread_begin(const cpu_set_t *near)
{
	/* Without CAP_SYS_RESOURCE refused; then writeback is as safe as any user's. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	lock_stack();
	stay_near(near);
}

void queue_thread_lock_around(const void *address)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	struct mapping each;

	if (!maps)
		return;
	while (next_mapping(maps, &each))
		if ((uintptr_t)address >= each.from && (uintptr_t)address < each.to)
			lock(&each);
	fclose(maps);
}

bool queue_thread_join(pthread_t thread, const struct timespec *deadline)
{
	return pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, deadline) == 0;
}
