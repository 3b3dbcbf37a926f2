/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What EINIT asks of a SIGSTRUCT by itself: its form, and RSA-3072 with exponent 3 by Q1 and Q2. */
#include "qemu/osdep.h"
#include <gmp.h>
#include "sgx.h"

#define RSA_BYTES 384

bool sgx_sigstruct_well_formed(const SgxSigstruct *sig)
{
    static const uint8_t header[16] = { 6, 0, 0, 0, 0xe1, 0, 0, 0, 0, 0, 1 };
    static const uint8_t header2[16] = { 1, 1, 0, 0, 0x60, 0, 0, 0, 0x60, 0, 0, 0, 1 };

    return memcmp(sig->header, header, sizeof(header)) == 0 && (sig->vendor == 0 || sig->vendor == 0x8086) &&
           memcmp(sig->header2, header2, sizeof(header2)) == 0 && sig->exponent == 3 &&
           sgx_zero(sig->reserved1, sizeof(sig->reserved1)) && sgx_zero(sig->reserved2, sizeof(sig->reserved2)) &&
           sgx_zero(sig->reserved3, sizeof(sig->reserved3)) && sgx_zero(sig->reserved4, sizeof(sig->reserved4));
}

/* EMSA-PKCS1-v1_5 of SHA-256 over the two signed parts, most significant byte first. */
static void encode(const SgxSigstruct *sig, uint8_t message[RSA_BYTES])
{
    static const uint8_t sha256_info[] = {
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
    };
    const size_t body = offsetof(SgxSigstruct, miscselect), body_end = offsetof(SgxSigstruct, q1) - 12;
    const size_t head_end = offsetof(SgxSigstruct, modulus);
    uint8_t *digest = message + RSA_BYTES - 32, *info = digest - sizeof(sha256_info);
    uint8_t parts[256];

    QEMU_BUILD_BUG_ON(offsetof(SgxSigstruct, modulus) != 128);
    QEMU_BUILD_BUG_ON(offsetof(SgxSigstruct, reserved4) != 1028);
    memcpy(parts, sig, head_end);
    memcpy(parts + head_end, (const uint8_t *)sig + body, body_end - body);
    memset(message, 0xff, RSA_BYTES);
    message[0] = 0;
    message[1] = 1;
    info[-1] = 0;
    memcpy(info, sha256_info, sizeof(sha256_info));
    sgx_sha256(parts, sizeof(parts), digest);
}

/* a * b - q * m; false unless it lies in [0, m) */
static bool reduce(mpz_t result, const mpz_t a, const mpz_t b, const mpz_t q, const mpz_t m)
{
    mpz_mul(result, a, b);
    mpz_submul(result, q, m);
    return mpz_sgn(result) >= 0 && mpz_cmp(result, m) < 0;
}

bool sgx_sigstruct_signed(const SgxSigstruct *sig)
{
    uint8_t want[RSA_BYTES];
    mpz_t m, s, q1, q2, square, cube, expected;
    bool good;

    encode(sig, want);
    mpz_inits(m, s, q1, q2, square, cube, expected, NULL);
    mpz_import(m, RSA_BYTES, -1, 1, 0, 0, sig->modulus);
    mpz_import(s, RSA_BYTES, -1, 1, 0, 0, sig->signature);
    mpz_import(q1, RSA_BYTES, -1, 1, 0, 0, sig->q1);
    mpz_import(q2, RSA_BYTES, -1, 1, 0, 0, sig->q2);
    mpz_import(expected, RSA_BYTES, 1, 1, 0, 0, want);
    good = reduce(square, s, s, q1, m) && reduce(cube, square, s, q2, m) && mpz_cmp(cube, expected) == 0;
    mpz_clears(m, s, q1, q2, square, cube, expected, NULL);
    return good;
}
