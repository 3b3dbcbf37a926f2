/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for requests under way, handed out by pages. One thread's.
 */
#ifndef TRESOR_DISK_ARENA_H
#define TRESOR_DISK_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_PAGE	4096u
/* In one piece, at most. */
#define ARENA_PIECE	(32u * ARENA_PAGE)

struct arena {
	uint8_t *memory;
	size_t size;		/* a multiple of ARENA_PIECE */
	uint32_t *free;		/* a bit a page, by pieces */
	uint32_t hint;		/* a piece that may have room; lower ones are full, or nearly */
	size_t reach;		/* bytes from the start; what lies behind was not handed out since the last wipe that found all free */
	uint32_t used;		/* pages */
	bool dirty;		/* something was handed out since the last wipe */
};

/* Over page-aligned memory of the caller's. False: no memory for the books. */
bool arena_open(struct arena *arena, uint8_t *memory, size_t size);
/* Wipes the memory, which is the caller's again. */
void arena_close(struct arena *arena);
/* `length` 1 to ARENA_PIECE; whole pages in one piece, low ones first. NULL: no room now. */
uint8_t *arena_take(struct arena *arena, size_t length);
void arena_give(struct arena *arena, uint8_t *memory, size_t length);
/* Wipes what nobody has. */
void arena_wipe(struct arena *arena);

#endif
