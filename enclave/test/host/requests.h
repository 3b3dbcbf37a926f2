/* SPDX-License-Identifier: Apache-2.0 */
/* Valid requests of each operation about one volume, for mutation.h to bend. */
#ifndef TEST_REQUESTS_H
#define TEST_REQUESTS_H

#include "machine.h"
#include "operations.h"

/* Of the volume. */
#define PASS "correct horse"

/* Where requests point: a piece of 512 KiB of the arena, `slot` 0 to 15. */
static inline uint8_t *place(uint32_t slot)
{
	return arena + ((size_t)slot << 19);
}

/* A created volume, an open handle of it and a legacy one, for requests to refer to. */
void requests_prepare(void);
/* A valid request with all it points to, in the arena. `sealed`: with a message that opens. */
void requests_template(uint32_t op, bool sealed, uint8_t request[REQUEST_MAX]);
/* Enters; closes a handle that came back; looks for keys in what the host can see when `scan`. */
uint32_t requests_enter(uint8_t request[REQUEST_MAX], bool scan);

#endif
