/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_SLAB_H
#define TRESOR_SLAB_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Page-aligned memory shared by a channel, its ArrayBuffer and the disk
 * requests on it; pages are committed when touched. Reference counted, since
 * each of the three may be the last to let go. Main thread only.
 */
struct slab {
	uint8_t *memory;
	size_t size;
};

uint8_t *slab_new(size_t size);		/* one reference; NULL: out of memory */
uint8_t *slab_new_huge(size_t size);	/* the same, by huge_map: for who gives it to a disk */
void slab_ref(uint8_t *memory);
void slab_unref(uint8_t *memory);
void slab_finalize(napi_env env, void *memory, void *hint);

/* Whole, non-negative and inside. */
static inline bool slab_holds(const struct slab *slab, double at, double length)
{
	return at >= 0 && length >= 0 && at <= (double)slab->size && length <= (double)slab->size - at;
}

/* A Float64Array of at least rows * columns; NULL when it is none. */
double *slab_table(napi_env env, napi_value array, uint32_t rows, uint32_t columns);

#endif
