/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SGX2, the enclave's side: EACCEPT, EMODPE, EACCEPTCOPY. */
#include "qemu/osdep.h"
#include "sgx.h"

static bool in_elrange(const SgxCall *call, uint64_t address)
{
    return address - call->env->sgx.base < call->env->sgx.size;
}

/* The combinations of type and state that EACCEPT accepts at all. */
static bool acceptable(uint64_t flags)
{
    const uint8_t pt = SECINFO_PT(flags);

    if (pt == PT_REG) {
        return flags & (SECINFO_PR | SECINFO_PENDING) && !(flags & SECINFO_MODIFIED);
    }
    return (pt == PT_TCS || pt == PT_TRIM) &&
           (flags & (SECINFO_PR | SECINFO_PENDING | SECINFO_MODIFIED)) == SECINFO_MODIFIED;
}

/* What EACCEPT asks of a page that becomes a TCS. */
static bool tcs_legal(const SgxTcs *tcs, const SgxSecs *secs)
{
    return sgx_zero(tcs->reserved, sizeof(tcs->reserved)) && !(tcs->flags & TCS_DBGOPTIN) &&
           tcs->cssa < tcs->nssa && tcs->aep == 0 && tcs->state == 0 &&
           (secs->attributes.flags & ATTRIBUTE_MODE64BIT ||
            ((tcs->fslimit & 0xfff) == 0xfff && (tcs->gslimit & 0xfff) == 0xfff));
}

/* "EACCEPT". RBX: SECINFO, RCX: the page. Reading it checks the page of the SECINFO. */
SgxEnd sgx_eaccept(SgxCall *call)
{
    const uint64_t compared = SECINFO_RWX | SECINFO_PENDING | SECINFO_MODIFIED | 0xff00;
    SgxSecinfo secinfo;
    SgxEpcm *entry;
    uint32_t page;

    if (call->rbx % 64 || !in_elrange(call, call->rbx)) {
        return sgx_gp();
    }
    sgx_read(call, &secinfo, call->rbx, sizeof(secinfo));
    if (secinfo.flags & SECINFO_RESERVED || !sgx_zero(secinfo.reserved, sizeof(secinfo.reserved)) ||
        call->rcx % SGX_PAGE || !in_elrange(call, call->rcx)) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, false, &page)) {
        return sgx_pf(call->rcx, false);
    }
    if (!acceptable(secinfo.flags)) {
        return sgx_gp();
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[page];
    if (!entry->valid || entry->blocked || !sgx_has_secs(entry) || entry->secs != call->env->sgx.secs) {
        return sgx_pf(call->rcx, false);
    }
    if (entry->address != call->rcx || (sgx_secinfo_flags(entry) ^ secinfo.flags) & compared) {
        return sgx_status(SGX_PAGE_ATTRIBUTES_MISMATCH);
    }
    if (!sgx_tracked(entry)) {
        return sgx_status(SGX_NOT_TRACKED);
    }
    if (entry->pt == PT_TCS && !tcs_legal((const SgxTcs *)sgx_page(page), sgx_secs(entry->secs))) {
        return sgx_gp();
    }
    entry->pending = false;
    entry->modified = false;
    entry->pr = false;
    return sgx_status(SGX_SUCCESS);
}

/* "EMODPE". RBX: SECINFO, RCX: the page. */
SgxEnd sgx_emodpe(SgxCall *call)
{
    SgxSecinfo secinfo;
    SgxEpcm *entry;
    uint32_t page;

    if (call->rbx % 64 || call->rcx % SGX_PAGE || !in_elrange(call, call->rbx) || !in_elrange(call, call->rcx)) {
        return sgx_gp();
    }
    sgx_read(call, &secinfo, call->rbx, sizeof(secinfo));
    if (!sgx_resolve(call, call->rcx, false, &page)) {
        return sgx_pf(call->rcx, false);
    }
    if (secinfo.flags & SECINFO_RESERVED || !sgx_zero(secinfo.reserved, sizeof(secinfo.reserved))) {
        return sgx_gp();
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[page];
    if (!entry->valid || entry->pending || entry->modified || entry->blocked || entry->pt != PT_REG ||
        entry->secs != call->env->sgx.secs || entry->address != call->rcx) {
        return sgx_pf(call->rcx, false);
    }
    if (!((entry->rwx | secinfo.flags) & SECINFO_R) && secinfo.flags & SECINFO_W) {
        return sgx_gp();
    }
    /* No translation is dropped: one that allows less is looked up again before it faults. */
    entry->rwx |= secinfo.flags & SECINFO_RWX;
    return sgx_done();
}

/* "EACCEPTCOPY". RBX: SECINFO, RCX: the page, RDX: its contents. Reading them checks the pages they lie in. */
SgxEnd sgx_eacceptcopy(SgxCall *call)
{
    SgxSecinfo secinfo;
    SgxEpcm *entry;
    uint8_t bytes[SGX_PAGE];
    uint32_t page;

    if (call->rbx % 64 || call->rcx % SGX_PAGE || call->rdx % SGX_PAGE || !in_elrange(call, call->rbx) ||
        !in_elrange(call, call->rcx) || !in_elrange(call, call->rdx)) {
        return sgx_gp();
    }
    sgx_read(call, &secinfo, call->rbx, sizeof(secinfo));
    if (!sgx_resolve(call, call->rcx, true, &page)) {
        return sgx_pf(call->rcx, true);
    }
    if (secinfo.flags & SECINFO_RESERVED || !sgx_zero(secinfo.reserved, sizeof(secinfo.reserved)) ||
        (secinfo.flags & (SECINFO_R | SECINFO_W)) == SECINFO_W || SECINFO_PT(secinfo.flags) != PT_REG) {
        return sgx_gp();
    }
    sgx_read(call, bytes, call->rdx, sizeof(bytes));

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[page];
    if (!entry->valid || !entry->pending || entry->modified || entry->blocked || entry->pt != PT_REG ||
        entry->secs != call->env->sgx.secs || entry->rwx != (SECINFO_R | SECINFO_W) || entry->address != call->rcx) {
        return sgx_status(SGX_PAGE_ATTRIBUTES_MISMATCH);
    }
    memcpy(sgx_page(page), bytes, sizeof(bytes));
    sgx_written(page);
    entry->rwx = secinfo.flags & SECINFO_RWX;
    entry->pending = false;
    return sgx_status(SGX_SUCCESS);
}
