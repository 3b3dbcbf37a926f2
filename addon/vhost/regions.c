/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/vhost/regions.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "addon/vhost/lent.h"

#define PAGE	4096u

struct region {
	struct region_row row;
	struct lent_map lent;
};

struct regions {
	uint32_t count;
	bool lost;	/* atomic; see lent_watch */
	struct region region[REGIONS_MAX];
};

/* What offsets and lengths of a mapping are multiples of; 0: no memory. */
static uint64_t page_of(int fd)
{
	struct statfs system;

	if (fstatfs(fd, &system) != 0)
		return 0;
	if ((uint32_t)system.f_type == HUGETLBFS_MAGIC)
		return (uint64_t)system.f_bsize;
	return (uint32_t)system.f_type == TMPFS_MAGIC ? PAGE : 0;
}

int lent_map(struct lent_map *lent, int fd, uint64_t offset, uint64_t size, bool *lost)
{
	const uint64_t page = page_of(fd);
	const int seals = fcntl(fd, F_GET_SEALS);
	uint64_t start, end;
	struct stat stat;
	void *map;

	*lent = (struct lent_map){ .slot = -1 };
	if (page == 0 || fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) || size == 0 || size > REGIONS_SIZE ||
	    offset > (uint64_t)stat.st_size || size > (uint64_t)stat.st_size - offset)
		return EINVAL;
	start = offset / page * page;
	end = (offset + size + page - 1) / page * page;
	map = mmap(NULL, end - start, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)start);
	if (map == MAP_FAILED)
		return errno;
	/* A guest's memory is no part of our dumps. */
	madvise(map, end - start, MADV_DONTDUMP);
	madvise(map, end - start, MADV_DONTFORK);
	lent->map = map;
	lent->size = end - start;
	lent->memory = lent->map + (offset - start);
	lent->sealed = seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
	lent->slot = lent_watch(lent->map, lent->size, lost);
	if (lent->slot >= 0)
		return 0;
	munmap(map, lent->size);
	lent->map = NULL;
	return ENFILE;
}

void lent_unmap(struct lent_map *lent)
{
	if (lent->map == NULL)
		return;
	lent_forget(lent->slot);
	munmap(lent->map, lent->size);
	lent->map = NULL;
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static bool rows_fit(const struct region_row *rows, uint32_t count)
{
	uint64_t sum = 0;

	if (count == 0 || count > REGIONS_MAX)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const struct region_row *row = &rows[i];

		/* Ends below 2^64, so that sums of addresses in it do not overflow. */
		if (row->size == 0 || row->size > REGIONS_SIZE || row->guest >= UINT64_MAX - row->size ||
		    row->user >= UINT64_MAX - row->size || row->offset >= INT64_MAX - row->size)
			return false;
		sum += row->size;
		for (uint32_t j = 0; j < i; j++)
			if (overlap(row->guest, row->size, rows[j].guest, rows[j].size) ||
			    overlap(row->user, row->size, rows[j].user, rows[j].size))
				return false;
	}
	return sum <= REGIONS_SIZE;
}

struct regions *regions_map(const int *fds, const struct region_row *rows, uint32_t count)
{
	struct regions *regions;

	if (!rows_fit(rows, count)) {
		errno = EINVAL;
		return NULL;
	}
	regions = calloc(1, sizeof(*regions));
	if (regions == NULL)
		return NULL;
	for (uint32_t i = 0; i < count; i++) {
		struct region *region = &regions->region[i];
		const int error = lent_map(&region->lent, fds[i], rows[i].offset, rows[i].size, &regions->lost);

		if (error != 0) {
			regions_unmap(regions);
			errno = error;
			return NULL;
		}
		region->row = rows[i];
		regions->count++;
	}
	return regions;
}

void regions_unmap(struct regions *regions)
{
	if (regions == NULL)
		return;
	for (uint32_t i = 0; i < regions->count; i++)
		lent_unmap(&regions->region[i].lent);
	free(regions);
}

bool regions_lost(const struct regions *regions)
{
	return __atomic_load_n(&regions->lost, __ATOMIC_ACQUIRE);
}

bool regions_sealed(const struct regions *regions)
{
	for (uint32_t i = 0; i < regions->count; i++)
		if (!regions->region[i].lent.sealed)
			return false;
	return true;
}

uint8_t *regions_user(const struct regions *regions, uint64_t address, uint64_t size, uint64_t alignment)
{
	for (uint32_t i = 0; i < regions->count; i++) {
		const struct region *region = &regions->region[i];
		const uint64_t at = address - region->row.user;
		uint8_t *memory = region->lent.memory + at;

		if (at < region->row.size && size <= region->row.size - at)
			return (uintptr_t)memory % alignment == 0 ? memory : NULL;
	}
	return NULL;
}

static const struct region *region_at(const struct regions *regions, uint64_t address)
{
	for (uint32_t i = 0; i < regions->count; i++)
		if (address - regions->region[i].row.guest < regions->region[i].row.size)
			return &regions->region[i];
	return NULL;
}

bool regions_guest(const struct regions *regions, uint64_t address, uint64_t size, struct iovec *pieces,
		   uint32_t *count, uint32_t room)
{
	while (size > 0) {
		const struct region *region = region_at(regions, address);
		uint64_t at, length;

		if (region == NULL || *count == room)
			return false;
		at = address - region->row.guest;
		length = size < region->row.size - at ? size : region->row.size - at;
		pieces[(*count)++] = (struct iovec){ region->lent.memory + at, length };
		/* No region ends at 2^64. */
		address += length;
		size -= length;
	}
	return true;
}
