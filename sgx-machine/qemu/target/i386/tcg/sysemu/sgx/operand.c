/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operands in the guest's memory. None is called with the lock held: each may fault. */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "cpu.h"
#include "exec/cpu_ldst.h"
#include "exec/exec-all.h"
#include "tcg/helper-tcg.h"
#include "tcg/sgx.h"
#include "sgx.h"

/* size is a multiple of 8 */
void sgx_read(SgxCall *call, void *to, uint64_t from, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        stq_p((uint8_t *)to + i, cpu_ldq_data_ra(call->env, from + i, call->ra));
    }
}

void sgx_write(SgxCall *call, uint64_t to, const void *from, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        cpu_stq_data_ra(call->env, to + i, ldq_p((const uint8_t *)from + i), call->ra);
    }
}

/* Memory to be written later, when no fault is possible any more. NULL: it is no RAM. Must not cross a page. */
void *sgx_ram(SgxCall *call, uint64_t address, size_t size)
{
    return probe_write(call->env, address, size, cpu_mmu_index(call->env, false), call->ra);
}

/* The EPC page at an address, by the page tables alone. False: it resolves to other memory. */
bool sgx_resolve(SgxCall *call, uint64_t address, bool write, uint32_t *page)
{
    hwaddr at = x86_translate_without_tlb(call->env, address, write ? MMU_DATA_STORE : MMU_DATA_LOAD, call->ra);

    *page = (at - sgx.base) / SGX_PAGE;
    return at - sgx.base < sgx.size;
}

bool sgx_canonical(CPUX86State *env, uint64_t address)
{
    int64_t high = (int64_t)address >> (env->cr[4] & CR4_LA57_MASK ? 56 : 47);

    return high == 0 || high == -1;
}

bool sgx_zero(const void *bytes, size_t size)
{
    return buffer_is_zero(bytes, size);
}
