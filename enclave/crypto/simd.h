/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrinsics without a libc. Functions name the instructions they use in a
 * target attribute, so that the rest of the enclave stays free of VEX.
 */
#ifndef TRESOR_CRYPTO_SIMD_H
#define TRESOR_CRYPTO_SIMD_H

/* immintrin.h would declare malloc by way of mm_malloc.h: gcc's guard, then clang's. */
#define _MM_MALLOC_H_INCLUDED
#define __MM_MALLOC_H
#include <immintrin.h>

#define TARGET(features)	__attribute__((target(features)))
#define INLINE			static inline __attribute__((always_inline))
#define UNROLL			_Pragma("GCC unroll 16")

/* Loads and stores without alignment; the casts are intrinsics' only impurity. */
#define LOAD128(p)	_mm_loadu_si128((const __m128i *)(const void *)(p))
#define STORE128(p, v)	_mm_storeu_si128((__m128i *)(void *)(p), v)

#endif
