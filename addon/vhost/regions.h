/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's memory as its front-end shares it: file descriptors, and where each lies for the guest and for the
 * front-end. Everything in it is checked once, at regions_map; what lies in the memory changes at any time.
 */
#ifndef TRESOR_VHOST_REGIONS_H
#define TRESOR_VHOST_REGIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define REGIONS_MAX	8u	/* of VHOST_USER_SET_MEM_TABLE */
/* All together: what a host's page tables and the address space bear. */
#define REGIONS_SIZE	(1ull << 44)

/* As the message has it. */
struct region_row {
	uint64_t guest;		/* address of the guest's: descriptors have those */
	uint64_t size;
	uint64_t user;		/* address of the front-end's: the places of rings are those */
	uint64_t offset;	/* in the file */
};

/* A file of another process's, mapped. */
struct lent_map {
	uint8_t *memory;	/* of `offset` */
	uint8_t *map;
	size_t size;		/* of the map */
	int slot;		/* of lent.h */
	bool sealed;		/* nobody can cut the file off */
};

/*
 * Only memory: files of tmpfs and hugetlbfs, memfd(2) among them. Another file system's could let a fault wait
 * for ever. 0 or an errno: EINVAL, also when the file ends before. `lost`: see lent_watch.
 */
int lent_map(struct lent_map *lent, int fd, uint64_t offset, uint64_t size, bool *lost);
void lent_unmap(struct lent_map *lent);

struct regions;

/* The descriptors stay the caller's. NULL with errno. */
struct regions *regions_map(const int *fds, const struct region_row *rows, uint32_t count);
void regions_unmap(struct regions *regions);

/* The front-end took some of it away: nothing in it means anything any more. */
bool regions_lost(const struct regions *regions);
/* Whether nothing of it can be taken away, so that an enclave may work in it. */
bool regions_sealed(const struct regions *regions);

/* `size` bytes at a front-end's address, in one region and so aligned; NULL: they are not. */
uint8_t *regions_user(const struct regions *regions, uint64_t address, uint64_t size, uint64_t alignment);
/*
 * `size` bytes at a guest's address, which may go on from region to region, put after the `count` pieces that there
 * are. False: some are outside, or there would be more than `room` pieces.
 */
bool regions_guest(const struct regions *regions, uint64_t address, uint64_t size, struct iovec *pieces,
		   uint32_t *count, uint32_t room);

#endif
