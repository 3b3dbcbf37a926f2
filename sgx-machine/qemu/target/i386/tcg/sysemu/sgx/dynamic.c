/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SGX2, the system's side: EAUG, EMODPR, EMODT. The enclave agrees by EACCEPT. */
#include "qemu/osdep.h"
#include "sgx.h"

/* "EAUG". RBX: PAGEINFO, RCX: the page. CET's form, with a SECINFO, is #GP as on CPUs without CET. */
SgxEnd sgx_eaug(SgxCall *call)
{
    SgxPageinfo info;
    uint32_t page, owner;
    const SgxSecs *secs;

    if (call->rbx % 32 || call->rcx % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, true, &page)) {
        return sgx_pf(call->rcx, true);
    }
    sgx_read(call, &info, call->rbx, sizeof(info));
    if (info.secs % SGX_PAGE || info.linaddr % SGX_PAGE || info.srcpge || info.secinfo) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, info.secs, true, &owner)) {
        return sgx_pf(info.secs, true);
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    if (sgx.epcm[page].valid) {
        return sgx_pf(call->rcx, true);
    }
    if (!sgx.epcm[owner].valid || sgx.epcm[owner].pt != PT_SECS) {
        return sgx_pf(info.secs, true);
    }
    secs = sgx_secs(owner);
    if (!(secs->attributes.flags & ATTRIBUTE_INIT) || info.linaddr - secs->base >= secs->size) {
        return sgx_gp();
    }
    sgx_fill(page, NULL, (SgxEpcm){
        .pt = PT_REG, .rwx = SECINFO_R | SECINFO_W, .pending = true, .secs = owner, .address = info.linaddr,
    });
    return sgx_done();
}

/* "EMODPR". RBX: SECINFO, RCX: the page. */
SgxEnd sgx_emodpr(SgxCall *call)
{
    SgxSecinfo secinfo;
    SgxEpcm *entry;
    uint32_t page;

    if (call->rbx % 64 || call->rcx % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, true, &page)) {
        return sgx_pf(call->rcx, true);
    }
    sgx_read(call, &secinfo, call->rbx, sizeof(secinfo));
    if (secinfo.flags & SECINFO_RESERVED || !sgx_zero(secinfo.reserved, sizeof(secinfo.reserved)) ||
        (secinfo.flags & (SECINFO_R | SECINFO_W)) == SECINFO_W) {
        return sgx_gp();
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[page];
    if (!entry->valid) {
        return sgx_pf(call->rcx, true);
    }
    if (entry->pending || entry->modified) {
        return sgx_status(SGX_PAGE_NOT_MODIFIABLE);
    }
    if (entry->pt != PT_REG) {
        return sgx_pf(call->rcx, true);
    }
    if (!(sgx_secs(entry->secs)->attributes.flags & ATTRIBUTE_INIT)) {
        return sgx_gp();
    }
    entry->pr = true;
    entry->rwx &= secinfo.flags;
    entry->epoch = sgx.epcm[entry->secs].epoch;
    return sgx_status(SGX_SUCCESS);
}

/* "EMODT". RBX: SECINFO, RCX: the page. */
SgxEnd sgx_emodt(SgxCall *call)
{
    SgxSecinfo secinfo;
    SgxEpcm *entry;
    uint32_t page;
    uint8_t pt;

    if (call->rbx % 64 || call->rcx % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, true, &page)) {
        return sgx_pf(call->rcx, true);
    }
    sgx_read(call, &secinfo, call->rbx, sizeof(secinfo));
    pt = SECINFO_PT(secinfo.flags);
    if (secinfo.flags & SECINFO_RESERVED || !sgx_zero(secinfo.reserved, sizeof(secinfo.reserved)) ||
        (pt != PT_TCS && pt != PT_TRIM)) {
        return sgx_gp();
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[page];
    if (!entry->valid) {
        return sgx_pf(call->rcx, true);
    }
    if (entry->pt != PT_REG && !(entry->pt == PT_TCS && pt == PT_TRIM)) {
        return sgx_pf(call->rcx, true);
    }
    if (entry->pending || entry->modified) {
        return sgx_status(SGX_PAGE_NOT_MODIFIABLE);
    }
    if (!(sgx_secs(entry->secs)->attributes.flags & ATTRIBUTE_INIT)) {
        return sgx_gp();
    }
    entry->pr = false;
    entry->modified = true;
    entry->rwx = 0;
    entry->pt = pt;
    entry->epoch = sgx.epcm[entry->secs].epoch;
    return sgx_status(SGX_SUCCESS);
}
