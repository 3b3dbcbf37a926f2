/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/assistant.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

/* FREE -> OFFERED by whoever offers, -> BEGUN by the thread, or back by who settles; BEGUN -> FREE by who settles. */
enum { FREE, OFFERED, BEGUN };

/* Offers in a row that found the thread too late, after which one in RETRY is made. */
#define CREDIT	8
#define RETRY	32u
/* What is nearly done is not worth a sleep: about 20 us. */
#define SPINS	400

static atomic_int state;
static sem_t offered, done;
static void (*offered_job)(void *);
static void *offered_argument;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_bool running;
static atomic_int credit = CREDIT;
static atomic_uint refused;

static void wait_for(sem_t *semaphore)
{
	while (sem_wait(semaphore) != 0 && errno == EINTR)
		;
}

static void *assist(void *unused)
{
	(void)unused;
	for (;;) {
		int expected = OFFERED;

		wait_for(&offered);
		if (!atomic_compare_exchange_strong(&state, &expected, BEGUN))
			continue;
		offered_job(offered_argument);
		sem_post(&done);
	}
	return NULL;
}

static void start(void)
{
	sigset_t all, before;
	pthread_t thread;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2 || sem_init(&offered, 0, 0) != 0 || sem_init(&done, 0, 0) != 0)
		return;
	/* Signals are JavaScript's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, assist, NULL) == 0) {
		pthread_detach(thread);
		atomic_store(&running, true);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

bool assistant_offer(void (*job)(void *), void *argument)
{
	int expected = FREE;

	pthread_once(&once, start);
	if (!atomic_load(&running) || (atomic_load(&credit) <= 0 && atomic_fetch_add(&refused, 1) % RETRY != 0))
		return false;
	/* BEGUN keeps the thread off until the job is there. */
	if (!atomic_compare_exchange_strong(&state, &expected, BEGUN))
		return false;
	offered_job = job;
	offered_argument = argument;
	atomic_store(&state, OFFERED);
	sem_post(&offered);
	return true;
}

void assistant_settle(void)
{
	int expected = OFFERED;

	if (atomic_compare_exchange_strong(&state, &expected, BEGUN)) {
		offered_job(offered_argument);
		if (atomic_load(&credit) > 0)
			atomic_fetch_sub(&credit, 1);
	} else {
		for (int i = 0; sem_trywait(&done) != 0; i++) {
			if (i == SPINS) {
				wait_for(&done);
				break;
			}
			__builtin_ia32_pause();
		}
		atomic_store(&credit, CREDIT);
	}
	atomic_store(&state, FREE);
}
