/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes shared by the linker script, entry.S and C. ENCLAVE_SIZE: enclave.conf. */
#ifndef TRESOR_LAYOUT_H
#define TRESOR_LAYOUT_H

#define PAGE_SIZE	0x1000
#define GUARD_SIZE	0x10000
/* check-stack.py proves that no call chain needs more. */
#define STACK_SIZE	0x18000
/* Per thread, for the range or block array of one request; holds nothing secret. */
#define SCRATCH_SIZE	0x4000
#define HEAP_SIZE	0x6000000	/* 96 MiB */
#define DYNAMIC_SIZE	0x42000000	/* 1056 MiB: 1 GiB of Argon2 and two 8 MiB secrets */
/* Stack wiped after SECTORS, BLOCKS and CLOSE; check-stack.py proves it enough. */
#define SHALLOW_STACK	0x1000

#endif
