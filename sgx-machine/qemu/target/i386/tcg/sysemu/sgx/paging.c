/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Eviction and reload: EPA, EBLOCK, ETRACK, EWB, ELDB, ELDU. An evicted page
 * is AES-128-GCM under a key that a reset replaces; its version lies in a
 * slot of a VA page, so that each can be reloaded once and no older one.
 */
#include "qemu/osdep.h"
#include <nettle/gcm.h>
#include "sgx.h"

/* "EPA". RBX: PT_VA, RCX: the page. */
SgxEnd sgx_epa(SgxCall *call)
{
    uint32_t page;

    if (call->rbx != PT_VA || call->rcx % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, true, &page)) {
        return sgx_pf(call->rcx, true);
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    if (sgx.epcm[page].valid) {
        return sgx_pf(call->rcx, true);
    }
    sgx_fill(page, NULL, (SgxEpcm){ .pt = PT_VA });
    return sgx_done();
}

/* "EBLOCK". RCX: the page. */
SgxEnd sgx_eblock(SgxCall *call)
{
    uint32_t page;
    SgxEpcm *entry;

    if (call->rcx % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, false, &page)) {
        return sgx_pf(call->rcx, false);
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[page];
    if (!entry->valid) {
        return sgx_status(SGX_PG_INVLD);
    }
    if (!sgx_has_secs(entry)) {
        return sgx_notice(entry->pt == PT_SECS ? SGX_PG_IS_SECS : SGX_NOTBLOCKABLE);
    }
    if (entry->blocked) {
        return sgx_notice(SGX_BLKSTATE);
    }
    entry->blocked = true;
    entry->epoch = sgx.epcm[entry->secs].epoch;
    return sgx_status(SGX_SUCCESS);
}

/* "ETRACK". RCX: the SECS. Its epoch ends; a second time only when nobody is inside since before the last. */
SgxEnd sgx_etrack(SgxCall *call)
{
    uint32_t page;
    SgxEpcm *entry;

    if (call->rcx % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, false, &page)) {
        return sgx_pf(call->rcx, false);
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[page];
    if (!entry->valid || entry->pt != PT_SECS) {
        return sgx_pf(call->rcx, false);
    }
    if (!sgx_left_since(page, entry->epoch - 1)) {
        return sgx_status(SGX_PREV_TRK_INCMPL);
    }
    entry->epoch++;
    return sgx_status(SGX_SUCCESS);
}

/* AES-GCM with the version as nonce, over the header as associated data. */
static void set_up(struct gcm_aes128_ctx *gcm, uint64_t version, const SgxMacHeader *header)
{
    uint8_t nonce[GCM_IV_SIZE] = { 0 };

    stq_le_p(nonce, version);
    gcm_aes128_set_key(gcm, sgx.paging_key);
    gcm_aes128_set_iv(gcm, sizeof(nonce), nonce);
    gcm_aes128_update(gcm, sizeof(*header), (const uint8_t *)header);
}

/* Whether EWB may evict the page now. */
static uint32_t evictable(uint32_t page)
{
    const SgxEpcm *entry = &sgx.epcm[page];

    if (sgx_has_secs(entry)) {
        if (!entry->blocked) {
            return SGX_PAGE_NOT_BLOCKED;
        }
        return sgx_tracked(entry) ? SGX_SUCCESS : SGX_NOT_TRACKED;
    }
    return entry->pt == PT_SECS && entry->children ? SGX_CHILD_PRESENT : SGX_SUCCESS;
}

/* "EWB". RBX: PAGEINFO, RCX: the page, RDX: its slot of a VA page. */
SgxEnd sgx_ewb(SgxCall *call)
{
    SgxPageinfo info, *info_out;
    SgxPcmd pcmd = { 0 }, *pcmd_out;
    SgxMacHeader header = { 0 };
    struct gcm_aes128_ctx gcm;
    uint32_t page, va, code;
    uint8_t *page_out, *slot;
    uint64_t version;
    const SgxEpcm *entry;
    bool occupied;

    if (call->rbx % 32 || call->rcx % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, true, &page)) {
        return sgx_pf(call->rcx, true);
    }
    if (call->rdx % 8) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rdx, true, &va)) {
        return sgx_pf(call->rdx, true);
    }
    if (page == va) {
        return sgx_gp();
    }
    sgx_read(call, &info, call->rbx, sizeof(info));
    if (info.linaddr || info.secs || info.secinfo % 128 || info.srcpge % SGX_PAGE) {
        return sgx_gp();
    }
    info_out = sgx_ram(call, call->rbx, sizeof(info));
    page_out = sgx_ram(call, info.srcpge, SGX_PAGE);
    pcmd_out = sgx_ram(call, info.secinfo, sizeof(pcmd));
    if (!info_out || !page_out || !pcmd_out) {
        return sgx_gp();
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    entry = &sgx.epcm[page];
    if (!entry->valid) {
        return sgx_pf(call->rcx, true);
    }
    if (!sgx.epcm[va].valid || sgx.epcm[va].pt != PT_VA) {
        return sgx_pf(call->rdx, true);
    }
    code = evictable(page);
    if (code != SGX_SUCCESS) {
        return sgx_status(code);
    }
    if (sgx_has_secs(entry)) {
        header.eid = pcmd.enclaveid = sgx_hidden(entry->secs)->eid;
    } else if (entry->pt == PT_SECS) {
        pcmd.enclaveid = sgx_hidden(page)->eid;
    }
    header.linaddr = entry->address;
    header.secinfo.flags = pcmd.secinfo.flags = sgx_secinfo_flags(entry);
    version = sgx.next_version++ << 3; /* the low bits are not the version's, see EDBGRD */
    set_up(&gcm, version, &header);
    gcm_aes128_encrypt(&gcm, SGX_PAGE, page_out, sgx_page(page));
    gcm_aes128_digest(&gcm, sizeof(pcmd.mac), pcmd.mac);
    memcpy(pcmd_out, &pcmd, sizeof(pcmd));
    info_out->linaddr = entry->address;
    slot = sgx_page(va) + call->rdx % SGX_PAGE;
    occupied = ldq_le_p(slot) != 0;
    stq_le_p(slot, version);
    sgx_drop(page);
    return occupied ? sgx_notice(SGX_VA_SLOT_OCCUPIED) : sgx_status(SGX_SUCCESS);
}

/* "ELDB/ELDU". RBX: PAGEINFO, RCX: the page, RDX: the slot. */
static SgxEnd reload(SgxCall *call, bool block)
{
    SgxPageinfo info;
    SgxPcmd pcmd;
    SgxMacHeader header = { 0 };
    SgxEpcm entry;
    struct gcm_aes128_ctx gcm;
    uint8_t bytes[SGX_PAGE], mac[sizeof(pcmd.mac)], *slot;
    uint32_t page, va, owner = 0;

    if (call->rbx % 32 || call->rcx % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, true, &page)) {
        return sgx_pf(call->rcx, true);
    }
    if (call->rdx % 8) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rdx, true, &va)) {
        return sgx_pf(call->rdx, true);
    }
    sgx_read(call, &info, call->rbx, sizeof(info));
    if (info.secinfo % 128 || info.srcpge % SGX_PAGE) {
        return sgx_gp();
    }
    sgx_read(call, &pcmd, info.secinfo, sizeof(pcmd));
    entry = (SgxEpcm){
        .pt = SECINFO_PT(pcmd.secinfo.flags),
        .rwx = pcmd.secinfo.flags & SECINFO_RWX,
        .pending = pcmd.secinfo.flags & SECINFO_PENDING,
        .modified = pcmd.secinfo.flags & SECINFO_MODIFIED,
        .pr = pcmd.secinfo.flags & SECINFO_PR,
        .address = info.linaddr,
    };
    if (sgx_has_secs(&entry)) {
        if (info.secs % SGX_PAGE) {
            return sgx_gp();
        }
        if (!sgx_resolve(call, info.secs, true, &owner)) {
            return sgx_pf(info.secs, true);
        }
    }
    sgx_read(call, bytes, info.srcpge, sizeof(bytes));

    QEMU_LOCK_GUARD(&sgx.lock);
    if (sgx.epcm[page].valid) {
        return sgx_pf(call->rcx, true);
    }
    if (!sgx.epcm[va].valid || sgx.epcm[va].pt != PT_VA) {
        return sgx_pf(call->rdx, true);
    }
    if (sgx_has_secs(&entry)) {
        if (!sgx.epcm[owner].valid || sgx.epcm[owner].pt != PT_SECS) {
            return sgx_pf(info.secs, true);
        }
        header.eid = sgx_hidden(owner)->eid;
    }
    header.linaddr = info.linaddr;
    header.secinfo = pcmd.secinfo;
    memcpy(header.reserved, pcmd.reserved, sizeof(pcmd.reserved));
    slot = sgx_page(va) + call->rdx % SGX_PAGE;
    set_up(&gcm, ldq_le_p(slot), &header);
    gcm_aes128_decrypt(&gcm, sizeof(bytes), bytes, bytes);
    gcm_aes128_digest(&gcm, sizeof(mac), mac);
    if (memcmp(mac, pcmd.mac, sizeof(mac))) {
        return sgx_status(SGX_MAC_COMPARE_FAIL);
    }
    stq_le_p(slot, 0);
    if (sgx_has_secs(&entry)) {
        entry.secs = owner;
        entry.blocked = block;
        entry.epoch = block ? sgx.epcm[owner].epoch : 0;
    } else if (entry.pt == PT_SECS) {
        entry.secs = page;
        entry.epoch = 1;
    }
    sgx_fill(page, bytes, entry);
    return sgx_status(SGX_SUCCESS);
}

SgxEnd sgx_eldb(SgxCall *call)
{
    return reload(call, true);
}

SgxEnd sgx_eldu(SgxCall *call)
{
    return reload(call, false);
}
