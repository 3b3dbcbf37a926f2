/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "Page-based Access Control": what a translation becomes when the EPC or enclave mode is involved. */
#include "qemu/osdep.h"
#include "tcg/sgx.h"
#include "sgx.h"

static const SgxAccess abort_page = { .how = SGX_ACCESS_ABORT_PAGE };
static const SgxAccess page_fault = { .how = SGX_ACCESS_PF };

/* An address in ELRANGE must be an EPC page that the EPCM says to be there. */
static SgxAccess direct(const CPUX86State *env, uint64_t address, hwaddr at, MMUAccessType type)
{
    const SgxEpcm *entry;
    int prot;

    if (at - sgx.base >= sgx.size) {
        return page_fault;
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[(at - sgx.base) / SGX_PAGE];
    if (!entry->valid || entry->pt != PT_REG || entry->secs != env->sgx.secs ||
        entry->address != (address & ~(uint64_t)(SGX_PAGE - 1)) || entry->blocked || entry->pending ||
        entry->modified) {
        return page_fault;
    }
    prot = (entry->rwx & SECINFO_R ? PAGE_READ : 0) | (entry->rwx & SECINFO_W ? PAGE_WRITE : 0) |
           (entry->rwx & SECINFO_X ? PAGE_EXEC : 0);
    return prot & (1 << type) ? (SgxAccess){ .how = SGX_ACCESS_OK, .prot = prot } : page_fault;
}

SgxAccess sgx_access(CPUX86State *env, uint64_t address, hwaddr at, MMUAccessType type, bool enclave_mode)
{
    const bool is_epc = at - sgx.base < sgx.size;

    if (enclave_mode && address - env->sgx.base < env->sgx.size) {
        return direct(env, address, at, type);
    }
    if (enclave_mode && type == MMU_INST_FETCH) {
        return (SgxAccess){ .how = SGX_ACCESS_GP };
    }
    if (is_epc) {
        return abort_page;
    }
    /* An enclave executes nothing outside. */
    return (SgxAccess){
        .how = SGX_ACCESS_OK,
        .prot = PAGE_READ | PAGE_WRITE | (enclave_mode ? 0 : PAGE_EXEC),
    };
}
