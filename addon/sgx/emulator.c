/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EREPORT, EGETKEY and EACCEPT. Checks, inputs of the keys and error codes are
 * the SDM's (vol. 3D, "SGX Instruction References"); only the derivation itself
 * differs: Intel's is AES-CMAC under a fused key, ours HMAC-SHA256 under the
 * machine secret.
 */
#include "addon/sgx/emulator.h"

#include <string.h>
#include <wmmintrin.h>

#include "addon/sgx/sha256.h"
#include "addon/sgx/zeros.h"

/* INIT and DEBUG are in every seal key, whatever mask is asked for. */
#define REQUIRED_SEALING_MASK	(SGX_ATTR_INIT | SGX_ATTR_DEBUG)

#define REPORT_MACED	__builtin_offsetof(struct sgx_report, key_id)

/* "Key dependencies" of the SDM; KSS fields and CET are zero here and left out. */
struct dependencies {
	uint16_t key_name;
	uint16_t key_policy;
	uint16_t isv_prod_id;
	uint16_t isv_svn;
	uint32_t misc_select;
	uint32_t misc_mask;
	uint64_t attributes[2];
	uint64_t attribute_mask[2];
	uint8_t cpu_svn[16];
	uint8_t mrenclave[32];
	uint8_t mrsigner[32];
	uint8_t key_id[32];
	uint16_t config_svn;
	uint8_t config_id[64];
	uint8_t padding[6];
};
_Static_assert(sizeof(struct dependencies) == 232, "no padding that is not named");

uint8_t tresor_cpu_svn[16] = { 1 };

/* ---- keys ---- */

static void derive(const struct tresor_machine *machine, const struct dependencies *inputs, uint8_t key[16])
{
	struct tresor_sha256 hash;
	uint8_t block[64], digest[32];

	/* HMAC-SHA256, RFC 2104. */
	memset(block, 0x36, sizeof(block));
	for (int i = 0; i < 32; i++)
		block[i] ^= machine->secret[i];
	tresor_sha256_init(&hash);
	tresor_sha256_update(&hash, block, sizeof(block));
	tresor_sha256_update(&hash, inputs, sizeof(*inputs));
	tresor_sha256_final(&hash, digest);
	for (int i = 0; i < 64; i++)
		block[i] ^= 0x36 ^ 0x5c;
	tresor_sha256_init(&hash);
	tresor_sha256_update(&hash, block, sizeof(block));
	tresor_sha256_update(&hash, digest, sizeof(digest));
	tresor_sha256_final(&hash, digest);
	memcpy(key, digest, 16);
	explicit_bzero(block, sizeof(block));
	explicit_bzero(digest, sizeof(digest));
}

/* The key under which reports to one enclave are MACed, of its own identity or of a TARGETINFO. */
static void report_key(const struct tresor_machine *machine, const uint8_t mrenclave[32], const uint64_t attributes[2],
		       uint32_t misc_select, const uint8_t key_id[32], const uint8_t config_id[64], uint16_t config_svn,
		       uint8_t key[16])
{
	struct dependencies inputs = { .key_name = SGX_KEYNAME_REPORT,
				       .misc_select = misc_select,
				       .config_svn = config_svn };

	memcpy(inputs.attributes, attributes, sizeof(inputs.attributes));
	memcpy(inputs.cpu_svn, tresor_cpu_svn, sizeof(inputs.cpu_svn));
	memcpy(inputs.mrenclave, mrenclave, 32);
	memcpy(inputs.key_id, key_id, 32);
	memcpy(inputs.config_id, config_id, 64);
	derive(machine, &inputs, key);
}

static uint64_t seal_key(const struct tresor_machine *machine, const struct tresor_secs *secs,
			 const struct sgx_key_request *request, uint8_t key[16])
{
	struct dependencies inputs = {
		.key_name = SGX_KEYNAME_SEAL,
		.key_policy = request->key_policy,
		.isv_prod_id = secs->isv_prod_id,
		.isv_svn = request->isv_svn,
		.misc_select = request->misc_mask & secs->misc_select,
		.misc_mask = request->misc_mask,
		.attributes = {
			(request->attribute_mask[0] | REQUIRED_SEALING_MASK) & secs->attributes,
			request->attribute_mask[1] & secs->xfrm,
		},
		.attribute_mask = { request->attribute_mask[0], request->attribute_mask[1] },
	};

	for (int i = 0; i < 16; i++) {
		if (request->cpu_svn[i] > tresor_cpu_svn[i])
			return SGX_INVALID_CPUSVN;
	}
	if (request->isv_svn > secs->isv_svn)
		return SGX_INVALID_ISVSVN;
	memcpy(inputs.cpu_svn, request->cpu_svn, sizeof(inputs.cpu_svn));
	memcpy(inputs.key_id, request->key_id, sizeof(inputs.key_id));
	if (request->key_policy & SGX_KEYPOLICY_MRENCLAVE)
		memcpy(inputs.mrenclave, secs->mrenclave, 32);
	if (request->key_policy & SGX_KEYPOLICY_MRSIGNER)
		memcpy(inputs.mrsigner, secs->mrsigner, 32);
	derive(machine, &inputs, key);
	return 0;
}

/* ---- AES-128-CMAC, RFC 4493; no tables ---- */

#define AES	__attribute__((target("aes,sse2")))

AES static inline __m128i next_round_key(__m128i key, __m128i assist)
{
	assist = _mm_shuffle_epi32(assist, 0xff);
	key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
	key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
	return _mm_xor_si128(key, assist);
}

AES static void expand(const uint8_t key[16], __m128i schedule[11])
{
	schedule[0] = _mm_loadu_si128((const __m128i *)key);
#define ROUND(n, constant) \
	schedule[n] = next_round_key(schedule[n - 1], _mm_aeskeygenassist_si128(schedule[n - 1], constant))
	ROUND(1, 0x01);
	ROUND(2, 0x02);
	ROUND(3, 0x04);
	ROUND(4, 0x08);
	ROUND(5, 0x10);
	ROUND(6, 0x20);
	ROUND(7, 0x40);
	ROUND(8, 0x80);
	ROUND(9, 0x1b);
	ROUND(10, 0x36);
#undef ROUND
}

AES static void encrypt(const __m128i schedule[11], uint8_t block[16])
{
	__m128i x = _mm_xor_si128(_mm_loadu_si128((const __m128i *)block), schedule[0]);

	for (int i = 1; i < 10; i++)
		x = _mm_aesenc_si128(x, schedule[i]);
	_mm_storeu_si128((__m128i *)block, _mm_aesenclast_si128(x, schedule[10]));
}

/* `size` is a positive multiple of 16, so that subkey K1 is the only one needed. */
AES static void cmac(const uint8_t key[16], const uint8_t *data, size_t size, uint8_t mac[16])
{
	__m128i schedule[11];
	uint8_t subkey[16] = { 0 };
	uint8_t carry;

	expand(key, schedule);
	encrypt(schedule, subkey);
	carry = subkey[0] >> 7;
	for (int i = 0; i < 15; i++)
		subkey[i] = (uint8_t)(subkey[i] << 1 | subkey[i + 1] >> 7);
	subkey[15] = (uint8_t)(subkey[15] << 1) ^ (uint8_t)(-carry & 0x87);
	memset(mac, 0, 16);
	for (size_t at = 0; at < size; at += 16) {
		for (int i = 0; i < 16; i++)
			mac[i] ^= data[at + i] ^ (at + 16 == size ? subkey[i] : 0);
		encrypt(schedule, mac);
	}
	explicit_bzero(schedule, sizeof(schedule));
	explicit_bzero(subkey, sizeof(subkey));
}

/* ---- operands ---- */

/* Within ELRANGE, aligned, and on pages that are there with these permissions. */
static bool reachable(const struct tresor_emulator *emulator, uint64_t address, uint64_t size, uint64_t alignment,
		      uint8_t permissions)
{
	const struct tresor_image *image = emulator->image;
	uint64_t offset = address - image->secs.base;

	if (address % alignment != 0 || address < image->secs.base || offset >= image->secs.size ||
	    size > image->secs.size - offset)
		return false;
	for (uint64_t page = offset / SGX_PAGE_SIZE; page <= (offset + size - 1) / SGX_PAGE_SIZE; page++) {
		uint8_t is = image->pages[page];
		uint64_t dynamic = page - image->dynamic / SGX_PAGE_SIZE;

		if (is & TRESOR_PAGE_DYNAMIC) {
			if (!(__atomic_load_n(&emulator->accepted[dynamic / 8], __ATOMIC_RELAXED) & 1u << dynamic % 8))
				return false;
		} else if (!(is & TRESOR_PAGE_PRESENT) || (is & TRESOR_PAGE_TCS)) {
			return false;
		}
		if ((is & permissions) != permissions)
			return false;
	}
	return true;
}

/* ---- leaves ---- */

static uint64_t egetkey(const struct tresor_emulator *emulator, uint64_t request_at, uint64_t key_at)
{
	const struct tresor_secs *secs = &emulator->image->secs;
	const uint64_t attributes[2] = { secs->attributes, secs->xfrm };
	static const uint8_t no_config[64];
	struct sgx_key_request request;
	uint8_t key[16];
	uint64_t refused = 0;

	if (!reachable(emulator, request_at, sizeof(request), 512, SGX_SECINFO_R) ||
	    !reachable(emulator, key_at, 16, 16, SGX_SECINFO_W))
		return TRESOR_EMULATOR_FAULT;
	memcpy(&request, (const void *)request_at, sizeof(request));
	if ((request.key_policy & ~(SGX_KEYPOLICY_MRENCLAVE | SGX_KEYPOLICY_MRSIGNER | SGX_KEYPOLICY_KSS)) != 0 ||
	    request.reserved1 != 0 || !tresor_are_zeros(request.reserved2, sizeof(request.reserved2)))
		return TRESOR_EMULATOR_FAULT;
	/* No enclave of this backend has KSS: create refuses the attribute. */
	if ((request.key_policy & SGX_KEYPOLICY_KSS) != 0 || request.config_svn != 0)
		return TRESOR_EMULATOR_FAULT;

	switch (request.key_name) {
	case SGX_KEYNAME_SEAL:
		refused = seal_key(emulator->machine, secs, &request, key);
		break;
	case SGX_KEYNAME_REPORT:
		report_key(emulator->machine, secs->mrenclave, attributes, secs->misc_select, request.key_id, no_config,
			   0, key);
		break;
	case SGX_KEYNAME_EINITTOKEN:
	case SGX_KEYNAME_PROVISION:
	case SGX_KEYNAME_PROVISION_SEAL:
		/* They need attributes that create refuses. */
		return SGX_INVALID_ATTRIBUTE;
	default:
		return SGX_INVALID_KEYNAME;
	}
	if (refused == 0)
		memcpy((void *)key_at, key, sizeof(key));
	explicit_bzero(key, sizeof(key));
	return refused;
}

static uint64_t ereport(const struct tresor_emulator *emulator, uint64_t target_at, uint64_t data_at,
			uint64_t report_at)
{
	const struct tresor_secs *secs = &emulator->image->secs;
	struct sgx_target_info target;
	struct sgx_report report = { 0 };
	uint8_t key[16];

	if (!reachable(emulator, target_at, sizeof(target), 512, SGX_SECINFO_R) ||
	    !reachable(emulator, data_at, sizeof(report.report_data), 128, SGX_SECINFO_R) ||
	    !reachable(emulator, report_at, sizeof(report), 512, SGX_SECINFO_W))
		return TRESOR_EMULATOR_FAULT;
	memcpy(&target, (const void *)target_at, sizeof(target));
	if (target.reserved1 != 0 || !tresor_are_zeros(target.reserved2, sizeof(target.reserved2)) ||
	    !tresor_are_zeros(target.reserved3, sizeof(target.reserved3)))
		return TRESOR_EMULATOR_FAULT;
	memcpy(report.cpu_svn, tresor_cpu_svn, sizeof(report.cpu_svn));
	report.misc_select = secs->misc_select;
	report.attributes[0] = secs->attributes;
	report.attributes[1] = secs->xfrm;
	memcpy(report.mrenclave, secs->mrenclave, 32);
	memcpy(report.mrsigner, secs->mrsigner, 32);
	report.isv_prod_id = secs->isv_prod_id;
	report.isv_svn = secs->isv_svn;
	memcpy(report.report_data, (const void *)data_at, sizeof(report.report_data));
	memcpy(report.key_id, emulator->machine->report_key_id, sizeof(report.key_id));
	report_key(emulator->machine, target.mrenclave, target.attributes, target.misc_select, report.key_id,
		   target.config_id, target.config_svn, key);
	cmac(key, (const uint8_t *)&report, REPORT_MACED, report.mac);
	explicit_bzero(key, sizeof(key));
	memcpy((void *)report_at, &report, sizeof(report));
	return 0;
}

/*
 * The range is mapped from the start, so that a page the enclave touches before
 * accepting it does not fault here as it does in hardware.
 */
static uint64_t eaccept(const struct tresor_emulator *emulator, uint64_t secinfo_at, uint64_t page_at)
{
	const struct tresor_image *image = emulator->image;
	uint64_t page = (page_at - image->secs.base - image->dynamic) / SGX_PAGE_SIZE;
	uint8_t bit = (uint8_t)(1u << page % 8);
	struct sgx_secinfo secinfo;

	if (!reachable(emulator, secinfo_at, sizeof(secinfo), 64, SGX_SECINFO_R) || page_at % SGX_PAGE_SIZE != 0 ||
	    page_at < image->secs.base + image->dynamic || page >= image->dynamic_size / SGX_PAGE_SIZE)
		return TRESOR_EMULATOR_FAULT;
	memcpy(&secinfo, (const void *)secinfo_at, sizeof(secinfo));
	if (!tresor_are_zeros(secinfo.reserved, sizeof(secinfo.reserved)))
		return TRESOR_EMULATOR_FAULT;
	/* What EAUG makes, and nothing else, can be pending. */
	if (secinfo.flags != (SGX_SECINFO_R | SGX_SECINFO_W | SGX_SECINFO_PENDING | SGX_SECINFO_REG) ||
	    (__atomic_fetch_or(&emulator->accepted[page / 8], bit, __ATOMIC_RELAXED) & bit) != 0)
		return SGX_PAGE_ATTRIBUTES_MISMATCH;
	return 0;
}

uint64_t tresor_emulate(const struct tresor_emulator *emulator, uint32_t leaf, uint64_t rbx, uint64_t rcx, uint64_t rdx)
{
	switch (leaf) {
	case ENCLU_EREPORT:
		return ereport(emulator, rbx, rcx, rdx);
	case ENCLU_EGETKEY:
		return egetkey(emulator, rbx, rcx);
	case ENCLU_EACCEPT:
		return eaccept(emulator, rbx, rcx);
	default:
		return TRESOR_EMULATOR_FAULT;
	}
}
