/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_HEAP_H
#define TRESOR_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The one heap: for passphrases, keyslot areas and KDF memory. It has one
 * tenant at a time; between take and give it is the tenant's alone.
 *
 * Contents are the host's choice at first (the pages are added without being
 * measured) and are never assumed zero.
 */

/* HELLO only: how much dynamic heap the host says it can add. */
void tresor_heap_init(uint64_t dynamic_size);
/* Bytes a tenant can have in all. */
uint64_t tresor_heap_size(void);

bool tresor_heap_take(void) __attribute__((warn_unused_result));
/* 64-byte aligned; NULL when there is not that much. */
void *tresor_heap_alloc(uint64_t size) __attribute__((warn_unused_result));
/* Wipes and frees everything allocated at or after `from`. */
void tresor_heap_free_from(void *from);
/* The same for memory that is zero already. */
void tresor_heap_drop_from(void *from);
/* Wipes whatever is allocated, and leaves. */
void tresor_heap_give(void);

#endif
