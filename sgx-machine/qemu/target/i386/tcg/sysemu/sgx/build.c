/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building an enclave: ECREATE, EADD, EEXTEND. Each follows the SDM's section of its name, check by check. */
#include "qemu/osdep.h"
#include "sgx.h"

/* "Processor Extended States and ENCLS[ECREATE]" and "SECS.ATTRIBUTES" */
static bool attributes_supported(CPUX86State *env, const SgxAttributes *attributes)
{
    return (attributes->xfrm & 3) == 3 && !(attributes->xfrm & ~sgx_xstate_supported(env)) &&
           !(attributes->flags & ~(uint64_t)env->features[FEAT_SGX_12_1_EAX]);
}

static bool frame_fits(const SgxSecs *secs)
{
    const size_t misc = secs->miscselect & MISC_EXINFO ? sizeof(SgxExinfo) : 0;

    return (uint64_t)secs->ssaframesize * SGX_PAGE >=
           sgx_xstate_size(secs->attributes.xfrm) + misc + sizeof(SgxGprs);
}

static bool range_legal(CPUX86State *env, const SgxSecs *secs)
{
    const bool mode64 = secs->attributes.flags & ATTRIBUTE_MODE64BIT;

    if (mode64 ? !sgx_canonical(env, secs->base) : secs->base >> 32 != 0) {
        return false;
    }
    return secs->size < 1ull << (mode64 ? SGX_MAX_SIZE_64 : SGX_MAX_SIZE_32) && secs->size >= 2 * SGX_PAGE &&
           is_power_of_2(secs->size) && !(secs->base & (secs->size - 1));
}

static bool reserved_zero(const SgxSecs *secs)
{
    const bool kss = secs->attributes.flags & ATTRIBUTE_KSS;

    return sgx_zero(secs->reserved1, sizeof(secs->reserved1)) && sgx_zero(secs->reserved2, sizeof(secs->reserved2)) &&
           sgx_zero(secs->reserved3, sizeof(secs->reserved3)) && sgx_zero(secs->reserved4, sizeof(secs->reserved4)) &&
           (kss || (sgx_zero(secs->configid, sizeof(secs->configid)) && secs->configsvn == 0));
}

/* "ECREATE". RBX: PAGEINFO, RCX: the page that becomes the SECS. */
SgxEnd sgx_ecreate(SgxCall *call)
{
    SgxPageinfo info;
    SgxSecinfo secinfo;
    SgxSecs secs;
    uint8_t block[64] = "ECREATE";
    uint32_t page;

    if (call->rbx % 32 || call->rcx % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, true, &page)) {
        return sgx_pf(call->rcx, true);
    }
    sgx_read(call, &info, call->rbx, sizeof(info));
    if (info.srcpge % SGX_PAGE || info.secinfo % 64 || info.linaddr || info.secs) {
        return sgx_gp();
    }
    sgx_read(call, &secinfo, info.secinfo, sizeof(secinfo));
    if (secinfo.flags & SECINFO_RESERVED || !sgx_zero(secinfo.reserved, sizeof(secinfo.reserved)) ||
        SECINFO_PT(secinfo.flags) != PT_SECS) {
        return sgx_gp();
    }
    sgx_read(call, &secs, info.srcpge, sizeof(secs));

    QEMU_LOCK_GUARD(&sgx.lock);
    if (sgx.epcm[page].valid) {
        return sgx_pf(call->rcx, true);
    }
    if (!attributes_supported(call->env, &secs.attributes) ||
        secs.miscselect & ~call->env->features[FEAT_SGX_12_0_EBX] || !frame_fits(&secs) ||
        !range_legal(call->env, &secs) || !reserved_zero(&secs)) {
        return sgx_gp();
    }
    secs.attributes.flags &= ~ATTRIBUTE_INIT;
    memset(secs.mrenclave, 0, sizeof(secs.mrenclave));
    memset(secs.mrsigner, 0, sizeof(secs.mrsigner));
    secs.isvprodid = 0;
    secs.isvsvn = 0;
    sgx_fill(page, &secs, (SgxEpcm){ .pt = PT_SECS, .secs = page, .epoch = 1 });
    sgx_hidden(page)->eid = sgx.next_eid++;
    sgx_measure_start(page);
    stl_le_p(block + 8, secs.ssaframesize);
    stq_le_p(block + 12, secs.size);
    sgx_measure(page, block, sizeof(block));
    return sgx_done();
}

/* What EADD asks of a source page's contents, and what it clears in a TCS. */
static bool source_legal(uint8_t pt, uint64_t secinfo, const SgxTcs *tcs, const SgxSecs *secs)
{
    if (pt == PT_REG) {
        return (secinfo & (SECINFO_R | SECINFO_W)) != SECINFO_W;
    }
    return sgx_zero(tcs->reserved, sizeof(tcs->reserved)) && !(tcs->flags & ~TCS_DBGOPTIN) &&
           (secs->attributes.flags & ATTRIBUTE_MODE64BIT ||
            ((tcs->fslimit & 0xfff) == 0xfff && (tcs->gslimit & 0xfff) == 0xfff));
}

/* "EADD". RBX: PAGEINFO, RCX: the page. */
SgxEnd sgx_eadd(SgxCall *call)
{
    SgxPageinfo info;
    SgxSecinfo secinfo;
    union {
        uint8_t bytes[SGX_PAGE];
        SgxTcs tcs;
    } source;
    uint8_t block[64] = "EADD", pt;
    uint32_t page, owner;
    const SgxSecs *secs;

    if (call->rbx % 32 || call->rcx % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, true, &page)) {
        return sgx_pf(call->rcx, true);
    }
    sgx_read(call, &info, call->rbx, sizeof(info));
    if (info.srcpge % SGX_PAGE || info.secs % SGX_PAGE || info.secinfo % 64 || info.linaddr % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, info.secs, true, &owner)) {
        return sgx_pf(info.secs, true);
    }
    sgx_read(call, &secinfo, info.secinfo, sizeof(secinfo));
    pt = SECINFO_PT(secinfo.flags);
    if (secinfo.flags & SECINFO_RESERVED || !sgx_zero(secinfo.reserved, sizeof(secinfo.reserved)) ||
        (pt != PT_REG && pt != PT_TCS)) {
        return sgx_gp();
    }
    sgx_read(call, &source, info.srcpge, sizeof(source));

    QEMU_LOCK_GUARD(&sgx.lock);
    if (sgx.epcm[page].valid) {
        return sgx_pf(call->rcx, true);
    }
    if (!sgx.epcm[owner].valid || sgx.epcm[owner].pt != PT_SECS) {
        return sgx_pf(info.secs, true);
    }
    secs = sgx_secs(owner);
    if (!source_legal(pt, secinfo.flags, &source.tcs, secs) || info.linaddr - secs->base >= secs->size ||
        secs->attributes.flags & ATTRIBUTE_INIT) {
        return sgx_gp();
    }
    if (pt == PT_TCS) {
        secinfo.flags &= ~SECINFO_RWX;
        source.tcs.flags &= ~TCS_DBGOPTIN;
        source.tcs.cssa = 0;
        source.tcs.aep = 0;
        source.tcs.state = 0;
    }
    stq_le_p(block + 8, info.linaddr - secs->base);
    memcpy(block + 16, &secinfo, 48);
    sgx_measure(owner, block, sizeof(block));
    sgx_fill(page, &source,
             (SgxEpcm){ .pt = pt, .rwx = secinfo.flags & SECINFO_RWX, .secs = owner, .address = info.linaddr });
    return sgx_done();
}

/* "EEXTEND". RBX: the SECS, RCX: 256 bytes of a page. */
SgxEnd sgx_eextend(SgxCall *call)
{
    uint8_t block[64] = "EEXTEND";
    uint32_t page, owner;
    const SgxEpcm *entry;

    if (call->rbx % SGX_PAGE || call->rcx % 256) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rbx, false, &owner)) {
        return sgx_pf(call->rbx, false);
    }
    if (!sgx_resolve(call, call->rcx, false, &page)) {
        return sgx_pf(call->rcx, false);
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[page];
    if (!entry->valid || (entry->pt != PT_REG && entry->pt != PT_TCS)) {
        return sgx_pf(call->rcx, false);
    }
    if (entry->secs != owner || sgx_secs(owner)->attributes.flags & ATTRIBUTE_INIT) {
        return sgx_gp();
    }
    stq_le_p(block + 8, entry->address - sgx_secs(owner)->base + call->rcx % SGX_PAGE);
    sgx_measure(owner, block, sizeof(block));
    sgx_measure(owner, sgx_page(page) + call->rcx % SGX_PAGE, 256);
    return sgx_done();
}
