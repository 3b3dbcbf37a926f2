/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_BOUNDARY_H
#define TRESOR_BOUNDARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Host memory. An address the host gave is a uint64_t and never a pointer:
 * forgetting to copy is a compile error instead of a double fetch.
 */

/*
 * Whether [address, address + size) is 8-byte aligned, lies between the first
 * page and the upper half of the address space and, rounded up to quadwords,
 * shares no byte with ELRANGE. False for size 0. Whoever uses the address itself
 * calls tresor_boundary_fence after the branch on the answer.
 */
bool tresor_boundary_outside(uint64_t address, uint64_t size) __attribute__((warn_unused_result));

/*
 * Ends speculation: on the admitted side of the branch that tested an address,
 * so that a mispredicted branch reads nothing of the enclave through it. A fence
 * before the branch would not do.
 */
static inline void tresor_boundary_fence(void)
{
	__asm__ volatile("lfence" : : : "memory");
}

/*
 * Copy between the enclave and the host, in aligned quadwords on the host's
 * side (INTEL-SA-00615, INTEL-SA-00657): the host's buffer reaches to the next
 * multiple of 8, and what lies there past size is ignored or set to zero.
 * False, and nothing moved, unless tresor_boundary_outside.
 */
bool tresor_boundary_read(void *to, uint64_t from, uint64_t size) __attribute__((warn_unused_result));
bool tresor_boundary_write(uint64_t to, const void *from, uint64_t size) __attribute__((warn_unused_result));

#endif
