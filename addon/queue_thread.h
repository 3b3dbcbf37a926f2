/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that serve the kernel's queues: of tresor.ko (ring.c) and of ublk
 * (ublk/server.c). Writeback may wait for one, so its memory is locked, and what it
 * allocates never waits for writeback. Once it runs it calls neither JavaScript nor malloc.
 */
#ifndef TRESOR_QUEUE_THREAD_H
#define TRESOR_QUEUE_THREAD_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/*
 * Locks what all of them touch: code and data of files, and the heap. Not mlockall(2): V8 gives pages
 * of its own heap back with madvise(2), which locked memory refuses, and ends the process over that.
 * 0, or -1 with errno.
 */
int queue_threads_lock_memory(void);
/* Killed for memory, they would hold up the writeback that frees some. Best effort: root alone may. */
void queue_threads_outlive_shortage(void);

/* thread_start with a small stack. 0 or an errno. */
int queue_thread_start(pthread_t *thread, void *(*body)(void *), void *argument);
/* First in the thread: its stack is locked, it does not wait for writeback, and runs on `near` if it may. */
void queue_thread_begin(const cpu_set_t *near);
/* Locks all of the mapping that `address` is in: malloc(3) gives a thread memory outside of the heap. */
void queue_thread_lock_around(const void *address);
/* False when it has not ended by then (CLOCK_MONOTONIC): it hangs. */
bool queue_thread_join(pthread_t thread, const struct timespec *deadline);

#endif
