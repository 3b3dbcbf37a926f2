/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "addon/disk/uring.h"

#define PAGE	4096u

/* Debian 12's headers are older than the call: include/uapi/linux/mman.h, the same number on every architecture. */
#ifndef SYS_cachestat
#define SYS_cachestat	451
#endif
struct cachestat_range {
	uint64_t off, len;
};
struct cachestat {
	uint64_t nr_cache, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted;
};

/* Submits to a ring of its own what waits for no disk. 0, or the errno of what failed. */
static int try_ring(void)
{
	static const uint8_t needed[] = { IORING_OP_READ,	 IORING_OP_WRITE, IORING_OP_READ_FIXED,
					  IORING_OP_WRITE_FIXED, IORING_OP_FSYNC, IORING_OP_FALLOCATE };
	const struct io_uring_cqe *end;
	struct uring ring;
	int error = uring_open(&ring, 4, false);

	if (error != 0)
		return -error;
	if (!uring_knows(&ring, needed, sizeof(needed))) {
		uring_close(&ring);
		return EOPNOTSUPP;
	}
	uring_sqe(&ring)->opcode = IORING_OP_NOP;
	/* A signal ends it early: with EINTR, or without an error once the entry was taken. */
	do {
		error = uring_enter(&ring, 1);
		end = uring_peek(&ring);
	} while (end == NULL && (error == 0 || error == -EINTR));
	if (end != NULL)
		error = end->res;
	uring_close(&ring);
	return -error;
}

/* What O_DIRECT wants offsets and lengths to be multiples of; 0: it is not possible. */
static uint32_t direct_block(int fd)
{
	int sector = 0;

#ifdef STATX_DIOALIGN
	struct statx statx_;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &statx_) == 0 && (statx_.stx_mask & STATX_DIOALIGN))
		return statx_.stx_dio_mem_align > PAGE ? 0 : statx_.stx_dio_offset_align;
#endif
	if (ioctl(fd, BLKSSZGET, &sector) == 0)
		return (uint32_t)sector;
	/* Fits the logical block of every device below a file system. */
	return PAGE;
}

struct disk *disk_open(int cached, int direct, enum disk_choice choice)
{
	struct disk *disk = calloc(1, sizeof(*disk));
	struct statfs file_system;
	struct stat stat;

	if (disk == NULL)
		return NULL;
	*disk = (struct disk){ .cached = cached, .direct = direct, .references = 1 };
	if (fstat(cached, &stat) != 0)
		goto fail;
	disk->regular = S_ISREG(stat.st_mode);
	/*
	 * FUSE takes a dozen requests with O_DIRECT and lets the next one wait for an answer, io_uring's too
	 * (Linux 6.18, fuse_get_req).
	 */
	disk->waits = disk->regular && fstatfs(cached, &file_system) == 0 && file_system.f_type == FUSE_SUPER_MAGIC;
	disk->block = direct < 0 ? 0 : direct_block(direct);
	if (disk->block == 0)
		disk->direct = -1;
	disk->refusal = choice == DISK_ONLY_POOL ? 0 : try_ring();
	disk->engine = choice == DISK_ONLY_POOL || disk->refusal != 0 ? DISK_POOL : DISK_RING;
	disk->only_ring = choice == DISK_ONLY_RING;
	if (disk->only_ring && disk->refusal != 0) {
		errno = disk->refusal;
		goto fail;
	}
	if (disk->direct < 0 && direct >= 0)
		close(direct);
	return disk;
fail:
	free(disk);
	return NULL;
}

void disk_use_pool(struct disk *disk, int refusal)
{
	__atomic_store_n(&disk->refusal, refusal, __ATOMIC_RELAXED);
	__atomic_store_n(&disk->engine, DISK_POOL, __ATOMIC_RELEASE);
}

struct disk *disk_ref(struct disk *disk)
{
	__atomic_fetch_add(&disk->references, 1, __ATOMIC_RELAXED);
	return disk;
}

void disk_unref(struct disk *disk)
{
	if (__atomic_fetch_sub(&disk->references, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	close(disk->cached);
	if (disk->direct >= 0)
		close(disk->direct);
	free(disk);
}

bool disk_aligned(const struct disk *disk, uint64_t offset, uint64_t length)
{
	return disk->direct >= 0 && (offset | length) % disk->block == 0;
}

uint64_t disk_end(const struct disk *disk)
{
	struct statx found;

	if (!disk->regular)
		return UINT64_MAX;
	/* Who asks must not wait: a filesystem that asks a server (FUSE) answers with what it knows. */
	if (statx(disk->cached, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &found) != 0)
		return 0;
	return found.stx_size;
}

bool disk_holds(const struct disk *disk, uint64_t offset, uint64_t length)
{
	const uint64_t end = disk_end(disk);

	return length <= end && offset <= end - length;
}

enum disk_cached disk_caches(int cached, uint64_t offset, uint64_t length)
{
	struct cachestat_range range = { .off = offset, .len = length };
	const uint64_t pages = (offset + length + PAGE - 1) / PAGE - offset / PAGE;
	struct cachestat found;

	if (syscall(SYS_cachestat, cached, &range, &found, 0) != 0)
		return DISK_UNTOLD;
	return found.nr_cache >= pages ? DISK_CACHED : DISK_UNCACHED;
}

/* Reads after a miss. */
#define LOOKS	1024u

enum disk_cached disk_look(struct disk_look *look, int cached, uint64_t offset, uint64_t length)
{
	if (look->first == 0)
		return DISK_UNTOLD;
	look->first--;
	return disk_caches(cached, offset, length);
}

void disk_missed(struct disk_look *look)
{
	look->first = LOOKS;
}
