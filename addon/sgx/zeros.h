/* SPDX-License-Identifier: Apache-2.0 */
/* Whether reserved bytes are what the SDM wants of them. */
#ifndef TRESOR_ZEROS_H
#define TRESOR_ZEROS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool tresor_are_zeros(const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint8_t any = 0;

	while (size-- > 0)
		any |= *bytes++;
	return any == 0;
}

#endif
