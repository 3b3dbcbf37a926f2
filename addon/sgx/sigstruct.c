/* SPDX-License-Identifier: Apache-2.0 */
/* EINIT's judgement of a SIGSTRUCT. Written apart from src/enclave/image, which signs: the two check each other. */
#include "addon/sgx/sigstruct.h"

#include <string.h>

#include "addon/sgx/sha256.h"
#include "addon/sgx/zeros.h"

#define LIMBS	SGX_RSA_WORDS

typedef unsigned __int128 uint128_t;

/* Public numbers only: nothing here needs constant time. */
static void multiply(uint64_t product[2 * LIMBS], const uint64_t a[LIMBS], const uint64_t b[LIMBS])
{
	memset(product, 0, 2 * LIMBS * sizeof(product[0]));
	for (int i = 0; i < LIMBS; i++) {
		uint64_t carry = 0;

		for (int j = 0; j < LIMBS; j++) {
			uint128_t sum = (uint128_t)a[i] * b[j] + product[i + j] + carry;

			product[i + j] = (uint64_t)sum;
			carry = (uint64_t)(sum >> 64);
		}
		product[i + LIMBS] = carry;
	}
}

static bool below(const uint64_t *a, const uint64_t *b, int limbs)
{
	while (limbs-- > 0) {
		if (a[limbs] != b[limbs])
			return a[limbs] < b[limbs];
	}
	return false;
}

/* a * b - q * m, which is the remainder modulo m when q is the right quotient. */
static bool remainder_by(uint64_t out[LIMBS], const uint64_t a[LIMBS], const uint64_t b[LIMBS], const uint64_t q[LIMBS],
			 const uint64_t m[LIMBS])
{
	uint64_t product[2 * LIMBS], multiple[2 * LIMBS];
	uint64_t borrow = 0;

	multiply(product, a, b);
	multiply(multiple, q, m);
	if (below(product, multiple, 2 * LIMBS))
		return false;
	for (int i = 0; i < 2 * LIMBS; i++) {
		uint128_t difference = (uint128_t)product[i] - multiple[i] - borrow;

		product[i] = (uint64_t)difference;
		borrow = (uint64_t)(difference >> 64) & 1;
	}
	for (int i = LIMBS; i < 2 * LIMBS; i++) {
		if (product[i] != 0)
			return false;
	}
	memcpy(out, product, LIMBS * sizeof(out[0]));
	return below(out, m, LIMBS);
}

/* RFC 8017 section 9.2, EMSA-PKCS1-v1_5 with SHA-256; little-endian as the fields are. */
static void expected_message(const struct sgx_sigstruct *s, uint8_t message[384])
{
	static const uint8_t info[19] = {
		0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
		0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
	};
	struct tresor_sha256 hash;
	uint8_t digest[32];

	tresor_sha256_init(&hash);
	tresor_sha256_update(&hash, s, SGX_SIGNED1_END);
	tresor_sha256_update(&hash, (const uint8_t *)s + SGX_SIGNED2_START, SGX_SIGNED2_END - SGX_SIGNED2_START);
	tresor_sha256_final(&hash, digest);
	memset(message, 0xff, 384);
	for (int i = 0; i < 32; i++)
		message[i] = digest[31 - i];
	for (int i = 0; i < 19; i++)
		message[32 + i] = info[18 - i];
	message[51] = 0;
	message[382] = 1;
	message[383] = 0;
}

static bool is_signed(const struct sgx_sigstruct *s)
{
	uint64_t m[LIMBS], signature[LIMBS], q1[LIMBS], q2[LIMBS], square[LIMBS], cube[LIMBS];
	uint8_t expected[384];

	memcpy(m, s->modulus, sizeof(m));
	memcpy(signature, s->signature, sizeof(signature));
	memcpy(q1, s->q1, sizeof(q1));
	memcpy(q2, s->q2, sizeof(q2));
	if (m[LIMBS - 1] >> 63 != 1 || !below(signature, m, LIMBS) ||
	    !remainder_by(square, signature, signature, q1, m) || !remainder_by(cube, square, signature, q2, m))
		return false;
	expected_message(s, expected);
	return memcmp(cube, expected, sizeof(expected)) == 0;
}

bool tresor_check_sigstruct(const uint8_t *bytes, struct tresor_secs *secs, struct tresor_error *error)
{
	static const uint8_t header[16] = { 6, 0, 0, 0, 0xe1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0 };
	static const uint8_t header2[16] = { 1, 1, 0, 0, 0x60, 0, 0, 0, 0x60, 0, 0, 0, 1, 0, 0, 0 };
	static const char invalid[] = "SGX_INVALID_SIG_STRUCT";
	static const char attribute[] = "SGX_INVALID_ATTRIBUTE";
	struct tresor_sha256 hash;
	struct sgx_sigstruct s;

	memcpy(&s, bytes, sizeof(s));
	if (memcmp(s.header, header, 16) != 0 || memcmp(s.header2, header2, 16) != 0)
		return tresor_refuse(error, invalid, "the SIGSTRUCT's headers are not those of one");
	if (s.vendor != 0 && s.vendor != 0x8086)
		return tresor_refuse(error, invalid, "the SIGSTRUCT's VENDOR is 0x%x, not 0 or 0x8086", s.vendor);
	if (s.exponent != 3)
		return tresor_refuse(error, invalid, "the SIGSTRUCT's EXPONENT is %u, not 3", s.exponent);
	if (!tresor_are_zeros(s.reserved1, sizeof(s.reserved1)) ||
	    !tresor_are_zeros(s.reserved2, sizeof(s.reserved2)) ||
	    !tresor_are_zeros(s.reserved3, sizeof(s.reserved3)) ||
	    !tresor_are_zeros(s.reserved4, sizeof(s.reserved4)) || s.cet_attributes != 0 || s.cet_attributes_mask != 0)
		return tresor_refuse(error, invalid, "a reserved field of the SIGSTRUCT is not zero");
	if (!is_signed(&s))
		return tresor_refuse(error, "SGX_INVALID_SIGNATURE",
				     "the SIGSTRUCT's SIGNATURE, Q1 or Q2 is not its key's over these fields");
	if ((s.attributes[0] & SGX_ATTR_KSS) == 0 &&
	    (!tresor_are_zeros(s.isv_family_id, 16) || !tresor_are_zeros(s.isv_ext_prod_id, 16)))
		return tresor_refuse(error, invalid, "the SIGSTRUCT uses KSS fields without the KSS attribute");
	if (memcmp(s.enclave_hash, secs->mrenclave, 32) != 0)
		return tresor_refuse(error, "SGX_INVALID_MEASUREMENT",
				     "the image measures otherwise than the SIGSTRUCT's ENCLAVEHASH");
	if ((secs->attributes & s.attributes_mask[0]) != (s.attributes[0] & s.attributes_mask[0]))
		return tresor_refuse(error, attribute,
				     "ATTRIBUTES 0x%llx is not what was signed, 0x%llx under mask 0x%llx",
				     (unsigned long long)secs->attributes, (unsigned long long)s.attributes[0],
				     (unsigned long long)s.attributes_mask[0]);
	if ((secs->xfrm & s.attributes_mask[1]) != (s.attributes[1] & s.attributes_mask[1]))
		return tresor_refuse(error, attribute, "XFRM 0x%llx is not what was signed, 0x%llx under mask 0x%llx",
				     (unsigned long long)secs->xfrm, (unsigned long long)s.attributes[1],
				     (unsigned long long)s.attributes_mask[1]);
	if ((secs->misc_select & s.misc_mask) != (s.misc_select & s.misc_mask))
		return tresor_refuse(error, attribute, "MISCSELECT 0x%x is not what was signed, 0x%x under mask 0x%x",
				     secs->misc_select, s.misc_select, s.misc_mask);
	tresor_sha256_init(&hash);
	tresor_sha256_update(&hash, s.modulus, sizeof(s.modulus));
	tresor_sha256_final(&hash, secs->mrsigner);
	secs->isv_prod_id = s.isv_prod_id;
	secs->isv_svn = s.isv_svn;
	return true;
}
