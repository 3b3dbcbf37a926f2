/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_RANGE_H
#define TRESOR_RANGE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reserves ELRANGE and `below` bytes (whole pages) in front of it, all of it
 * inaccessible. ECREATE wants the base aligned to the size, a power of two.
 * Returns the base; NULL with errno.
 */
uint8_t *tresor_reserve_range(uint64_t size, size_t below);

#endif
