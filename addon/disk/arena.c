/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/arena.h"

#include <stdlib.h>
#include <string.h>

#define PAGES	32u	/* of a piece */

bool arena_open(struct arena *arena, uint8_t *memory, size_t size)
{
	const size_t pieces = size / ARENA_PIECE;

	*arena = (struct arena){ 0 };
	arena->free = malloc(pieces * sizeof(*arena->free));
	if (arena->free == NULL)
		return false;
	memset(arena->free, 0xff, pieces * sizeof(*arena->free));
	arena->memory = memory;
	arena->size = size;
	return true;
}

void arena_close(struct arena *arena)
{
	if (arena->dirty)
		explicit_bzero(arena->memory, arena->reach);
	free(arena->free);
	*arena = (struct arena){ 0 };
}

static uint32_t mask_of(uint32_t pages)
{
	return pages == PAGES ? UINT32_MAX : (1u << pages) - 1;
}

static uint8_t *take_of(struct arena *arena, uint32_t piece, uint32_t pages)
{
	const uint32_t mask = mask_of(pages);

	for (uint32_t at = 0; at + pages <= PAGES; at++) {
		if ((arena->free[piece] >> at & mask) != mask)
			continue;
		arena->free[piece] &= ~(mask << at);
		arena->hint = piece;
		arena->used += pages;
		if (arena->reach < (size_t)(piece + 1) * ARENA_PIECE)
			arena->reach = (size_t)(piece + 1) * ARENA_PIECE;
		arena->dirty = true;
		return arena->memory + (size_t)piece * ARENA_PIECE + (size_t)at * ARENA_PAGE;
	}
	return NULL;
}

uint8_t *arena_take(struct arena *arena, size_t length)
{
	const uint32_t pieces = (uint32_t)(arena->size / ARENA_PIECE);
	const uint32_t pages = (uint32_t)((length + ARENA_PAGE - 1) / ARENA_PAGE);

	if (pages == 0 || pages > PAGES)
		return NULL;
	for (uint32_t i = 0; i < pieces; i++) {
		const uint32_t piece = (arena->hint + i) % pieces;
		uint8_t *memory = arena->free[piece] == 0 ? NULL : take_of(arena, piece, pages);

		if (memory != NULL)
			return memory;
	}
	return NULL;
}

void arena_give(struct arena *arena, uint8_t *memory, size_t length)
{
	const size_t page = (size_t)(memory - arena->memory) / ARENA_PAGE;
	const uint32_t pages = (uint32_t)((length + ARENA_PAGE - 1) / ARENA_PAGE);

	arena->free[page / PAGES] |= mask_of(pages) << page % PAGES;
	arena->used -= pages;
	if (arena->hint > page / PAGES)
		arena->hint = (uint32_t)(page / PAGES);
}

void arena_wipe(struct arena *arena)
{
	if (!arena->dirty)
		return;
	for (uint32_t piece = 0; piece < arena->reach / ARENA_PIECE; piece++)
		for (uint32_t at = 0; at < PAGES; at++)
			if (arena->free[piece] >> at & 1)
				explicit_bzero(arena->memory + (size_t)piece * ARENA_PIECE + (size_t)at * ARENA_PAGE,
					       ARENA_PAGE);
	arena->dirty = arena->used > 0;
	if (!arena->dirty)
		arena->reach = 0;
}
