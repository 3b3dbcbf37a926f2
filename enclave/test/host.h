/* SPDX-License-Identifier: Apache-2.0 */
/* What the host's CPU offers, as the addon would tell the enclave. */
#ifndef TRESOR_TEST_HOST_H
#define TRESOR_TEST_HOST_H

#include <stdint.h>

#include "enclave.h"

static inline uint32_t host_features(void)
{
	uint32_t features = 0;

	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2"))
		features |= TRESOR_CPU_AVX2;
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq"))
		features |= TRESOR_CPU_VAES256;
	if ((features & TRESOR_CPU_VAES256) && __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
		features |= TRESOR_CPU_VAES512;
	uint32_t a = 7, b, c = 0, d;

	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	if (b >> 29 & 1)
		features |= TRESOR_CPU_SHA;
	if (!(c >> 9 & 1))
		features &= ~(TRESOR_CPU_VAES256 | TRESOR_CPU_VAES512);
	if (b >> 18 & 1)
		features |= TRESOR_CPU_RDSEED;
	return features;
}

#endif
