/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/sgx/secret_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

#define PAGE	4096u

const char *tresor_memory_name(enum tresor_memory kind)
{
	static const char *const names[] = { "plain", "mlock", "memfd_secret" };

	return names[kind];
}

/*
 * Locked memory counts against a limit that is often far below what is needed.
 * Returns whether `size` fits: kernels that charge memfd_secret page by page
 * (6.1.192 is one) let root map more, and end its use with SIGBUS.
 */
static bool raise_limit(size_t size)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0)
		return true;
	if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
		return false;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &limit);
	return limit.rlim_cur >= size;
}

int tresor_secret_fault(void)
{
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static void *map_memfd_secret(size_t size)
{
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	void *map = MAP_FAILED;
	int cause;

	if (fd < 0)
		return MAP_FAILED;
	if (ftruncate(fd, (off_t)size) == 0)
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cause = errno;
	close(fd);
	errno = cause;
	return map;
}

static void *map_ordinary(size_t size, enum tresor_memory least, enum tresor_memory *kind)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return map;
	*kind = TRESOR_MEMORY_MLOCK;
	if (mlock2(map, size, MLOCK_ONFAULT) == 0)
		return map;
	*kind = TRESOR_MEMORY_PLAIN;
	if (least == TRESOR_MEMORY_PLAIN)
		return map;
	munmap(map, size);
	return MAP_FAILED;
}

void *tresor_secret_map(void *at, size_t size, enum tresor_memory least, enum tresor_memory *kind)
{
	void *map, *moved;

	*kind = TRESOR_MEMORY_SECRET;
	map = raise_limit(size) ? map_memfd_secret(size) : MAP_FAILED;
	if (map == MAP_FAILED && least != TRESOR_MEMORY_SECRET)
		map = map_ordinary(size, least, kind);
	if (map == MAP_FAILED)
		return NULL;
	madvise(map, size, MADV_DONTDUMP);
	madvise(map, size, MADV_DONTFORK);
	if (at == NULL)
		return map;
	/*
	 * Moved and not mapped in place: an mmap over the reservation that fails
	 * half way would leave a hole for another thread's mapping.
	 */
	moved = mremap(map, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, at);
	if (moved != MAP_FAILED)
		return moved;
	munmap(map, size);
	return NULL;
}

void tresor_secret_populate(void *at, size_t size)
{
	for (size_t i = 0; i < size; i += PAGE)
		((volatile uint8_t *)at)[i] = 0;
}

/* The kernel clears memfd_secret pages when it frees them; anonymous ones only before it hands them on. */
static void wipe_resident(uint8_t *at, size_t size)
{
	unsigned char resident[256];

	for (size_t start = 0; start < size; start += sizeof(resident) * PAGE) {
		size_t length = size - start < sizeof(resident) * PAGE ? size - start : sizeof(resident) * PAGE;

		if (mincore(at + start, length, resident) != 0)
			memset(resident, 1, sizeof(resident));
		for (size_t i = 0; i < length / PAGE; i++) {
			if (resident[i] & 1)
				explicit_bzero(at + start + i * PAGE, PAGE);
		}
	}
}

void tresor_secret_drop(void *at, size_t size, enum tresor_memory kind)
{
	if (kind != TRESOR_MEMORY_SECRET)
		wipe_resident(at, size);
	mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}
