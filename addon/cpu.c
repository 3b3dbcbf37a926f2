/* SPDX-License-Identifier: Apache-2.0 */
#include <cpuid.h>
#include <immintrin.h>
#include <node_api.h>

#include "abi/enclave.h"
#include "addon/addon.h"

__attribute__((target("xsave")))
static uint64_t read_xcr0(void)
{
	return _xgetbv(0);
}

/* What the CPU has and the kernel keeps the registers of. */
static napi_value cpu_features(napi_env env, napi_callback_info info)
{
	const uint32_t avx512_all = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
	unsigned int a, b, c, d, leaf1, found = 0;
	uint64_t xcr0 = 0;
	napi_value result;

	(void)info;
	if (__get_cpuid(1, &a, &b, &leaf1, &d) && (leaf1 & bit_OSXSAVE))
		xcr0 = read_xcr0();
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		const bool avx2 = (b & bit_AVX2) && (xcr0 & 0x6) == 0x6;
		const bool vaes = avx2 && (c & bit_VAES) && (c & bit_VPCLMULQDQ);

		found |= b & bit_SHA ? TRESOR_CPU_SHA : 0;
		found |= b & bit_RDSEED ? TRESOR_CPU_RDSEED : 0;
		found |= avx2 ? TRESOR_CPU_AVX2 : 0;
		found |= vaes ? TRESOR_CPU_VAES256 : 0;
		if (vaes && (b & avx512_all) == avx512_all && (xcr0 & 0xe6) == 0xe6)
			found |= TRESOR_CPU_VAES512;
	}
	napi_create_uint32(env, found, &result);
	return result;
}

void tresor_cpu_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "cpuFeatures", .method = cpu_features },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
