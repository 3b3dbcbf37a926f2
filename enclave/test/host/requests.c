/* SPDX-License-Identifier: Apache-2.0 */
#include "requests.h"
#include <sys/mman.h>
#include "channel_key.h"
#include "nonces.h"
#include "sgx.h"
#include "volumes.h"

/* Room on both sides of ELRANGE, so that a range that leaves it by a byte is the host's. */
#define BESIDE	(512ull << 20)

static struct {
	struct tresor_create made;
	uint8_t area[64 * 4000];
	struct tresor_sealed_salt sealed, legacy;
	struct tresor_macs macs;
	struct sgx_report report;	/* of the enclave, to itself */
	struct tresor_handover handover;
	struct tresor_yielded yielded;
	uint32_t handle, legacy_handle, pass_handle;
	uint8_t volume_key[32], tweak_key[32];
	/* The same with a new key, for reencryption. */
	struct tresor_create renewed;
	uint8_t new_area[64 * 4000];
	struct tresor_sealed_salt new_sealed;
	struct tresor_macs new_macs;
	uint8_t new_key[32];
} volume;

static void fill_legacy(struct tresor_legacy *request)
{
	*request = (struct tresor_legacy){
		.head = HEAD(tresor_legacy, LEGACY), .uuid = "legacy",
		.key_size = 16, .mode = TRESOR_CBC,
		.kdf = { .type = TRESOR_KDF_PBKDF2, .hash = TRESOR_SHA256, .time = 5 },
		.sealed = (uint64_t)place(3), .sealed_out = (uint64_t)place(4), .bytes_size = 16,
	};
}

/* The enclave is its own successor. */
static void prepare_succession(void)
{
	struct sgx_target_info *self = (void *)place(0);
	struct tresor_report report = { .head = HEAD(tresor_report, REPORT), .target_info = (uint64_t)self,
					.report = (uint64_t)place(1) };
	struct tresor_bequeath bequeath;
	struct tresor_yield yield;
	uint8_t request[REQUEST_MAX];

	memset(self, 0, sizeof(*self));
	memcpy(self->mrenclave, machine.mrenclave, sizeof(self->mrenclave));
	ASSERT(enter(&report) == TRESOR_OK);
	memcpy(&volume.report, place(1), sizeof(volume.report));
	requests_template(TRESOR_OP_BEQUEATH, true, request);
	memcpy(&bequeath, request, sizeof(bequeath));
	ASSERT(enter(&bequeath) == TRESOR_OK);
	memcpy(&volume.handover, place(9), sizeof(volume.handover));
	requests_template(TRESOR_OP_YIELD, true, request);
	memcpy(&yield, request, sizeof(yield));
	ASSERT(enter(&yield) == TRESOR_OK);
	memcpy(&volume.yielded, place(9), sizeof(volume.yielded));
}

static void prepare_pass(void)
{
	const struct tresor_volume *open;
	struct tresor_reencrypt reencrypt;
	uint8_t request[REQUEST_MAX];

	requests_template(TRESOR_OP_REENCRYPT, true, request);
	memcpy(&reencrypt, request, sizeof(reencrypt));
	ASSERT(enter(&reencrypt) == TRESOR_OK);
	volume.pass_handle = reencrypt.handle;
	open = tresor_volumes_get(volume.pass_handle);
	memcpy(volume.new_key, open->key.pass.fresh.data.encrypt, 32);
	tresor_volumes_put(open);
}

void requests_prepare(void)
{
	const struct tresor_volume *open;
	struct tresor_legacy legacy;
	struct tresor_unlock unlock;
	uint8_t request[REQUEST_MAX];

	for (int side = 0; side < 2; side++) {
		uint64_t where = side ? tresor_test_base + ENCLAVE_SIZE : tresor_test_base - BESIDE;

		ASSERT(mmap((void *)where, BESIDE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) ==
		       (void *)where);
	}
	requests_template(TRESOR_OP_CREATE, true, request);
	memcpy(&volume.made, request, sizeof(volume.made));
	ASSERT(enter(&volume.made) == TRESOR_OK);
	memcpy(volume.area, (void *)volume.made.keyslot.area, sizeof(volume.area));
	memcpy(&volume.sealed, (void *)volume.made.keyslot.sealed, sizeof(volume.sealed));
	memcpy(&volume.macs, (void *)volume.made.macs, sizeof(volume.macs));

	requests_template(TRESOR_OP_CREATE, true, request);
	memcpy(&volume.renewed, request, sizeof(volume.renewed));
	ASSERT(enter(&volume.renewed) == TRESOR_OK);
	memcpy(volume.new_area, (void *)volume.renewed.keyslot.area, sizeof(volume.new_area));
	memcpy(&volume.new_sealed, (void *)volume.renewed.keyslot.sealed, sizeof(volume.new_sealed));
	memcpy(&volume.new_macs, (void *)volume.renewed.macs, sizeof(volume.new_macs));

	requests_template(TRESOR_OP_UNLOCK, true, request);
	memcpy(&unlock, request, sizeof(unlock));
	ASSERT(enter(&unlock) == TRESOR_OK);
	volume.handle = unlock.handle;
	open = tresor_volumes_get(volume.handle);
	/* An AES-256 schedule starts with the key itself. */
	memcpy(volume.volume_key, open->key.xts.data.encrypt, 32);
	memcpy(volume.tweak_key, open->key.xts.tweak.encrypt, 32);
	tresor_volumes_put(open);

	fill_legacy(&legacy);
	legacy.make = 1;
	legacy.policy = TRESOR_POLICY_MRSIGNER;
	ASSERT(enter(&legacy) == TRESOR_OK);
	volume.legacy_handle = legacy.handle;
	memcpy(&volume.legacy, place(4), sizeof(volume.legacy));
	prepare_succession();
	prepare_pass();
}

/* Puts the volume's keyslot where requests point. */
static uint64_t plant_keyslots(void)
{
	struct tresor_keyslot *keyslot = (void *)place(2);

	memcpy(place(0), volume.area, sizeof(volume.area));
	memcpy(place(1), &volume.sealed, sizeof(volume.sealed));
	memset(keyslot, 0, TRESOR_KEYSLOTS * sizeof(*keyslot));
	for (uint32_t i = 0; i < TRESOR_KEYSLOTS; i++) {
		keyslot[i] = volume.made.keyslot;
		keyslot[i].slot = i;
		keyslot[i].area = (uint64_t)place(0);
		keyslot[i].sealed = (uint64_t)place(1);
		keyslot[i].flags = i == 0 ? TRESOR_KEYSLOT_TRY : 0;
	}
	memcpy(place(5), &volume.macs, sizeof(volume.macs));
	return (uint64_t)keyslot;
}

/* The same of the new key, behind it, and the pass from one to the other. */
static void plant_pass(struct tresor_reencrypt *request)
{
	struct tresor_keyslot *keyslot = (void *)place(10);
	struct tresor_pass *pass = (void *)place(11);

	memcpy(place(12), volume.new_area, sizeof(volume.new_area));
	memcpy(place(13), &volume.new_sealed, sizeof(volume.new_sealed));
	memcpy(place(14), &volume.new_macs, sizeof(volume.new_macs));
	*keyslot = volume.renewed.keyslot;
	keyslot->area = (uint64_t)place(12);
	keyslot->sealed = (uint64_t)place(13);
	keyslot->flags = TRESOR_KEYSLOT_TRY;
	*pass = (struct tresor_pass){ .uuid = UUID, .previous = volume.made.segment, .final = volume.renewed.segment,
		.old_digest = volume.made.digest, .new_digest = volume.renewed.digest,
		.resilience = TRESOR_CHECKSUM, .block = 512, .area_offset = 1 << 20, .area_size = 1 << 20,
		.mode = TRESOR_REENCRYPT };
	request->pass = (uint64_t)pass;
	request->old_keyslots = plant_keyslots();
	request->new_keyslots = (uint64_t)keyslot;
	request->old_macs = (uint64_t)place(5);
	request->new_macs = (uint64_t)place(14);
	request->old_count = request->new_count = request->start = 1;
	request->use = TRESOR_PASS_ZONES | TRESOR_PASS_SECTORS;
	describe_digest(&request->verification);
}

/* What would be let through next. */
static void next_range(struct tresor_range *range)
{
	const struct tresor_volume *open = tresor_volumes_get(volume.pass_handle);

	*range = (struct tresor_range){ .in = (uint64_t)place(3), .out = (uint64_t)place(4), .length = 512 };
	if (!open)	/* a CLOSE was bent to it */
		return;
	range->sector = open->key.pass.next / 512;
	tresor_volumes_put(open);
}

static uint64_t next_zone(void)
{
	const struct tresor_volume *open = tresor_volumes_get(volume.pass_handle);
	uint64_t hot = open && open->key.pass.start != open->key.pass.end ? 0 : 4096;

	if (open)
		tresor_volumes_put(open);
	return hot;
}

static void message(void *request, struct tresor_message *m, bool sealed, uint32_t purpose,
		    uint32_t fresh_slot, bool existing, bool fresh)
{
	if (sealed) {
		seal_request(request, place(6), purpose, UUID, TRESOR_ANY_SLOT, fresh_slot, PASS,
			     existing ? sizeof(PASS) - 1 : 0, "new", fresh ? 3 : 0);
		return;
	}
	*m = (struct tresor_message){ .address = (uint64_t)place(6), .size = 100 };
	m->context = (struct tresor_context){ .version = TRESOR_ABI_VERSION, .purpose = purpose, .uuid = UUID,
					      .slot = TRESOR_ANY_SLOT, .fresh_slot = fresh_slot,
					      .flags = sender_flags };
}

void requests_template(uint32_t op, bool sealed, uint8_t request[REQUEST_MAX])
{
	struct tresor_head head = { .op = op, .size = operations[op].size };
	union {
		struct tresor_hello hello;
		struct tresor_challenge challenge;
		struct tresor_report report;
		struct tresor_create create;
		struct tresor_unlock unlock;
		struct tresor_enrol enrol;
		struct tresor_sectors sectors;
		struct tresor_close close;
		struct tresor_legacy legacy;
		struct tresor_blocks blocks;
		struct tresor_benchmark benchmark;
		struct tresor_bequeath bequeath;
		struct tresor_inherit inherit;
		struct tresor_reencrypt reencrypt;
		struct tresor_zone zone;
		struct tresor_convert convert;
		struct tresor_approve approve;
		struct tresor_yield yield;
		struct tresor_take_over take_over;
		struct tresor_finish finish;
	} r;

	memset(&r, 0, sizeof(r));
	memcpy(&r, &head, sizeof(head));	/* seal_request looks at it */
	switch (op) {
	case TRESOR_OP_HELLO:
		r.hello.abi_version = TRESOR_ABI_VERSION;
		break;
	case TRESOR_OP_CHALLENGE:
		r.challenge.purpose = TRESOR_PURPOSE_UNLOCK;
		break;
	case TRESOR_OP_REPORT:
		r.report.target_info = (uint64_t)place(0);
		r.report.report = (uint64_t)place(1);
		break;
	case TRESOR_OP_CREATE:
		r.create.policy = TRESOR_POLICY_MRSIGNER;
		describe_segment(&r.create.segment);
		describe_digest(&r.create.digest);
		describe_keyslot(&r.create.keyslot, 0, true, place(7), place(8));
		r.create.macs = (uint64_t)place(9);
		message(&r.create, &r.create.message, sealed, TRESOR_PURPOSE_CREATE, 0, false, true);
		if (sealed && volume.handle == 0)	/* the fixture: with the passphrase of the others */
			seal_request(&r.create, place(6), TRESOR_PURPOSE_CREATE, UUID, TRESOR_ANY_SLOT,
				     0, NULL, 0, PASS, sizeof(PASS) - 1);
		break;
	case TRESOR_OP_UNLOCK:
		r.unlock = (struct tresor_unlock){ .head = head, .segment = volume.made.segment, .digest = volume.made.digest,
			.keyslots = plant_keyslots(), .count = 1,
			.macs = (uint64_t)place(5), .sealed_out = (uint64_t)place(9) };
		message(&r.unlock, &r.unlock.message, sealed, TRESOR_PURPOSE_UNLOCK, TRESOR_ANY_SLOT, true, false);
		break;
	case TRESOR_OP_ENROL:
		r.enrol = (struct tresor_enrol){ .head = head, .segment = volume.made.segment, .digest = volume.made.digest,
			.keyslots = plant_keyslots(), .count = 3, .policy = TRESOR_POLICY_MRSIGNER,
			.macs = (uint64_t)place(5), .macs_out = (uint64_t)place(9) };
		describe_keyslot(&r.enrol.fresh, 9, true, place(7), place(8));
		message(&r.enrol, &r.enrol.message, sealed, TRESOR_PURPOSE_ENROL, 9, true, true);
		break;
	case TRESOR_OP_SECTORS:
		r.sectors = (struct tresor_sectors){ .handle = volume.handle, .count = 4,
						     .ranges = (uint64_t)place(2) };
		for (uint32_t i = 0; i < TRESOR_RANGES; i++)
			((struct tresor_range *)place(2))[i] = (struct tresor_range){
				.in = (uint64_t)place(3), .out = (uint64_t)place(4), .sector = i, .length = 512 };
		break;
	case TRESOR_OP_CLOSE:
		r.close.handle = volume.handle + TRESOR_VOLUMES;
		break;
	case TRESOR_OP_LEGACY:
		fill_legacy(&r.legacy);
		memcpy(place(3), &volume.legacy, sizeof(volume.legacy));
		if (sealed) {
			r.legacy.bytes_size = 0;
			seal_request(&r.legacy, place(6), TRESOR_PURPOSE_LEGACY, "legacy",
				     TRESOR_ANY_SLOT, TRESOR_ANY_SLOT, PASS, sizeof(PASS) - 1, NULL, 0);
		}
		break;
	case TRESOR_OP_BLOCKS:
		r.blocks = (struct tresor_blocks){ .count = 4, .blocks = (uint64_t)place(2) };
		for (uint32_t i = 0; i < TRESOR_RANGES; i++)
			((struct tresor_block *)place(2))[i] = (struct tresor_block){
				.in = (uint64_t)place(3), .out = (uint64_t)place(4),
				.length = i % 2 ? 512 : 64 + i % 3 * 16, .iv = { (uint8_t)i },
				.handle = i % 2 ? volume.handle : volume.legacy_handle,
				.mode = i % 2 ? TRESOR_XTS : TRESOR_CBC };
		break;
	case TRESOR_OP_BEQUEATH:
		r.bequeath = (struct tresor_bequeath){ .head = head, .segment = volume.made.segment,
			.digest = volume.made.digest, .keyslots = plant_keyslots(), .count = 1,
			.policy = TRESOR_POLICY_MRENCLAVE, .macs = (uint64_t)place(5), .report = (uint64_t)place(3),
			.handover = (uint64_t)place(9) };
		memcpy(place(3), &volume.report, sizeof(volume.report));
		memcpy(r.bequeath.successor, machine.mrenclave, sizeof(r.bequeath.successor));
		memcpy(r.bequeath.public_key, tresor_channel_public(), sizeof(r.bequeath.public_key));
		message(&r.bequeath, &r.bequeath.message, sealed, TRESOR_PURPOSE_SUCCEED, TRESOR_ANY_SLOT, true, false);
		break;
	case TRESOR_OP_INHERIT:
		memcpy(place(3), &volume.handover, sizeof(volume.handover));
		r.inherit = (struct tresor_inherit){ .handover = (uint64_t)place(3), .sealed_out = (uint64_t)place(9) };
		break;
	case TRESOR_OP_REENCRYPT:
		plant_pass(&r.reencrypt);
		message(&r.reencrypt, &r.reencrypt.message, sealed, TRESOR_PURPOSE_REENCRYPT, TRESOR_ANY_SLOT, true, false);
		break;
	case TRESOR_OP_ZONE:
		r.zone = (struct tresor_zone){ .handle = volume.pass_handle, .hot = next_zone() };
		break;
	case TRESOR_OP_CONVERT:
		r.convert = (struct tresor_convert){ .handle = volume.pass_handle, .count = 1, .ranges = (uint64_t)place(2) };
		for (uint32_t i = 0; i < TRESOR_RANGES; i++)
			next_range((struct tresor_range *)place(2) + i);
		break;
	case TRESOR_OP_FINISH:
		r.finish = (struct tresor_finish){ .handle = volume.pass_handle };
		break;
	case TRESOR_OP_APPROVE:
		r.approve = (struct tresor_approve){ .head = head, .segment = volume.made.segment,
			.digest = volume.made.digest, .keyslots = plant_keyslots(), .count = 1, .handle = volume.handle,
			.macs = (uint64_t)place(5), .successor = { 1 } };
		message(&r.approve, &r.approve.message, sealed, TRESOR_PURPOSE_APPROVE, TRESOR_ANY_SLOT, true, false);
		break;
	case TRESOR_OP_YIELD:
		memcpy(place(3), &volume.report, sizeof(volume.report));
		r.yield = (struct tresor_yield){ .handle = volume.handle, .report = (uint64_t)place(3),
						 .yielded = (uint64_t)place(9) };
		memcpy(r.yield.public_key, tresor_channel_public(), sizeof(r.yield.public_key));
		break;
	case TRESOR_OP_TAKE_OVER:
		/* As if the nonce of the report, all zeros, had been a challenge: it is used up each time. */
		ASSERT(tresor_nonces_add(volume.yielded.nonce, TRESOR_PURPOSE_TAKE_OVER) == TRESOR_OK);
		memcpy(place(3), &volume.yielded, sizeof(volume.yielded));
		memcpy(place(5), &volume.macs, sizeof(volume.macs));
		r.take_over = (struct tresor_take_over){ .uuid = UUID, .segment = volume.made.segment,
			.digest = volume.made.digest, .yielded = (uint64_t)place(3), .macs = (uint64_t)place(5) };
		break;
	case TRESOR_OP_BENCHMARK:
		r.benchmark.kdf = (struct tresor_kdf){ .type = TRESOR_KDF_ARGON2ID, .time = 1, .memory_kib = 32,
						       .lanes = 2 };
		r.benchmark.key_size = 32;
		break;
	default:
		break;
	}
	memcpy(&r, &head, sizeof(head));
	memcpy(request, &r, operations[op].size);
}

static void scan_for_keys(void)
{
	const uint8_t *keys[] = { volume.volume_key, volume.tweak_key, machine_channel_secret(), volume.new_key };

	for (int i = 0; i < 4; i++) {
		ASSERT(!memmem(arena, ARENA_POINTERS + (1 << 20), keys[i], 16));
		ASSERT(!memmem(arena + ARENA_SIZE - 4096, 4096, keys[i], 16));
		ASSERT(!memmem(arena, ARENA_POINTERS + (1 << 20), keys[i] + 16, 16));
	}
}

uint32_t requests_enter(uint8_t request[REQUEST_MAX], bool scan)
{
	struct tresor_head head;
	uint32_t handle = 0;
	uint32_t status = enter_bytes(request, REQUEST_MAX);

	memcpy(&head, request, sizeof(head));
	ASSERT(status <= TRESOR_E_DEAD || (status >= TRESOR_E_SEAL_DAMAGED && status <= TRESOR_E_SUCCESSOR));
	ASSERT(status != TRESOR_E_DEAD && status != TRESOR_E_RANDOM);
	if (status == TRESOR_OK && head.op == TRESOR_OP_UNLOCK)
		memcpy(&handle, request + offsetof(struct tresor_unlock, handle), 4);
	if (status == TRESOR_OK && head.op == TRESOR_OP_REENCRYPT)
		memcpy(&handle, request + offsetof(struct tresor_reencrypt, handle), 4);
	if (status == TRESOR_OK && head.op == TRESOR_OP_LEGACY)
		memcpy(&handle, request + offsetof(struct tresor_legacy, handle), 4);
	if (handle != 0) {
		struct tresor_close close = { .head = HEAD(tresor_close, CLOSE), .handle = handle };

		ASSERT(enter(&close) == TRESOR_OK);
	}
	if (scan)
		scan_for_keys();
	return status;
}
