/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that a start makes, in the place of which the linker puts these (faults.h): refused where `refusals` says so. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "addon/test/disk/faults.h"

#ifndef SYS_cachestat
#define SYS_cachestat	451
#endif

struct refusals refusals;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

static int refusal_of(long number, unsigned operation)
{
	if (number == SYS_io_uring_setup)
		return refusals.setup;
	if (number == SYS_cachestat)
		return refusals.cachestat;
	if (number != SYS_io_uring_register)
		return 0;
	switch (operation) {
	case IORING_REGISTER_PROBE:
		return refusals.probe;
	case IORING_REGISTER_FILES:
		return refusals.files;
	case IORING_REGISTER_BUFFERS:
		return refusals.buffers;
	case IORING_REGISTER_SYNC_CANCEL:
		return refusals.cancel;
	default:
		return 0;
	}
}

long __wrap_syscall(long number, ...)
{
	long arguments[6];
	va_list list;
	int refusal;

	va_start(list, number);
	for (unsigned i = 0; i < 6; i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	refusal = refusal_of(number, (unsigned)arguments[1]);
	if (refusal != 0) {
		errno = refusal;
		return -1;
	}
	if (number == SYS_cachestat && (refusals.cached || refusals.uncached)) {
		uint64_t *found = (uint64_t *)(uintptr_t)arguments[2];

		found[0] = refusals.cached ? UINT64_MAX : 0;
		return 0;
	}
	return __real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
			      arguments[5]);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
	if (refusals.thread != 0) {
		if (refusals.threads == 0)
			return refusals.thread;
		refusals.threads--;
	}
	return __real_pthread_create(thread, attributes, run, argument);
}

/* GCC 12's TSan knows pthread_join(3) only. */
int __wrap_pthread_clockjoin_np(pthread_t thread, void **result, clockid_t clock, const struct timespec *deadline);

int __wrap_pthread_clockjoin_np(pthread_t thread, void **result, clockid_t clock, const struct timespec *deadline)
{
	(void)clock;
	(void)deadline;
	return pthread_join(thread, result);
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool allocation_refused(void)
{
	unsigned left = __atomic_load_n(&refusals.allocation, __ATOMIC_RELAXED);

	while (left > 0 && !__atomic_compare_exchange_n(&refusals.allocation, &left, left - 1, false, __ATOMIC_RELAXED,
							__ATOMIC_RELAXED))
		;
	return left == 1;
}

void *__wrap_malloc(size_t size)
{
	if (!allocation_refused())
		return __real_malloc(size);
	errno = ENOMEM;
	return NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
	if (!allocation_refused())
		return __real_calloc(count, size);
	errno = ENOMEM;
	return NULL;
}

int __wrap_eventfd(unsigned count, int flags)
{
	if (refusals.eventfd == 0)
		return __real_eventfd(count, flags);
	errno = refusals.eventfd;
	return -1;
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list list;
	unsigned mode;

	va_start(list, flags);
	mode = va_arg(list, unsigned);
	va_end(list);
	if (refusals.control && strcmp(path, "/dev/ublk-control") == 0)
		return memfd_create("ublk-control", MFD_CLOEXEC);
	if (refusals.reopen == 0 || strncmp(path, "/proc/self/fd/", 14) != 0)
		return __real_open(path, flags, mode);
	errno = refusals.reopen;
	return -1;
}
