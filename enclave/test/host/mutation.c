/* SPDX-License-Identifier: Apache-2.0 */
#include "mutation.h"
#include "requests.h"

uint64_t mutation_address(uint64_t choice)
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

void mutation_limit(uint32_t op, uint8_t request[REQUEST_MAX])
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

void mutation_seal_again(uint32_t op, uint8_t request[REQUEST_MAX])
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
