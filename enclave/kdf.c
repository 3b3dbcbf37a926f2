/* SPDX-License-Identifier: Apache-2.0 */
#include "kdf.h"
#include "heap.h"
#include "crypto/argon2.h"
#include "crypto/pbkdf2.h"

uint32_t tresor_kdf_check(const struct tresor_kdf *kdf)
{
	if (kdf->time == 0)
		return TRESOR_E_UNSUPPORTED;
	if (kdf->type == TRESOR_KDF_PBKDF2)
		return hash_known(kdf->hash) ? TRESOR_OK : TRESOR_E_UNSUPPORTED;
	if (kdf->type != TRESOR_KDF_ARGON2I && kdf->type != TRESOR_KDF_ARGON2ID)
		return TRESOR_E_UNSUPPORTED;
	if (kdf->lanes == 0 || kdf->lanes > ARGON2_LANES_MAX || kdf->memory_kib < 8 * kdf->lanes)
		return TRESOR_E_UNSUPPORTED;
	return TRESOR_OK;
}

bool tresor_kdf_above_floor(const struct tresor_kdf *kdf)
{
	if (kdf->type == TRESOR_KDF_PBKDF2)
		return kdf->time >= TRESOR_KDF_FLOOR_ITERATIONS;
	return (uint64_t)kdf->time * kdf->memory_kib >= TRESOR_KDF_FLOOR_PASSES_KIB;
}

uint32_t tresor_kdf_run(const struct tresor_kdf *kdf, const void *pass, size_t pass_size,
			const void *salt, size_t salt_size, uint8_t *out, size_t out_size,
			uint32_t *needed_kib)
{
	uint64_t size;
	void *memory;
	bool done;

	if (kdf->type == TRESOR_KDF_PBKDF2) {
		pbkdf2(kdf->hash, pass, pass_size, salt, salt_size, kdf->time, out, out_size);
		return TRESOR_OK;
	}
	size = argon2_memory(kdf->memory_kib, kdf->lanes);
	memory = tresor_heap_alloc(size);
	if (!memory) {
		/* size <= 2^32 KiB: memory_kib is a uint32_t and is rounded down. */
		if (*needed_kib < size / 1024)
			*needed_kib = (uint32_t)(size / 1024);
		return TRESOR_E_MEMORY;
	}
	done = argon2(kdf->type, pass, pass_size, salt, salt_size, kdf->time, kdf->memory_kib,
		      kdf->lanes, out, out_size, memory);
	tresor_heap_drop_from(memory);	/* argon2 leaves it zero */
	return done ? TRESOR_OK : TRESOR_E_BUSY;
}
