/* SPDX-License-Identifier: Apache-2.0 */
/* What ended an enclave, in words. Told once, by the first thread to find out; allocates nothing. */
#include <stdio.h>

#include "addon/backend.h"

static bool is_first_fault(struct tresor_image *image)
{
	uint32_t none = 0;

	return __atomic_compare_exchange_n(&image->faulted, &none, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void tresor_image_not_entered(struct tresor_image *image, int error)
{
	if (!is_first_fault(image))
		return;
	snprintf(image->fault, sizeof(image->fault), "the kernel cannot enter it: error %d", error);
	__atomic_store_n(&image->faulted, 2, __ATOMIC_RELEASE);
}

void tresor_image_fault(struct tresor_image *image, const char *where, uint16_t vector, uint16_t error_code,
			uint64_t address)
{
	static const char *const names[] = {
		[0] = "#DE", [1] = "#DB", [3] = "#BP", [5] = "#BR", [6] = "#UD",
		[13] = "#GP", [14] = "#PF", [16] = "#MF", [17] = "#AC", [19] = "#XM",
	};
	const char *name = vector < sizeof(names) / sizeof(names[0]) ? names[vector] : NULL;

	if (!is_first_fault(image))
		return;
	/* SDM vol. 3A, page-fault error code, bit 15: the EPC does not have the page. */
	if (vector == 14 && (error_code & 0x8000))
		snprintf(image->fault, sizeof(image->fault), "the enclave's memory was lost (suspend or migration)");
	else
		snprintf(image->fault, sizeof(image->fault), "%s faulted: %s (vector %u, error 0x%x, address 0x%llx)",
			 where, name != NULL ? name : "exception", vector, error_code, (unsigned long long)address);
	__atomic_store_n(&image->faulted, 2, __ATOMIC_RELEASE);
}

const char *tresor_image_fault_text(const struct tresor_image *image)
{
	return __atomic_load_n(&image->faulted, __ATOMIC_ACQUIRE) == 2 ? image->fault : NULL;
}
