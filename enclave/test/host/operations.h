/* SPDX-License-Identifier: Apache-2.0 */
/* What a hostile host can bend in the request of each operation: fields that are addresses, and fields that cost. */
#ifndef TEST_OPERATIONS_H
#define TEST_OPERATIONS_H

#include <stddef.h>
#include <stdint.h>
#include "enclave.h"

#define OPERATIONS	(TRESOR_OP_FINISH + 1)	/* 0 is none, too */
#define REQUEST_MAX	1024u	/* bytes, more than the largest */

struct operation {
	const char *name;
	uint32_t size;
	/* Lists of offset + 1, ended by 0. */
	uint16_t addresses[8];	/* u64 host addresses */
	uint16_t costs[8];	/* u32 counts that buy time or memory */
	uint32_t array;		/* size of the elements some address leads to, 0: none */
	uint16_t array_at;	/* offset of that address */
	uint16_t element_addresses[3], element_costs[5];
};
extern const struct operation operations[OPERATIONS];

#endif
