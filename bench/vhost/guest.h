/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a guest that does not exist: memfds mapped side by side, so that a buffer may lie in two regions, and
 * a guest address is a pointer moved by a constant.
 */
#ifndef BENCH_VHOST_GUEST_H
#define BENCH_VHOST_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol.h"

#define GUEST_BASE	0x100000000ull

struct guest {
	uint8_t *memory;
	uint64_t size, taken;
	unsigned regions;
	int files[REGIONS_MAX];
};

/* `size` is shared out among the regions; sealed ones keep it, as QEMU's do. A negative errno when the system refuses. */
int guest_new(struct guest *guest, unsigned regions, uint64_t size, bool sealed);
void guest_free(struct guest *guest);

/* Ends the program when there is no room: whoever asks has asked guest_new() for too little. */
void *guest_take(struct guest *guest, uint64_t size, uint64_t alignment);
/* In one region: rings and tables of descriptors. */
void *guest_take_whole(struct guest *guest, uint64_t size, uint64_t alignment);

static inline uint64_t guest_address(const struct guest *guest, const void *memory)
{
	return GUEST_BASE + (uint64_t)((const uint8_t *)memory - guest->memory);
}

/* As it is announced to a back-end. */
struct region guest_region(const struct guest *guest, unsigned index);

#endif
