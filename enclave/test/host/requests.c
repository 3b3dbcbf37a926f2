/* SPDX-License-Identifier: Apache-2.0 */
#include "requests.h"
#include <sys/mman.h>
#include "channel_key.h"
#include "nonces.h"
#include "sgx.h"
#include "volumes.h"

#define AT(type, field) offsetof(struct type, field)
/* In lists, where 0 ends. */
#define IN(type, field) (AT(type, field) + 1)
#define ELEMENTS_KEYSLOT .array = sizeof(struct tresor_keyslot), \
	.element_addresses = { IN(tresor_keyslot, area), IN(tresor_keyslot, sealed) }, \
	.element_costs = { IN(tresor_keyslot, kdf.time), IN(tresor_keyslot, kdf.memory_kib), \
			   IN(tresor_keyslot, pass_kdf.time), IN(tresor_keyslot, pass_kdf.memory_kib) }

const struct operation operations[OPERATIONS] = {
	[0] = { .name = "NONE", .size = sizeof(struct tresor_head) },
	[TRESOR_OP_HELLO] = { .name = "HELLO", .size = sizeof(struct tresor_hello) },
	[TRESOR_OP_CHALLENGE] = { .name = "CHALLENGE", .size = sizeof(struct tresor_challenge) },
	[TRESOR_OP_REPORT] = { .name = "REPORT", .size = sizeof(struct tresor_report),
		.addresses = { IN(tresor_report, target_info), IN(tresor_report, report) } },
	[TRESOR_OP_CREATE] = { .name = "CREATE", .size = sizeof(struct tresor_create),
		.addresses = { IN(tresor_create, message.address), IN(tresor_create, keyslot.area),
			       IN(tresor_create, keyslot.sealed), IN(tresor_create, macs) },
		.costs = { IN(tresor_create, digest.iterations), IN(tresor_create, keyslot.kdf.time),
			   IN(tresor_create, keyslot.kdf.memory_kib), IN(tresor_create, keyslot.pass_kdf.time),
			   IN(tresor_create, keyslot.pass_kdf.memory_kib) } },
	[TRESOR_OP_UNLOCK] = { .name = "UNLOCK", .size = sizeof(struct tresor_unlock),
		.addresses = { IN(tresor_unlock, message.address), IN(tresor_unlock, keyslots),
			       IN(tresor_unlock, macs), IN(tresor_unlock, macs_out), IN(tresor_unlock, sealed_out) },
		.costs = { IN(tresor_unlock, digest.iterations) },
		.array_at = AT(tresor_unlock, keyslots), ELEMENTS_KEYSLOT },
	[TRESOR_OP_ENROL] = { .name = "ENROL", .size = sizeof(struct tresor_enrol),
		.addresses = { IN(tresor_enrol, message.address), IN(tresor_enrol, keyslots),
			       IN(tresor_enrol, macs), IN(tresor_enrol, macs_out),
			       IN(tresor_enrol, fresh.area), IN(tresor_enrol, fresh.sealed) },
		.costs = { IN(tresor_enrol, digest.iterations), IN(tresor_enrol, fresh.kdf.time),
			   IN(tresor_enrol, fresh.kdf.memory_kib), IN(tresor_enrol, fresh.pass_kdf.time),
			   IN(tresor_enrol, fresh.pass_kdf.memory_kib) },
		.array_at = AT(tresor_enrol, keyslots), ELEMENTS_KEYSLOT },
	[TRESOR_OP_SECTORS] = { .name = "SECTORS", .size = sizeof(struct tresor_sectors),
		.addresses = { IN(tresor_sectors, ranges) }, .array_at = AT(tresor_sectors, ranges),
		.array = sizeof(struct tresor_range),
		.element_addresses = { IN(tresor_range, in), IN(tresor_range, out) } },
	[TRESOR_OP_CLOSE] = { .name = "CLOSE", .size = sizeof(struct tresor_close) },
	[TRESOR_OP_LEGACY] = { .name = "LEGACY", .size = sizeof(struct tresor_legacy),
		.addresses = { IN(tresor_legacy, sealed), IN(tresor_legacy, sealed_out),
			       IN(tresor_legacy, message.address) },
		.costs = { IN(tresor_legacy, kdf.time), IN(tresor_legacy, kdf.memory_kib) } },
	[TRESOR_OP_BLOCKS] = { .name = "BLOCKS", .size = sizeof(struct tresor_blocks),
		.addresses = { IN(tresor_blocks, blocks) }, .array_at = AT(tresor_blocks, blocks),
		.array = sizeof(struct tresor_block), .element_addresses = { IN(tresor_block, in), IN(tresor_block, out) } },
	[TRESOR_OP_BEQUEATH] = { .name = "BEQUEATH", .size = sizeof(struct tresor_bequeath),
		.addresses = { IN(tresor_bequeath, message.address), IN(tresor_bequeath, keyslots),
			       IN(tresor_bequeath, macs), IN(tresor_bequeath, report), IN(tresor_bequeath, handover) },
		.costs = { IN(tresor_bequeath, digest.iterations) },
		.array_at = AT(tresor_bequeath, keyslots), ELEMENTS_KEYSLOT },
	[TRESOR_OP_INHERIT] = { .name = "INHERIT", .size = sizeof(struct tresor_inherit),
		.addresses = { IN(tresor_inherit, handover), IN(tresor_inherit, sealed_out) } },
	[TRESOR_OP_REENCRYPT] = { .name = "REENCRYPT", .size = sizeof(struct tresor_reencrypt),
		.addresses = { IN(tresor_reencrypt, message.address), IN(tresor_reencrypt, pass),
			       IN(tresor_reencrypt, old_keyslots), IN(tresor_reencrypt, new_keyslots),
			       IN(tresor_reencrypt, old_macs), IN(tresor_reencrypt, new_macs) },
		.costs = { IN(tresor_reencrypt, verification.iterations) },
		.array_at = AT(tresor_reencrypt, old_keyslots), ELEMENTS_KEYSLOT },
	[TRESOR_OP_ZONE] = { .name = "ZONE", .size = sizeof(struct tresor_zone) },
	[TRESOR_OP_CONVERT] = { .name = "CONVERT", .size = sizeof(struct tresor_convert),
		.addresses = { IN(tresor_convert, ranges) }, .array_at = AT(tresor_convert, ranges),
		.array = sizeof(struct tresor_range),
		.element_addresses = { IN(tresor_range, in), IN(tresor_range, out) } },
	[TRESOR_OP_APPROVE] = { .name = "APPROVE", .size = sizeof(struct tresor_approve),
		.addresses = { IN(tresor_approve, message.address), IN(tresor_approve, keyslots), IN(tresor_approve, macs) },
		.costs = { IN(tresor_approve, digest.iterations) },
		.array_at = AT(tresor_approve, keyslots), ELEMENTS_KEYSLOT },
	[TRESOR_OP_YIELD] = { .name = "YIELD", .size = sizeof(struct tresor_yield),
		.addresses = { IN(tresor_yield, report), IN(tresor_yield, yielded) } },
	[TRESOR_OP_TAKE_OVER] = { .name = "TAKE_OVER", .size = sizeof(struct tresor_take_over),
		.addresses = { IN(tresor_take_over, yielded), IN(tresor_take_over, macs) },
		.costs = { IN(tresor_take_over, digest.iterations) } },
	[TRESOR_OP_FINISH] = { .name = "FINISH", .size = sizeof(struct tresor_finish) },
	[TRESOR_OP_SELFTEST] = { .name = "SELFTEST", .size = sizeof(struct tresor_selftest) },
	[TRESOR_OP_BENCHMARK] = { .name = "BENCHMARK", .size = sizeof(struct tresor_benchmark),
		.costs = { IN(tresor_benchmark, kdf.time), IN(tresor_benchmark, kdf.memory_kib) } },
	[TRESOR_OP_ASSIST] = { .name = "ASSIST", .size = sizeof(struct tresor_assist) },
};

#define PASS "correct horse"
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

static uint8_t *place(uint32_t slot) { return arena + ((size_t)slot << 19); }

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

uint64_t requests_address(uint64_t choice)
{
	uint64_t more = choice >> 4;

	switch (choice & 15) {
	case 0:		return tresor_test_base + more % ENCLAVE_SIZE;
	case 1:		return tresor_test_base + (more % ENCLAVE_SIZE & ~7ull);
	case 2:		return tresor_test_base - (more % 4096 + 1) * 8;
	case 3:		return tresor_test_base - (more % 32768 + 1) * 8;
	case 4:		return tresor_test_base + ENCLAVE_SIZE - (more % 4096 + 1) * 8;
	case 5:		return tresor_test_base + ENCLAVE_SIZE;
	case 6:		return UINT64_MAX - more % 4096;
	case 7:		return (UINT64_MAX - more % 65536) & ~7ull;
	case 8:		return (1ull << 47) + (more % 4096) * 8;
	case 9:		return 1ull << (48 + more % 16);
	case 10:	return (uint64_t)arena + more % ARENA_POINTERS;
	case 11:	return tresor_test_base - 8;
	default:	return (uint64_t)arena + (more % ARENA_POINTERS & ~7ull);
	}
}

static void limit(uint8_t *base, const uint16_t *costs)
{
	uint32_t value;

	for (; *costs; costs++) {
		memcpy(&value, base + *costs - 1, 4);
		/* The floor, so that a keyslot that is made can be. */
		if (value > TRESOR_KDF_FLOOR_ITERATIONS)
			value %= 64;
		memcpy(base + *costs - 1, &value, 4);
	}
}

void requests_limit(uint32_t op, uint8_t request[REQUEST_MAX])
{
	const struct operation *o = &operations[op];

	limit(request, o->costs);
	for (uint32_t i = 0; o->array && i < TRESOR_KEYSLOTS; i++)
		limit(place(2) + i * o->array, o->element_costs);
}

static bool readable(uint64_t address, uint32_t count)
{
	return count <= TRESOR_KEYSLOTS && address % 8 == 0 && address >= (uint64_t)arena && address < (uint64_t)arena + ARENA_POINTERS;
}

void requests_seal_again(uint32_t op, uint8_t request[REQUEST_MAX])
{
	struct tresor_unlock unlock;
	struct tresor_enrol enrol;
	struct tresor_bequeath bequeath;

	switch (op) {
	case TRESOR_OP_CREATE:
		seal_request(request, place(6), TRESOR_PURPOSE_CREATE, UUID, TRESOR_ANY_SLOT, 0, NULL, 0, "new", 3);
		break;
	case TRESOR_OP_UNLOCK:
		memcpy(&unlock, request, sizeof(unlock));
		if (readable(unlock.keyslots, unlock.count))
			seal_request(request, place(6), unlock.macs_out ? TRESOR_PURPOSE_AUTHENTICATE : TRESOR_PURPOSE_UNLOCK,
				     UUID, TRESOR_ANY_SLOT, TRESOR_ANY_SLOT, PASS, sizeof(PASS) - 1, NULL, 0);
		break;
	case TRESOR_OP_ENROL:
		memcpy(&enrol, request, sizeof(enrol));
		if (readable(enrol.keyslots, enrol.count))
			seal_request(request, place(6), TRESOR_PURPOSE_ENROL, UUID, TRESOR_ANY_SLOT, 9, PASS,
				     sizeof(PASS) - 1, "new", 3);
		break;
	case TRESOR_OP_BEQUEATH:
		memcpy(&bequeath, request, sizeof(bequeath));
		if (readable(bequeath.keyslots, bequeath.count))
			seal_request(request, place(6), TRESOR_PURPOSE_SUCCEED, UUID, TRESOR_ANY_SLOT, TRESOR_ANY_SLOT,
				     PASS, sizeof(PASS) - 1, NULL, 0);
		break;
	default:
		break;
	}
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
		memcpy(&handle, request + AT(tresor_unlock, handle), 4);
	if (status == TRESOR_OK && head.op == TRESOR_OP_REENCRYPT)
		memcpy(&handle, request + AT(tresor_reencrypt, handle), 4);
	if (status == TRESOR_OK && head.op == TRESOR_OP_LEGACY)
		memcpy(&handle, request + AT(tresor_legacy, handle), 4);
	if (handle != 0) {
		struct tresor_close close = { .head = HEAD(tresor_close, CLOSE), .handle = handle };

		ASSERT(enter(&close) == TRESOR_OK);
	}
	if (scan)
		scan_for_keys();
	return status;
}
