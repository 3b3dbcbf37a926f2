/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_MAIN_H
#define TRESOR_MAIN_H

#include <stdint.h>

/* RAX and RDX as entry.S takes them. */
struct tresor_exit {
	uint64_t status;	/* enum tresor_status */
	uint64_t wipe;		/* bytes of stack that may hold secrets, a multiple of 8 */
};

struct tresor_exit tresor_main(uint64_t address, void *scratch);

#endif
