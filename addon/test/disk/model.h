/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store may hold, in units of 512 bytes: what was acknowledged last, or,
 * where a write has failed since, what that one wrote.
 */
#ifndef TRESOR_TEST_DISK_MODEL_H
#define TRESOR_TEST_DISK_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNIT	512u

struct model;

/* All zeros. */
struct model *model_new(uint64_t size);
void model_free(struct model *model);

/* Fills memory as write number `id` does at `offset`; 0 fills zeros. */
void model_fill(uint8_t *memory, uint64_t offset, uint32_t length, uint64_t id);
/* The write was acknowledged: nothing else is there. */
void model_done(struct model *model, uint64_t offset, uint32_t length, uint64_t id);
/* It failed: it may be there, or in part. */
void model_may(struct model *model, uint64_t offset, uint32_t length, uint64_t id);
/* Whether it has room for one more failure there. */
bool model_room(const struct model *model, uint64_t offset, uint32_t length);
/* Whether memory is what a read may give. */
bool model_allows(const struct model *model, const uint8_t *memory, uint64_t offset, uint32_t length);

#endif
