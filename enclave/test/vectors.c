/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The enclave's side of vectors/: hpke.c, request_digest.c and seal.c, asked line by line
 * by test/enclave/vectors.test.ts. Words are numbers or hexadecimal bytes, "-" for none;
 * each line is answered with one.
 *
 *   hpke SECRET PUBLIC INFO AAD MESSAGE              the plaintext, or "refused"
 *   digest PURPOSE POLICY MACS SEGMENT DIGEST FRESH COUNT KEYSLOT...
 *   legacy MAKE POLICY KDF
 *   seal EGETKEY MRENCLAVE MRSIGNER CPUSVN ATTRIBUTES PRODID SVN UUID SLOT KDF SEALED
 *                                                    the status and, with status 0, the salt
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/cpu.h"
#include "crypto/hpke.h"
#include "enclu.h"
#include "request_digest.h"
#include "seal.h"
#include "state.h"

#define LINE_MAX	65536

struct tresor_identity tresor_identity;
static uint8_t raw_key[16];

/* EGETKEY alone: the CPU of the vectors has one key. */
uint64_t tresor_enclu(uint32_t leaf, const void *rbx, void *rcx, void *rdx)
{
	(void)rbx;
	(void)rdx;
	if (leaf != ENCLU_EGETKEY)
		abort();
	memcpy(rcx, raw_key, sizeof(raw_key));
	return 0;
}

void tresor_state_die(void)
{
	abort();
}

static const char *next_word(void)
{
	const char *word = strtok(NULL, " \n");

	if (!word) {
		fprintf(stderr, "vectors: a word is missing\n");
		exit(1);
	}
	return word;
}

static uint32_t number(void)
{
	return (uint32_t)strtoul(next_word(), NULL, 10);
}

/* At most max bytes; returns how many. */
static size_t bytes(void *to, size_t max)
{
	const char *word = next_word();
	size_t size = strcmp(word, "-") == 0 ? 0 : strlen(word) / 2;

	if (size > max) {
		fprintf(stderr, "vectors: %zu bytes, not %zu\n", size, max);
		exit(1);
	}
	for (size_t i = 0; i < size; i++)
		sscanf(word + 2 * i, "%2hhx", (uint8_t *)to + i);
	return size;
}

static void exact(void *to, size_t size)
{
	if (bytes(to, size) != size) {
		fprintf(stderr, "vectors: not %zu bytes\n", size);
		exit(1);
	}
}

static void print(const uint8_t *from, size_t size)
{
	for (size_t i = 0; i < size; i++)
		printf("%02x", from[i]);
}

static void do_hpke(void)
{
	static uint8_t message[LINE_MAX], plain[LINE_MAX];
	uint8_t secret[32], public[32], info[64], aad[256];
	size_t info_size, aad_size, size;

	exact(secret, sizeof(secret));
	exact(public, sizeof(public));
	info_size = bytes(info, sizeof(info));
	aad_size = bytes(aad, sizeof(aad));
	size = bytes(message, sizeof(message));
	if (hpke_open(HPKE_AES_256_GCM, secret, public, info, info_size, aad, aad_size, message, size, plain))
		print(plain, size - HPKE_OVERHEAD);
	else
		printf("refused");
}

static void do_digest(void)
{
	static struct tresor_keyslot keyslots[TRESOR_KEYSLOTS], fresh;
	struct tresor_segment segment;
	struct tresor_digest header_digest;
	struct tresor_header header = { .segment = &segment, .digest = &header_digest, .keyslots = keyslots };
	uint32_t purpose = number(), policy = number(), macs = number();
	uint8_t digest[32];
	bool has_fresh;

	exact(&segment, sizeof(segment));
	exact(&header_digest, sizeof(header_digest));
	has_fresh = bytes(&fresh, sizeof(fresh)) != 0;
	header.count = number();
	if (header.count > TRESOR_KEYSLOTS)
		exit(1);
	for (uint32_t i = 0; i < header.count; i++)
		exact(&keyslots[i], sizeof(keyslots[i]));
	tresor_request_digest(&header, purpose, policy, macs != 0, has_fresh ? &fresh : NULL, NULL, digest);
	print(digest, sizeof(digest));
}

static void do_legacy(void)
{
	struct tresor_legacy request = { .make = number() };
	uint8_t digest[32];

	request.policy = number();
	exact(&request.kdf, sizeof(request.kdf));
	tresor_request_digest_legacy(&request, digest);
	print(digest, sizeof(digest));
}

static void do_seal(void)
{
	struct tresor_identity *self = &tresor_identity;
	struct tresor_sealed_salt sealed;
	struct tresor_kdf kdf;
	char uuid[40] = { 0 };
	uint8_t salt[TRESOR_SEALED_SALT_SIZE];
	uint32_t slot, status;
	bool stale;

	exact(raw_key, sizeof(raw_key));
	exact(self->mrenclave, sizeof(self->mrenclave));
	exact(self->mrsigner, sizeof(self->mrsigner));
	exact(self->cpu_svn, sizeof(self->cpu_svn));
	self->attributes = number();
	self->isv_prod_id = (uint16_t)number();
	self->isv_svn = (uint16_t)number();
	bytes(uuid, sizeof(uuid) - 1);
	slot = number();
	exact(&kdf, sizeof(kdf));
	exact(&sealed, sizeof(sealed));
	status = tresor_seal_open(&sealed, uuid, slot, &kdf, salt, &stale);
	printf("%u", status);
	if (status == TRESOR_OK) {
		printf(" ");
		print(salt, sizeof(salt));
	}
}

int main(void)
{
	static char line[LINE_MAX];

	cpu_features = 0;
	while (fgets(line, sizeof(line), stdin)) {
		const char *what = strtok(line, " \n");

		if (what && strcmp(what, "hpke") == 0)
			do_hpke();
		else if (what && strcmp(what, "digest") == 0)
			do_digest();
		else if (what && strcmp(what, "legacy") == 0)
			do_legacy();
		else if (what && strcmp(what, "seal") == 0)
			do_seal();
		else
			return 1;
		printf("\n");
	}
	return 0;
}
