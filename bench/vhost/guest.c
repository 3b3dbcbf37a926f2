/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE	4096ull

/* A region begins this far into its file times its number: a back-end that forgets the offset reads nothing right. */
#define LEAD	(16 * PAGE)

static uint64_t region_size(const struct guest *guest)
{
	return guest->size / guest->regions;
}

int guest_new(struct guest *guest, unsigned regions, uint64_t size, bool sealed)
{
	const uint64_t each = (size / regions + PAGE - 1) & ~(PAGE - 1);

	*guest = (struct guest){ .size = each * regions, .regions = regions };
	for (unsigned i = 0; i < REGIONS_MAX; i++)
		guest->files[i] = -1;
	guest->memory = mmap(NULL, guest->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (guest->memory == MAP_FAILED) {
		guest->memory = NULL;
		return -errno;
	}
	for (unsigned i = 0; i < regions; i++) {
		guest->files[i] = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (guest->files[i] < 0 || ftruncate(guest->files[i], (off_t)(i * LEAD + each)) != 0 ||
		    (sealed && fcntl(guest->files[i], F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) ||
		    mmap(guest->memory + i * each, each, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE,
			 guest->files[i], (off_t)(i * LEAD)) == MAP_FAILED) {
			const int error = errno;

			guest_free(guest);
			return -error;
		}
	}
	return 0;
}

void guest_free(struct guest *guest)
{
	for (unsigned i = 0; i < guest->regions; i++)
		if (guest->files[i] >= 0)
			close(guest->files[i]);
	if (guest->memory != NULL)
		munmap(guest->memory, guest->size);
	guest->memory = NULL;
	guest->regions = 0;
}

void *guest_take(struct guest *guest, uint64_t size, uint64_t alignment)
{
	const uint64_t at = (guest->taken + alignment - 1) & ~(alignment - 1);

	if (at + size > guest->size) {
		fprintf(stderr, "the guest has no room for %llu bytes\n", (unsigned long long)size);
		abort();
	}
	guest->taken = at + size;
	return guest->memory + at;
}

void *guest_take_whole(struct guest *guest, uint64_t size, uint64_t alignment)
{
	const uint64_t region = region_size(guest), from = guest->taken / region,
		       to = (guest->taken + alignment + size) / region;

	if (from != to)
		guest->taken = to * region;
	return guest_take(guest, size, alignment);
}

struct region guest_region(const struct guest *guest, unsigned index)
{
	const uint64_t size = region_size(guest), at = index * size;

	return (struct region){ GUEST_BASE + at, size, (uintptr_t)guest->memory + at, index * LEAD };
}
