/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/thread.h"

#include <signal.h>

/* What an instruction raises: the list of the software enclave's handler. */
static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };

static int start(pthread_t *thread, size_t stack, int detached, void *(*body)(void *), void *argument)
{
	pthread_attr_t attributes;
	sigset_t blocked, before;
	int error = pthread_attr_init(&attributes);

	if (error != 0)
		return error;
	pthread_attr_setdetachstate(&attributes, detached);
	error = pthread_attr_setstacksize(&attributes, stack);
	if (error == 0) {
		sigfillset(&blocked);
		for (unsigned i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
			sigdelset(&blocked, faults[i]);
		/* A thread begins with the mask of its creator. */
		pthread_sigmask(SIG_SETMASK, &blocked, &before);
		error = pthread_create(thread, &attributes, body, argument);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	pthread_attr_destroy(&attributes);
	return error;
}

int thread_start(pthread_t *thread, size_t stack, void *(*body)(void *), void *argument)
{
	return start(thread, stack, PTHREAD_CREATE_JOINABLE, body, argument);
}

int thread_start_detached(pthread_t *thread, size_t stack, void *(*body)(void *), void *argument)
{
	return start(thread, stack, PTHREAD_CREATE_DETACHED, body, argument);
}
