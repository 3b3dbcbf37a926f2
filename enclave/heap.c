/* SPDX-License-Identifier: Apache-2.0 */
#include "heap.h"
#include "enclu.h"
#include "layout.h"
#include "mem.h"
#include "crypto/wipe.h"

#ifdef TRESOR_HOST_TEST
extern unsigned char tresor_heap[HEAP_SIZE + DYNAMIC_SIZE];
#else
extern unsigned char tresor_heap[];	/* enclave.lds: static part, then dynamic */
#endif

#define ALIGNMENT	64u

static uint32_t taken;		/* atomic */
/* The rest belongs to the tenant; init runs before there can be one. */
static uint64_t limit = HEAP_SIZE;
static uint64_t usable = HEAP_SIZE;	/* present: added, or accepted by us */
static uint64_t used;

void tresor_heap_init(uint64_t dynamic_size)
{
	if (dynamic_size > DYNAMIC_SIZE)
		dynamic_size = DYNAMIC_SIZE;
	limit = HEAP_SIZE + (dynamic_size & ~(uint64_t)(PAGE_SIZE - 1));
}

uint64_t tresor_heap_size(void)
{
	return limit;
}

bool tresor_heap_take(void)
{
	uint32_t none = 0;

	return __atomic_compare_exchange_n(&taken, &none, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/*
 * Only EACCEPT tells that a page is ours and zero; the host's word is not
 * asked for. A page the host does not give faults, which costs the enclave.
 */
static bool accept_up_to(uint64_t end)
{
	struct sgx_secinfo secinfo = {
		.flags = SGX_SECINFO_R | SGX_SECINFO_W | SGX_SECINFO_PENDING | SGX_SECINFO_REG,
	};

	while (usable < end) {
		if (tresor_enclu(ENCLU_EACCEPT, &secinfo, tresor_heap + usable, NULL) != 0)
			return false;
		usable += PAGE_SIZE;
	}
	return true;
}

void *tresor_heap_alloc(uint64_t size)
{
	void *start = tresor_heap + used;

	if (size > limit - used)
		return NULL;
	/* limit is a multiple of ALIGNMENT, so that the rounded end is within it. */
	size = (size + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
	if (!accept_up_to(used + size))
		return NULL;
	used += size;
	return start;
}

void tresor_heap_drop_from(void *from)
{
	used = (uint64_t)((unsigned char *)from - tresor_heap);
}

void tresor_heap_free_from(void *from)
{
	wipe(from, used - (uint64_t)((unsigned char *)from - tresor_heap));
	tresor_heap_drop_from(from);
}

void tresor_heap_give(void)
{
	tresor_heap_free_from(tresor_heap);
	__atomic_store_n(&taken, 0, __ATOMIC_RELEASE);
}
