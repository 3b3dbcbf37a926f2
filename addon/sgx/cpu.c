/* SPDX-License-Identifier: Apache-2.0 */
#include <cpuid.h>
#include <immintrin.h>
#include <stdbool.h>

#include "abi/enclave.h"
#include "addon/addon.h"
#include "addon/napi/values.h"

static __attribute__((target("xsave"))) uint64_t read_xcr0(void)
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

/* SDM vol. 3D, "Intel SGX Resource Enumeration Leaves": CPUID.(12H,2) and on, to the first that is none. */
static double epc_bytes(void)
{
	unsigned int a, b, c, d;
	uint64_t bytes = 0;

	for (unsigned int i = 2; i < 64; i++) {
		if (!__get_cpuid_count(0x12, i, &a, &b, &c, &d) || (a & 0xf) != 1)
			break;
		bytes += (uint64_t)(d & 0xfffff) << 32 | (c & 0xfffff000);
	}
	return (double)bytes;
}

/* What the CPU says of SGX; Linux may have turned it off. */
static napi_value sgx_cpu(napi_env env, napi_callback_info info)
{
	unsigned int a, b, c, d;
	bool sgx = false, launch_control = false, sgx2 = false;
	napi_value result;

	(void)info;
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		sgx = b & 1u << 2;
		launch_control = sgx && (c & 1u << 30);
	}
	if (sgx && __get_cpuid_count(0x12, 0, &a, &b, &c, &d))
		sgx2 = a & 1u << 1;
	napi_create_object(env, &result);
	js_set_bool(env, result, "sgx", sgx);
	js_set_bool(env, result, "launchControl", launch_control);
	js_set_bool(env, result, "sgx2", sgx2);
	js_set_double(env, result, "epcBytes", sgx ? epc_bytes() : 0);
	return result;
}

void tresor_cpu_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "cpuFeatures", .method = cpu_features },
		{ .utf8name = "sgxCpu", .method = sgx_cpu },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
