/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "EREMOVE" */
#include "qemu/osdep.h"
#include "sgx.h"

/* RCX: the page. */
SgxEnd sgx_eremove(SgxCall *call)
{
    uint32_t page;
    const SgxEpcm *entry;

    if (call->rcx % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, true, &page)) {
        return sgx_pf(call->rcx, true);
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[page];
    if (!entry->valid) {
        return sgx_status(SGX_SUCCESS);
    }
    /* A page that the enclave has given back can go while others are inside. */
    if (entry->pt == PT_VA || (entry->pt == PT_TRIM && !entry->modified)) {
        sgx_drop(page);
        return sgx_status(SGX_SUCCESS);
    }
    if (entry->pt == PT_SECS) {
        if (entry->children) {
            return sgx_status(SGX_CHILD_PRESENT);
        }
        sgx_drop(page);
        return sgx_status(SGX_SUCCESS);
    }
    if (sgx.epcm[entry->secs].inside) {
        return sgx_status(SGX_ENCLAVE_ACT);
    }
    sgx_drop(page);
    return sgx_status(SGX_SUCCESS);
}
