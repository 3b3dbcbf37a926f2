/* SPDX-License-Identifier: Apache-2.0 */
/* A volume sealed to one enclave opens in another that its user named, and what a hostile host makes of that. */
#include "channel_key.h"
#include "sgx.h"
#include "volume.h"

enum { OLD = 0xe1, NEW = 0xb2, FOREIGN = 0xc3 };

/* One that runs beside the others; see machine_set_channel. */
struct enclave {
	uint8_t mrenclave, secret[32], public[32];
	uint16_t isv_svn;
};

static struct enclave old, new;

static void switch_to(const struct enclave *enclave)
{
	memset(machine.mrenclave, enclave->mrenclave, 32);
	machine.isv_svn = enclave->isv_svn;
	machine_restart();
	machine_set_channel(enclave->secret, enclave->public);
}

static struct enclave start(uint8_t mrenclave, uint16_t isv_svn)
{
	struct enclave enclave = { .mrenclave = mrenclave, .isv_svn = isv_svn };

	memset(machine.mrenclave, mrenclave, 32);
	machine.isv_svn = isv_svn;
	machine_restart();
	memcpy(enclave.secret, machine_channel_secret(), 32);
	memcpy(enclave.public, tresor_channel_public(), 32);
	return enclave;
}

static struct sgx_report *report_at(void) { return (void *)(arena + (7 << 20)); }
static struct tresor_handover *handover_at(void) { return (void *)(arena + (7 << 20) + 8192); }
static struct tresor_sealed_salt *inherited_at(void) { return (void *)(arena + (7 << 20) + 16384); }

/* What the running enclave says of itself to the one with MRENCLAVE `target`. */
static void report(uint8_t target)
{
	struct sgx_target_info *info = (void *)(arena + (7 << 20) + 4096);
	struct tresor_report request = { .head = HEAD(tresor_report, REPORT), .nonce = { 9 },
					 .target_info = (uint64_t)info, .report = (uint64_t)report_at() };

	memset(info, 0, sizeof(*info));
	memset(info->mrenclave, target, 32);
	ASSERT(enter(&request) == TRESOR_OK);
}

static void seal_bequeath(struct tresor_bequeath *request, const char *pass)
{
	seal_request(request, v.message, TRESOR_PURPOSE_SUCCEED, UUID, TRESOR_ANY_SLOT, TRESOR_ANY_SLOT, pass,
		     (uint32_t)strlen(pass), NULL, 0);
}

/* To the successor `to`, whose report lies in the arena; sealed for the running enclave. */
static void prepare_bequeath(struct tresor_bequeath *request, const struct enclave *to, const char *pass)
{
	*request = (struct tresor_bequeath){
		.head = HEAD(tresor_bequeath, BEQUEATH), .segment = v.segment, .digest = v.digest,
		.keyslots = (uint64_t)v.array, .count = 1, .policy = TRESOR_POLICY_MRENCLAVE,
		.macs = (uint64_t)v.macs, .report = (uint64_t)report_at(), .handover = (uint64_t)handover_at(),
		.nonce = { 9 },
	};
	memset(request->successor, to->mrenclave, 32);
	memcpy(request->public_key, to->public, 32);
	v.array[0] = v.slots[0];
	v.array[0].flags = TRESOR_KEYSLOT_TRY;
	memset(handover_at(), 0x77, sizeof(struct tresor_handover));
	seal_bequeath(request, pass);
}

static bool nothing_left(void)
{
	for (size_t i = 0; i < sizeof(struct tresor_handover); i++) {
		if (((uint8_t *)handover_at())[i] != 0x77)
			return false;
	}
	return true;
}

static uint32_t inherit(void)
{
	struct tresor_inherit request = { .head = HEAD(tresor_inherit, INHERIT), .handover = (uint64_t)handover_at(),
					  .sealed_out = (uint64_t)inherited_at() };

	return enter(&request);
}

static void create_sealed_to_mrenclave(void)
{
	struct tresor_create request = { .head = HEAD(tresor_create, CREATE), .policy = TRESOR_POLICY_MRENCLAVE };

	create(true);	/* for the arena's layout */
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
}

static void succeed(void)
{
	struct tresor_bequeath request;
	struct tresor_unlock opened;

	switch_to(&new);
	ASSERT(unlock(PASS, 1, &opened) == TRESOR_E_SEAL_ENCLAVE);
	report(OLD);
	switch_to(&old);
	prepare_bequeath(&request, &new, "wrong");
	ASSERT(enter(&request) == TRESOR_E_PASSPHRASE && nothing_left());
	prepare_bequeath(&request, &new, PASS);
	ASSERT(enter(&request) == TRESOR_OK && request.outcome.slot == 0 && request.outcome.seal_status == 0);
	ASSERT(!memmem(handover_at(), sizeof(struct tresor_handover), machine_channel_secret(), 16));
	/* The nonce was for once. */
	ASSERT(enter(&request) == TRESOR_E_MESSAGE);

	switch_to(&new);
	ASSERT(inherit() == TRESOR_OK);
	*sealed_of(0) = *inherited_at();
	ASSERT(unlock(PASS, 1, &opened) == TRESOR_OK && opened.resealed == 0 && opened.slots_changed == 0);
	ASSERT(close_handle(opened.handle) == TRESOR_OK);
	ASSERT(unlock("wrong", 1, &opened) == TRESOR_E_PASSPHRASE);
	switch_to(&old);
	ASSERT(unlock(PASS, 1, &opened) == TRESOR_E_SEAL_ENCLAVE);
}

/* The predecessor gives nothing to whom the user did not name. */
static void redirect(void)
{
	struct tresor_bequeath request;
	struct enclave foreign = start(FOREIGN, 2);
	struct sgx_report copy;

#define REFUSED(change, expected) do { \
		prepare_bequeath(&request, &new, PASS); \
		change; \
		ASSERT(enter(&request) == (expected) && nothing_left()); \
	} while (0)
	/* Another enclave's genuine report, with the request made for the one the user named. */
	report(OLD);
	switch_to(&old);
	REFUSED((void)0, TRESOR_E_SUCCESSOR);
	REFUSED(memcpy(request.public_key, foreign.public, 32), TRESOR_E_SUCCESSOR);
	/* And the host names that enclave itself: the user's request says otherwise. */
	REFUSED(memcpy(request.public_key, foreign.public, 32); memset(request.successor, FOREIGN, 32),
		TRESOR_E_MESSAGE);

	/* The right enclave's report, for somebody else, or with a key of the host's. */
	switch_to(&new);
	report(FOREIGN);
	switch_to(&old);
	REFUSED((void)0, TRESOR_E_SUCCESSOR);
	switch_to(&new);
	report(OLD);
	copy = *report_at();
	switch_to(&old);
	REFUSED(memcpy(request.public_key, foreign.public, 32), TRESOR_E_SUCCESSOR);
	REFUSED(request.nonce[0] ^= 1, TRESOR_E_SUCCESSOR);
	for (size_t i = 0; i < sizeof(copy); i++) {
		REFUSED(((uint8_t *)report_at())[i] ^= 1, TRESOR_E_SUCCESSOR);
		*report_at() = copy;
	}
	/* What else the user's request names. */
	REFUSED(request.policy = TRESOR_POLICY_MRSIGNER, TRESOR_E_MESSAGE);
	REFUSED(request.policy = 0, TRESOR_E_REQUEST);
	REFUSED(v.array[0].salt[0] ^= 1, TRESOR_E_MESSAGE);
	REFUSED(request.segment.sector_size = 4096, TRESOR_E_MESSAGE);
	REFUSED(request.macs = 0, TRESOR_E_MESSAGE);
	REFUSED(request.macs = 0; seal_bequeath(&request, PASS), TRESOR_E_HEADER);
	ASSERT(request.outcome.macs_missing == 1);
	REFUSED(request.segment.iv_tweak = 8; seal_bequeath(&request, PASS), TRESOR_E_HEADER);
	ASSERT(request.outcome.segment_changed == 1);
	REFUSED(request.reserved = 1, TRESOR_E_REQUEST);
	REFUSED(request.handover = tresor_test_base + 4096, TRESOR_E_REQUEST);
	REFUSED(request.report = tresor_test_base + 4096, TRESOR_E_REQUEST);
	/* A request for another purpose is none to hand over. */
	REFUSED(seal_request(&request, v.message, TRESOR_PURPOSE_UNLOCK, UUID, TRESOR_ANY_SLOT, TRESOR_ANY_SLOT, PASS,
			     sizeof(PASS) - 1, NULL, 0), TRESOR_E_MESSAGE);
	/* A keyslot without a sealed salt has nothing to hand over. */
	create(false);
	REFUSED((void)0, TRESOR_E_REQUEST);
	create_sealed_to_mrenclave();
}

/* A successor of another kind: another product, debuggable, or older. */
static void unlike(void)
{
	struct tresor_bequeath request;
	struct enclave older;

	switch_to(&new);
	machine.isv_prod_id = 2;
	report(OLD);
	machine.isv_prod_id = 1;
	switch_to(&old);
	REFUSED((void)0, TRESOR_E_SUCCESSOR);
	switch_to(&new);
	machine.attributes |= 2;
	report(OLD);
	machine.attributes &= ~2ull;
	switch_to(&old);
	REFUSED((void)0, TRESOR_E_SUCCESSOR);

	older = start(NEW, 1);
	report(OLD);
	switch_to(&old);
	prepare_bequeath(&request, &older, PASS);
	ASSERT(enter(&request) == TRESOR_E_SEAL_VERSION && nothing_left());
	/* Only who seals the request may ask for that. */
	prepare_bequeath(&request, &older, PASS);
	request.message.context.flags |= TRESOR_ADMIT_DOWNGRADE;
	ASSERT(enter(&request) == TRESOR_E_MESSAGE && nothing_left());
	sender_flags |= TRESOR_ADMIT_DOWNGRADE;
	prepare_bequeath(&request, &older, PASS);
	ASSERT(enter(&request) == TRESOR_OK);
	sender_flags &= ~TRESOR_ADMIT_DOWNGRADE;
	switch_to(&older);
	ASSERT(inherit() == TRESOR_OK);
}

/* The successor seals what was meant for it, for a keyslot, and only that. */
static void replay(void)
{
	struct tresor_bequeath request;
	struct tresor_handover handover;

	switch_to(&new);
	report(OLD);
	switch_to(&old);
	prepare_bequeath(&request, &new, PASS);
	ASSERT(enter(&request) == TRESOR_OK);
	handover = *handover_at();

	switch_to(&new);
	for (size_t i = 0; i < sizeof(handover); i++) {
		uint32_t status;

		((uint8_t *)handover_at())[i] ^= 1;
		status = inherit();
		ASSERT(status == TRESOR_E_MESSAGE || status == TRESOR_E_REQUEST);
		*handover_at() = handover;
	}
	/* A legacy record's seal, which no digest would tell from a wrong one. */
	handover_at()->slot = TRESOR_ANY_SLOT;
	ASSERT(inherit() == TRESOR_E_REQUEST);
	*handover_at() = handover;
	handover_at()->slot = TRESOR_KEYSLOTS;
	ASSERT(inherit() == TRESOR_E_REQUEST);
	*handover_at() = handover;
	ASSERT(inherit() == TRESOR_OK);
	/* Another start has another key; another enclave is another successor. */
	(void)start(NEW, 2);
	ASSERT(inherit() == TRESOR_E_MESSAGE);
	switch_to(&old);
	ASSERT(inherit() == TRESOR_E_MESSAGE);
	ASSERT(!memmem(inherited_at(), sizeof(struct tresor_sealed_salt), handover.salt, 16));
}

void test_succession(void)
{
	old = start(OLD, 2);
	create_sealed_to_mrenclave();
	new = start(NEW, 2);
	succeed();
	/* As before the succession: the host has a copy. */
	switch_to(&old);
	create_sealed_to_mrenclave();
	redirect();
	unlike();
	replay();
	memset(machine.mrenclave, OLD, 32);
	machine.isv_svn = 2;
	machine_restart();
}
