/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constant time, watched by valgrind: secrets are marked undefined, and
 * memcheck reports each branch and each address that depends on them. AES-NI,
 * generic and AVX2 code only: valgrind knows no VAES and no SHA-NI.
 *
 *   ct CASE	one case; "planted …" are defects that have to be found
 *   ct		names of the cases
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/memcheck.h>

#include "crypto/af.h"
#include "crypto/argon2.h"
#include "crypto/cpu.h"
#include "crypto/ct.h"
#include "crypto/gcm.h"
#include "crypto/hkdf.h"
#include "crypto/hmac.h"
#include "crypto/modes.h"
#include "crypto/pbkdf2.h"
#include "crypto/x25519.h"
#include "crypto/xts.h"
#include "host.h"


static uint8_t key[64], data[8192], out[8192], iv[16];

static void hide(void *p, size_t size)
{
	VALGRIND_MAKE_MEM_UNDEFINED(p, size);
}

/* What an attacker learns anyway: whether a tag was right, what a public key is. */
static void publish(void *p, size_t size)
{
	VALGRIND_MAKE_MEM_DEFINED(p, size);
}

/* A verdict that callers act upon. */
static void told(bool verdict)
{
	publish(&verdict, sizeof(verdict));
	if (!verdict)
		exit(2);
}

static void xts(void)
{
	struct xts_key expanded;

	for (uint32_t size = 32; size <= 64; size += 32) {
		hide(key, sizeof(key));
		hide(data, sizeof(data));
		xts_expand(&expanded, key, size);
		xts_sectors(&expanded, false, data, out, 8, 4096, 512);
		xts_sectors(&expanded, true, data, out, 8, 8192, 4096);
	}
}

static void modes(void)
{
	struct aes_key expanded, essiv;

	for (uint32_t size = 16; size <= 32; size += 8) {
		hide(key, sizeof(key));
		hide(data, sizeof(data));
		aes_expand(&expanded, key, size);
		modes_ecb(&expanded, false, data, out, 512);
		modes_ecb(&expanded, true, data, out, 512);
		modes_cbc(&expanded, false, data, out, 512, iv);
		modes_cbc(&expanded, true, data, out, 512, iv);
		modes_ctr(&expanded, data, out, 512, iv);
		modes_essiv_key(&essiv, key, size);
		modes_cbc_essiv(&expanded, &essiv, false, data, out, 512, iv);
	}
}

static void gcm(void)
{
	uint8_t tag[GCM_TAG];

	hide(key, sizeof(key));
	hide(data, 1000);
	gcm_seal(key, 32, iv, iv, 12, data, out, 1000, tag);
	/* Ciphertext and tag are public; the verdict is told by the status. */
	publish(out, 1000);
	publish(tag, sizeof(tag));
	hide(key, sizeof(key));
	told(gcm_open(key, 32, iv, iv, 12, out, data, 1000, tag));
}

static void hmac(void)
{
	for (uint32_t algorithm = TRESOR_SHA1; algorithm <= TRESOR_SHA512; algorithm++) {
		struct hmac state;

		hide(key, sizeof(key));
		hide(data, 300);
		hmac_init(&state, algorithm, key, sizeof(key));
		hmac_update(&state, data, 300);
		hmac_final(&state, out);
		hkdf_extract(algorithm, iv, sizeof(iv), key, 32, out);
		hkdf_expand(algorithm, out, iv, sizeof(iv), data, 40);
		pbkdf2(algorithm, key, 20, iv, sizeof(iv), 3, out, 64);
	}
}

static void curve(void)
{
	uint8_t public[32], point[32];

	hide(key, 32);
	x25519_public(public, key);
	publish(public, 32);
	memset(point, 9, sizeof(point));
	told(x25519(out, key, point));
}

static void af(void)
{
	static uint8_t area[64 * 8];

	hide(area, sizeof(area));
	af_merge(TRESOR_SHA256, key, 64, 8, area);
	hide(key, 64);
	told(af_split(TRESOR_SHA256, key, 64, 8, area));
}

static void planted_branch(void)
{
	hide(key, 1);
	if (key[0] & 1)
		out[0]++;
}

static void planted_table(void)
{
	hide(key, 1);
	out[1] = data[key[0]];
}

static void planted_compare(void)
{
	hide(key, 16);
	out[2] = memcmp(key, data, 16) == 0;
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "xts", xts }, { "modes", modes }, { "gcm", gcm }, { "hmac", hmac }, { "x25519", curve }, { "af", af },
	{ "planted-branch", planted_branch }, { "planted-table", planted_table },
	{ "planted-compare", planted_compare },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (argc < 2) {
			puts(cases[i].name);
		} else if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			cpu_features = host_features() & TRESOR_CPU_AVX2;
			cases[i].run();
			return 0;
		}
	}
	return argc < 2 ? 0 : 1;
}
