/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One opened store, a regular file or a block device, as all threads that do
 * I/O on it share it. Each has a queue of its own (queue.h).
 */
#ifndef TRESOR_DISK_DISK_H
#define TRESOR_DISK_DISK_H

#include <stdbool.h>
#include <stdint.h>

enum disk_engine {
	DISK_RING,	/* io_uring */
	DISK_POOL,	/* threads that call pread(2) and its like: where the kernel refuses io_uring */
};

struct disk {
	int cached;		/* descriptor, through the page cache */
	int direct;		/* with O_DIRECT; -1: the file system or device has none */
	bool regular;		/* a file, whose end a write could move */
	bool waits;		/* a submission may have to wait: it is the kernel's workers' */
	uint32_t block;		/* O_DIRECT: offsets and lengths in the store are multiples of it, memory is page aligned */
	bool only_ring;		/* asked for */
	/* Atomic. */
	enum disk_engine engine;	/* of the queues that are opened next */
	int refusal;		/* errno: why it is not io_uring; 0: it is, or the pool was asked for */
	int failed;		/* errno of a sync that failed; stays: what was written before may be lost */
	unsigned inflight;	/* requests under way in all queues */
	unsigned deepest;	/* the most there have been */
	unsigned stranded;	/* given up at a close: system calls that never ended, their memory stays */
	unsigned references;
};

enum disk_choice { DISK_CHOOSE, DISK_ONLY_RING, DISK_ONLY_POOL };

/*
 * Takes over both descriptors; `direct` may be -1. Tries io_uring by doing: a ring, its
 * operations, a submission that no disk can keep. One reference, the caller's.
 * NULL with errno (then the descriptors stay the caller's).
 */
struct disk *disk_open(int cached, int direct, enum disk_choice choice);
/* The ring was refused after all. */
void disk_use_pool(struct disk *disk, int refusal);
struct disk *disk_ref(struct disk *disk);
/* The last one closes the descriptors. */
void disk_unref(struct disk *disk);

/*
 * Whether a range may go past the page cache. What is written past it, many requests at once, must not be read or
 * written through it as well: a page that is filled meanwhile, as by the system's read-ahead, may keep the old bytes on FUSE
 * and block devices, and everywhere loses what goes past it when another part of it is written.
 */
bool disk_aligned(const struct disk *disk, uint64_t offset, uint64_t length);
/* Bytes: where a regular file ends, 0 where there is no telling; a device never does. */
uint64_t disk_end(const struct disk *disk);
/* Whether [offset, offset + length) lies before it. */
bool disk_holds(const struct disk *disk, uint64_t offset, uint64_t length);

enum disk_cached { DISK_UNTOLD, DISK_UNCACHED, DISK_CACHED };
/*
 * Whether the page cache has all of the range now, without reading it, as preadv2(2) with RWF_NOWAIT would:
 * cachestat(2), since Linux 6.5. Before, there is no telling.
 */
enum disk_cached disk_caches(int cached, uint64_t offset, uint64_t length);

/*
 * A look by RWF_NOWAIT that finds nothing starts to read from the disk, and who then reads past the page cache reads it
 * twice. So after a miss it is asked first, by a call that costs all that are cached a little.
 */
struct disk_look {
	uint32_t first;		/* so many reads ask what is cached before they read */
};
/* disk_caches, or DISK_UNTOLD: not asked. */
enum disk_cached disk_look(struct disk_look *look, int cached, uint64_t offset, uint64_t length);
void disk_missed(struct disk_look *look);

#endif
