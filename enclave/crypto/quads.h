/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_CRYPTO_QUADS_H
#define TRESOR_CRYPTO_QUADS_H

#include <stddef.h>
#include <stdint.h>

/* Host memory is moved in aligned quadwords only (INTEL-SA-00615, -00657): size is rounded up to 8. */
static inline void quads_move(void *to, const void *from, size_t size)
{
	size_t count = (size + 7) / 8;

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

/* One of them, into memory of the enclave: where vectors have other work, general registers have none. */
#define QUAD_MOVE(to, from) do { \
	uint64_t quad_; \
	__asm__ volatile("mov %2, %1\n\tmov %1, %0" \
			 : "=m"(*(uint64_t *)(void *)(to)), "=&r"(quad_) \
			 : "m"(*(const uint64_t *)(const void *)(from))); \
} while (0)

/*
 * 16 bytes of host memory into a register, each quadword loaded exactly once;
 * of two intrinsics the compiler may make one load of 16. _VEX is for
 * functions that use VEX. A store of a whole
 * register needs no such care: it is a multiple of 8 bytes and, as the address
 * is, aligned to 8.
 */
#define QUADS_LOAD_BY(low, high, p) ({ \
	const uint64_t *quads_ = (const uint64_t *)(const void *)(p); \
	__m128i loaded_; \
	__asm__(low : "=x"(loaded_) : "m"(quads_[0])); \
	__asm__(high : "+x"(loaded_) : "m"(quads_[1])); \
	loaded_; \
})
#define QUADS_LOAD(p)		QUADS_LOAD_BY("movq %1, %0", "movhps %1, %0", p)
#define QUADS_LOAD_VEX(p)	QUADS_LOAD_BY("vmovq %1, %0", "vmovhps %1, %0, %0", p)

#endif
