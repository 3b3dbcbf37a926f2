/* SPDX-License-Identifier: Apache-2.0 */
/* A volume as an honest host keeps it, and the requests about it. For functional.c and what it calls. */
#ifndef TEST_VOLUME_H
#define TEST_VOLUME_H

#include "machine.h"

#define PASS	"correct horse"

struct volume {
	struct tresor_segment segment;
	struct tresor_digest digest;
	struct tresor_keyslot slots[3];	/* 0 tresor, 1 portable, 2 enrolled */
	struct tresor_macs *macs;
	struct tresor_keyslot *array;
	uint8_t *message;
};
extern struct volume v;

/* Where a slot's area and sealed salt lie in the arena. */
uint8_t *area_of(int slot);
struct tresor_sealed_salt *sealed_of(int slot);

/* A volume with keyslot 0, sealed or portable. */
void create(bool sealed);
/* The client asks for the request as it is. */
void seal_unlock(struct tresor_unlock *request, const char *pass, uint32_t purpose);
/* A request that tries the first `slots` keyslots, sealed. */
void prepare(struct tresor_unlock *request, const char *pass, int slots, uint32_t purpose);
uint32_t unlock(const char *pass, int slots, struct tresor_unlock *request);
uint32_t close_handle(uint32_t handle);
uint32_t crypt_range(uint32_t handle, bool decrypt, uint8_t *in, uint8_t *out, uint64_t sector, uint32_t length);
/* One request of the ring. */
uint32_t crypt_block(struct tresor_block *block);
void openssl_xts(const uint8_t key[64], bool encrypt, uint64_t sector, const uint8_t *in, uint8_t *out, int size);

/* Groups in files of their own. */
void test_request(void);
void test_policy(void);
void test_dead(void);
void test_legacy(void);
void test_separation(void);
void test_parts(void);
void test_blocks_of_a_volume(void);
void test_succession(void);

#endif
