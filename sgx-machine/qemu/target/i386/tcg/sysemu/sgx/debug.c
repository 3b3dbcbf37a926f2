/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "EDBGRD" and "EDBGWR": eight bytes of a debug enclave. */
#include "qemu/osdep.h"
#include "sgx.h"

/* What both check of a page's owner. */
static bool debuggable(const SgxEpcm *entry)
{
    return sgx_secs(entry->secs)->attributes.flags & ATTRIBUTE_DEBUG;
}

/* RCX: where; the value goes to RBX. */
SgxEnd sgx_edbgrd(SgxCall *call)
{
    uint32_t page;
    const SgxEpcm *entry;
    uint64_t value;

    if (call->rcx % 8) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, false, &page)) {
        return sgx_pf(call->rcx, false);
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[page];
    if (!entry->valid || (entry->pt != PT_REG && entry->pt != PT_TCS && entry->pt != PT_VA)) {
        return sgx_pf(call->rcx, false);
    }
    if (entry->pending || entry->modified) {
        return sgx_status(SGX_PAGE_NOT_DEBUGGABLE);
    }
    if (entry->pt == PT_TCS && call->rcx % SGX_PAGE >= TCS_LIMIT) {
        return sgx_gp();
    }
    value = ldq_le_p(sgx_page(page) + call->rcx % SGX_PAGE);
    if (entry->pt == PT_VA) {
        /* Whether a slot is taken, never by which version. */
        value = value & ~7ull ? UINT64_MAX : 0;
    } else if (!debuggable(entry)) {
        return sgx_gp();
    }
    call->env->regs[R_EBX] = value;
    return sgx_status(SGX_SUCCESS);
}

/* RCX: where, RBX: the value. */
SgxEnd sgx_edbgwr(SgxCall *call)
{
    uint32_t page;
    const SgxEpcm *entry;

    if (call->rcx % 8) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, true, &page)) {
        return sgx_pf(call->rcx, true);
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[page];
    if (!entry->valid || (entry->pt != PT_REG && entry->pt != PT_TCS)) {
        return sgx_pf(call->rcx, true);
    }
    if (entry->pending || entry->modified) {
        return sgx_status(SGX_PAGE_NOT_DEBUGGABLE);
    }
    if (entry->pt == PT_TCS && call->rcx % SGX_PAGE != offsetof(SgxTcs, flags)) {
        return sgx_gp();
    }
    if (!debuggable(entry)) {
        return sgx_gp();
    }
    stq_le_p(sgx_page(page) + call->rcx % SGX_PAGE, call->rbx);
    sgx_written(page);
    return sgx_status(SGX_SUCCESS);
}
