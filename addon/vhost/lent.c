/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/vhost/lent.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

/* Read by the handler on whatever thread faults: `size` is 0 while the rest is not valid. */
static struct lent {
	bool taken;	/* under the lock */
	uintptr_t start;
	size_t size;	/* atomic */
	bool *lost;
} lents[LENT_MAX];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;

/*
 * The whole mapping at once: a hole in a mapping of huge pages cannot have a small one. A thread inside an
 * enclave of the software backend comes here first, since this handler was installed after that one's.
 */
static bool replace(uintptr_t address)
{
	for (unsigned i = 0; i < LENT_MAX; i++) {
		const size_t size = __atomic_load_n(&lents[i].size, __ATOMIC_ACQUIRE);

		if (size == 0 || address - lents[i].start >= size)
			continue;
		if (mmap((void *)lents[i].start, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
			return false;
		__atomic_store_n(lents[i].lost, true, __ATOMIC_RELEASE);
		return true;
	}
	return false;
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	const int kept = errno;
	const bool replaced = info->si_code > 0 && replace((uintptr_t)info->si_addr);

	errno = kept;
	if (replaced)
		return;
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(signal, info, context);
	} else if (before.sa_handler == SIG_DFL) {
		/* An instruction faults again when we return; a signal that was sent has to be sent again. */
		sigaction(signal, &before, NULL);
		if (info->si_code <= 0)
			raise(signal);
	} else if (before.sa_handler != SIG_IGN) {
		before.sa_handler(signal);
	}
}

static void install(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigfillset(&action.sa_mask);
	sigaction(SIGBUS, &action, &before);
}

int lent_watch(uint8_t *memory, size_t size, bool *lost)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int slot = -1;

	pthread_once(&once, install);
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < LENT_MAX && slot < 0; i++)
		if (!lents[i].taken)
			slot = (int)i;
	if (slot >= 0) {
		lents[slot].taken = true;
		lents[slot].start = (uintptr_t)memory;
		lents[slot].lost = lost;
		__atomic_store_n(&lents[slot].size, size, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&lock);
	return slot;
}

void lent_forget(int slot)
{
	pthread_mutex_lock(&lock);
	__atomic_store_n(&lents[slot].size, 0, __ATOMIC_RELEASE);
	lents[slot].taken = false;
	pthread_mutex_unlock(&lock);
}
