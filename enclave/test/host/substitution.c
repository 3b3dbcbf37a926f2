/* SPDX-License-Identifier: Apache-2.0 */
/* What a hostile host would change of a request that a client sealed for, and what an enclave does when dead. */
#include "volumes.h"
#include "state.h"
#include "volume.h"

/* What the host changes of a request after the client sealed for it is refused. */
void test_request(void)
{
	struct tresor_enrol enrol = { .head = HEAD(tresor_enrol, ENROL), .policy = TRESOR_POLICY_MRSIGNER }, ready;
	struct tresor_create create_request;
	struct tresor_unlock request;
	struct tresor_macs kept;

	/* CREATE: the host answers with an unsealed slot, another KDF, a policy, a segment. */
#define CREATED(change, expected) do { \
		create_request = (struct tresor_create){ .head = HEAD(tresor_create, CREATE), \
							 .policy = TRESOR_POLICY_MRENCLAVE }; \
		describe_segment(&create_request.segment); \
		describe_digest(&create_request.digest); \
		describe_keyslot(&create_request.keyslot, 0, true, area_of(0), sealed_of(0)); \
		create_request.macs = (uint64_t)v.macs; \
		seal_request(&create_request, v.message, TRESOR_PURPOSE_CREATE, UUID, TRESOR_ANY_SLOT, 0, NULL, 0, \
			     PASS, sizeof(PASS) - 1); \
		change; \
		ASSERT(enter(&create_request) == (expected)); \
	} while (0)
	CREATED((void)0, TRESOR_OK);
	CREATED(create_request.keyslot.sealed_size = 0, TRESOR_E_MESSAGE);
	CREATED(create_request.keyslot.pass_kdf.time++, TRESOR_E_MESSAGE);
	CREATED(create_request.keyslot.kdf.hash = TRESOR_SHA1, TRESOR_E_MESSAGE);
	CREATED(create_request.policy = TRESOR_POLICY_MRSIGNER, TRESOR_E_MESSAGE);
	CREATED(create_request.segment.key_size = create_request.keyslot.key_size = 32, TRESOR_E_MESSAGE);
	CREATED(create_request.segment.iv_tweak = 8, TRESOR_E_MESSAGE);
	CREATED(create_request.digest.iterations++, TRESOR_E_MESSAGE);
	CREATED(create_request.keyslot.area_offset += 4096, TRESOR_E_MESSAGE);
	/* Below the floor nothing is made, whoever asks. */
	CREATED(create_request.keyslot.kdf.time = 999, TRESOR_E_UNSUPPORTED);
	CREATED(create_request.keyslot.pass_kdf.time = 999, TRESOR_E_UNSUPPORTED);
	CREATED(create_request.keyslot.pass_kdf = ((struct tresor_kdf){ .type = TRESOR_KDF_ARGON2ID, .time = 15,
		.memory_kib = 8, .lanes = 1 }), TRESOR_E_UNSUPPORTED);
	/* An unsealed slot is made when the client says so only. */
	sender_flags = 0;
	CREATED((void)0, TRESOR_OK);
	CREATED(create_request.keyslot.sealed_size = 0;
		seal_request(&create_request, v.message, TRESOR_PURPOSE_CREATE, UUID, TRESOR_ANY_SLOT, 0, NULL, 0,
			     PASS, sizeof(PASS) - 1), TRESOR_E_REQUEST);
	sender_flags = TRESOR_ADMIT_UNSEALED;

	/* UNLOCK: host-made slots, cheaper ones, others tried, MACs taken away. */
	create(true);
#define UNLOCKED(change, expected) do { \
		prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK); \
		change; \
		ASSERT(enter(&request) == (expected)); \
	} while (0)
	UNLOCKED(v.array[0].sealed_size = 0, TRESOR_E_MESSAGE);
	UNLOCKED(v.array[0].kdf.time = 1, TRESOR_E_MESSAGE);
	UNLOCKED(v.array[0].salt[0] ^= 1, TRESOR_E_MESSAGE);
	UNLOCKED(v.array[1] = v.array[0]; v.array[1].slot = 1; request.count = 2, TRESOR_E_MESSAGE);
	UNLOCKED(request.segment.sector_size = 4096, TRESOR_E_MESSAGE);
	UNLOCKED(request.digest.iterations = 1, TRESOR_E_MESSAGE);
	UNLOCKED(request.macs = 0, TRESOR_E_MESSAGE);
	/* The client itself asks without MACs: a sealed slot has them, so somebody took them away. */
	UNLOCKED(request.macs = 0; seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK), TRESOR_E_HEADER);
	ASSERT(request.macs_missing == 1 && request.segment_changed == 0 && request.handle == 0);
	UNLOCKED(request.macs = 0; request.segment.iv_tweak = 8;
		 seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK), TRESOR_E_HEADER);
	/* AUTHENTICATE vouches for a header without MACs, and says so. */
	kept = *v.macs;
	prepare(&request, PASS, 1, TRESOR_PURPOSE_AUTHENTICATE);
	request.macs = 0;
	seal_unlock(&request, PASS, TRESOR_PURPOSE_AUTHENTICATE);
	ASSERT(enter(&request) == TRESOR_OK && request.macs_missing == 1);
	ASSERT(memcmp(&kept, v.macs, sizeof(kept)) == 0);
	/* Only sealed slots unless the client says otherwise. */
	sender_flags = 0;
	UNLOCKED((void)0, TRESOR_OK);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	UNLOCKED(v.array[0].sealed_size = 0; seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK), TRESOR_E_REQUEST);
	sender_flags = TRESOR_ADMIT_UNSEALED;

	/* ENROL: the same of the slot that is made, and no MACs out of nothing. */
	enrol.segment = v.segment;
	enrol.digest = v.digest;
	enrol.keyslots = (uint64_t)v.array;
	enrol.count = 1;
	enrol.macs = (uint64_t)v.macs;
	enrol.macs_out = (uint64_t)(v.macs + 1);
#define ENROLLED(change, expected) do { \
		v.array[0] = v.slots[0]; \
		v.array[0].flags = TRESOR_KEYSLOT_TRY; \
		ready = enrol; \
		describe_keyslot(&ready.fresh, 1, true, area_of(1), sealed_of(1)); \
		seal_request(&ready, v.message, TRESOR_PURPOSE_ENROL, UUID, 0, 1, PASS, sizeof(PASS) - 1, "new", 3); \
		change; \
		ASSERT(enter(&ready) == (expected)); \
	} while (0)
	ENROLLED((void)0, TRESOR_OK);
	ENROLLED(ready.fresh.sealed_size = 0, TRESOR_E_MESSAGE);
	ENROLLED(ready.fresh.pass_kdf.hash = TRESOR_SHA1, TRESOR_E_MESSAGE);
	ENROLLED(ready.policy = TRESOR_POLICY_MRENCLAVE, TRESOR_E_MESSAGE);
	ENROLLED(ready.macs = 0, TRESOR_E_MESSAGE);
	ENROLLED(ready.macs = 0; ready.segment.iv_tweak = 8;
		 seal_request(&ready, v.message, TRESOR_PURPOSE_ENROL, UUID, 0, 1, PASS, sizeof(PASS) - 1, "new", 3),
		 TRESOR_E_HEADER);
	ASSERT(ready.macs_missing == 1);
	ENROLLED(ready.fresh.kdf.time = 1;
		 seal_request(&ready, v.message, TRESOR_PURPOSE_ENROL, UUID, 0, 1, PASS, sizeof(PASS) - 1, "new", 3),
		 TRESOR_E_UNSUPPORTED);
}

/* Newer microcode: the seal is made again, under the policy it had. */
void test_policy(void)
{
	static const uint32_t policies[] = { TRESOR_POLICY_MRENCLAVE, TRESOR_POLICY_MRSIGNER };
	const struct machine home = machine;

	for (int i = 0; i < 2; i++) {
		struct tresor_create request = { .head = HEAD(tresor_create, CREATE), .policy = policies[i] };
		struct tresor_legacy legacy = { .head = HEAD(tresor_legacy, LEGACY), .uuid = "legacy", .make = 1,
						.policy = policies[i], .key_size = 16, .mode = TRESOR_CBC,
						.kdf = { .type = TRESOR_KDF_PBKDF2, .hash = TRESOR_SHA256, .time = 5 },
						.sealed_out = (uint64_t)sealed_of(2), .bytes_size = 16 };
		struct tresor_unlock opened;

		describe_segment(&request.segment);
		describe_digest(&request.digest);
		describe_keyslot(&request.keyslot, 0, true, area_of(0), sealed_of(0));
		request.macs = (uint64_t)v.macs;
		seal_request(&request, v.message, TRESOR_PURPOSE_CREATE, UUID, TRESOR_ANY_SLOT, 0, NULL, 0, PASS,
			     sizeof(PASS) - 1);
		ASSERT(enter(&request) == TRESOR_OK);
		v.segment = request.segment;
		v.digest = request.digest;
		v.slots[0] = request.keyslot;
		ASSERT(enter(&legacy) == TRESOR_OK && close_handle(legacy.handle) == TRESOR_OK);

		machine.cpu_svn[0]++;
		machine_restart();
		prepare(&opened, PASS, 1, TRESOR_PURPOSE_UNLOCK);
		opened.sealed_out = (uint64_t)sealed_of(1);
		ASSERT(enter(&opened) == TRESOR_OK && opened.resealed == 1);
		ASSERT(sealed_of(1)->policy == policies[i]);
		ASSERT(close_handle(opened.handle) == TRESOR_OK);
		/* The host cannot name one: a policy goes with a new salt. */
		legacy.make = 0;
		legacy.sealed = (uint64_t)sealed_of(2);
		legacy.sealed_out = (uint64_t)sealed_of(1);
		ASSERT(enter(&legacy) == TRESOR_E_REQUEST);
		legacy.policy = 0;
		ASSERT(enter(&legacy) == TRESOR_OK && sealed_of(1)->policy == policies[i]);
		ASSERT(memcmp(sealed_of(1), sealed_of(2), sizeof(struct tresor_sealed_salt)) != 0);
		ASSERT(close_handle(legacy.handle) == TRESOR_OK);
		machine = home;
		machine_restart();
	}
}

/* A dead enclave serves nothing but the wiping of its keys. */
void test_dead(void)
{
	struct tresor_selftest selftest = { .head = HEAD(tresor_selftest, SELFTEST) };
	const struct tresor_volume *volume;
	struct tresor_unlock request;
	uint8_t *data = arena + (3 << 20);

	create(false);
	ASSERT(unlock(PASS, 1, &request) == TRESOR_OK);
	volume = tresor_volumes_get(request.handle);
	tresor_volumes_put(volume);
	tresor_state_die();
	ASSERT(crypt_range(request.handle, false, data, data, 0, 512) == TRESOR_E_DEAD);
	ASSERT(enter(&selftest) == TRESOR_E_DEAD);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	for (size_t i = 0; i < sizeof(*volume); i++)
		ASSERT(((const uint8_t *)volume)[i] == 0);
	ASSERT(close_handle(request.handle) == TRESOR_E_HANDLE);
	machine_restart();
}
