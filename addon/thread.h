/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads beside Node's. Signals that are sent are for Node's: none is taken here. A fault is the thread's own: its
 * handler runs, of the software enclave (sgx/software_entry.h) or of memory that a guest took away (vhost/lent.h);
 * blocked, it would end the process.
 */
#ifndef TRESOR_THREAD_H
#define TRESOR_THREAD_H

#include <pthread.h>
#include <stddef.h>

/* Bytes of stack, at least PTHREAD_STACK_MIN. 0 or an errno; then nothing runs. The caller joins it. */
int thread_start(pthread_t *thread, size_t stack, void *(*body)(void *), void *argument);
/* Nobody joins it: what it uses is its own, or has a reference. */
int thread_start_detached(pthread_t *thread, size_t stack, void *(*body)(void *), void *argument);

#endif
