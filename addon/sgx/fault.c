/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/sgx/fault.h"

#include <stdbool.h>
#include <stdio.h>

static bool is_first_fault(struct tresor_image *image)
{
	uint32_t none = 0;

	return __atomic_compare_exchange_n(&image->faulted, &none, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void tresor_image_dead(struct tresor_image *image)
{
	if (!is_first_fault(image))
		return;
	snprintf(image->fault, sizeof(image->fault), "a self-test inside it failed, and it was wiped");
	__atomic_store_n(&image->faulted, 2, __ATOMIC_RELEASE);
}

void tresor_image_not_entered(struct tresor_image *image, int error)
{
	if (!is_first_fault(image))
		return;
	snprintf(image->fault, sizeof(image->fault), "the kernel cannot enter it: error %d", error);
	__atomic_store_n(&image->faulted, 2, __ATOMIC_RELEASE);
}

/* SDM vol. 3A, page-fault error code. */
#define PF_WRITE	0x0002u
#define PF_FETCH	0x0010u
#define PF_SGX		0x8000u	/* the EPC does not have the page */

/*
 * A page that is there and may be touched so does not fault, unless the kernel
 * cannot give it: one that was swapped out when a suspend emptied the EPC faults
 * as any other, without PF_SGX. A TCS is the CPU's own to touch.
 */
static bool is_permitted(const struct tresor_image *image, uint16_t error_code, uint64_t address)
{
	const uint64_t offset = address - image->secs.base;
	const uint8_t needed = error_code & PF_FETCH ? SGX_SECINFO_X :
			       error_code & PF_WRITE ? SGX_SECINFO_W :
						       SGX_SECINFO_R;
	uint8_t page;

	if (address < image->secs.base || offset >= image->secs.size)
		return false;
	page = image->pages[offset / SGX_PAGE_SIZE];
	return (page & TRESOR_PAGE_TCS) || (page & needed);
}

void tresor_image_fault(struct tresor_image *image, const char *where, uint16_t vector, uint16_t error_code,
			uint64_t address)
{
	static const char *const names[] = {
		[0] = "#DE",  [1] = "#DB",  [3] = "#BP",  [5] = "#BR",	[6] = "#UD",
		[13] = "#GP", [14] = "#PF", [16] = "#MF", [17] = "#AC", [19] = "#XM",
	};
	const char *name = vector < sizeof(names) / sizeof(names[0]) ? names[vector] : NULL;

	if (!is_first_fault(image))
		return;
	if (vector == 14 && ((error_code & PF_SGX) || is_permitted(image, error_code, address)))
		snprintf(image->fault, sizeof(image->fault), "the enclave's memory was lost (%s)", image->gone);
	else
		snprintf(image->fault, sizeof(image->fault), "%s faulted: %s (vector %u, error 0x%x, address 0x%llx)",
			 where, name != NULL ? name : "exception", vector, error_code, (unsigned long long)address);
	__atomic_store_n(&image->faulted, 2, __ATOMIC_RELEASE);
}

const char *tresor_image_fault_text(const struct tresor_image *image)
{
	return __atomic_load_n(&image->faulted, __ATOMIC_ACQUIRE) == 2 ? image->fault : NULL;
}
