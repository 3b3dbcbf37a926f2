/* SPDX-License-Identifier: GPL-2.0-or-later */
/* EENTER and ERESUME: one set of checks, as the SDM's two sections differ in a few lines only. */
#include "qemu/osdep.h"
#include "cpu.h"
#include "exec/exec-all.h"
#include "tcg/helper-tcg.h"
#include "sgx.h"

/* Where an entry finds its frame; what is learned before the frame's pages are resolved. */
typedef struct Frame {
    uint64_t xsave, gprs;       /* linear addresses of the two parts' pages */
    uint32_t xsave_page, gprs_page;
} Frame;

/* "TCS verification" up to the SSA frame. The TCS must lie in the page that its address resolved to. */
static SgxEnd check_tcs(const SgxCall *call, uint32_t page, bool resume, Frame *frame)
{
    const CPUX86State *env = call->env;
    const SgxEpcm *entry = &sgx.epcm[page];
    const SgxTcs *tcs = (const SgxTcs *)sgx_page(page);
    const SgxSecs *secs;
    uint64_t xfrm, bytes;

    if (!entry->valid || entry->blocked || entry->address != call->rbx || entry->pt != PT_TCS || entry->pending ||
        entry->modified) {
        return sgx_pf(call->rbx, true);
    }
    secs = sgx_secs(entry->secs);
    xfrm = secs->attributes.xfrm;
    if (tcs->ossa % SGX_PAGE || tcs->ofsbase % SGX_PAGE || tcs->ogsbase % SGX_PAGE ||
        !sgx_canonical(call->env, secs->base + tcs->ofsbase) ||
        !sgx_canonical(call->env, secs->base + tcs->ogsbase) || tcs->flags & ~TCS_DBGOPTIN ||
        !(secs->attributes.flags & ATTRIBUTE_INIT) || !(secs->attributes.flags & ATTRIBUTE_MODE64BIT) ||
        !(env->cr[4] & CR4_OSFXSR_MASK)) {
        return sgx_gp();
    }
    if (env->cr[4] & CR4_OSXSAVE_MASK ? (xfrm & env->xcr0) != xfrm : xfrm != (XSTATE_FP_MASK | XSTATE_SSE_MASK)) {
        return sgx_gp();
    }
    if (resume ? tcs->cssa == 0 : tcs->cssa >= tcs->nssa) {
        return sgx_gp();
    }
    bytes = (uint64_t)secs->ssaframesize * SGX_PAGE;
    frame->xsave = secs->base + tcs->ossa + bytes * (resume ? tcs->cssa - 1 : tcs->cssa);
    frame->gprs = frame->xsave + bytes - SGX_PAGE;
    return sgx_done();
}

/* A page of the SSA frame must be the enclave's, readable and writable. */
static bool frame_page_legal(uint32_t page, uint64_t address, uint32_t secs)
{
    const SgxEpcm *entry = &sgx.epcm[page];

    return entry->valid && !entry->blocked && !entry->pending && !entry->modified && entry->address == address &&
           entry->pt == PT_REG && entry->secs == secs && (entry->rwx & 3) == (SECINFO_R | SECINFO_W);
}

/* The part of the checks that needs the frame's pages. */
static SgxEnd check_frame(const SgxCall *call, uint32_t page, bool resume, const Frame *frame, const SgxGprs *gprs)
{
    const SgxEpcm *entry = &sgx.epcm[page];
    const SgxTcs *tcs = (const SgxTcs *)sgx_page(page);

    if (!frame_page_legal(frame->xsave_page, frame->xsave, entry->secs)) {
        return sgx_pf(frame->xsave, true);
    }
    if (!frame_page_legal(frame->gprs_page, frame->gprs, entry->secs)) {
        return sgx_pf(frame->gprs, true);
    }
    if (resume && (!sgx_canonical(call->env, gprs->rip) || !sgx_canonical(call->env, gprs->fsbase) ||
                   !sgx_canonical(call->env, gprs->gsbase))) {
        return sgx_gp();
    }
    if (!resume && !sgx_canonical(call->env, sgx_secs(entry->secs)->base + tcs->oentry)) {
        return sgx_gp();
    }
    return tcs->state ? sgx_gp() : sgx_done();
}

static void load_segment(CPUX86State *env, int segment, uint64_t base, uint32_t limit)
{
    env->segs[segment] = (SegmentCache){
        .selector = 0x0b,
        .base = base,
        .limit = limit,
        .flags = DESC_P_MASK | DESC_S_MASK | DESC_W_MASK | DESC_A_MASK | DESC_B_MASK | DESC_G_MASK |
                 (3 << DESC_DPL_SHIFT),
    };
}

/* Enclave mode is a bit of hflags, so that translated code and its caches never mix; and an MMU index of its own. */
void sgx_set_mode(CPUX86State *env, bool inside)
{
    if (inside) {
        env->hflags |= HF_SGX_MASK;
        tlb_flush_by_mmuidx(env_cpu(env), 1 << MMU_ENCLAVE_IDX);
    } else {
        env->hflags &= ~HF_SGX_MASK;
    }
}

/* The registers that ERESUME takes from the frame. */
static void restore(CPUX86State *env, const SgxGprs *gprs)
{
    const uint32_t loaded = NT_MASK | AC_MASK | ID_MASK | RF_MASK;
    const bool may_set_if = ((env->eflags & IOPL_MASK) >> IOPL_SHIFT) == 3;

    memcpy(env->regs, gprs->r, sizeof(gprs->r));
    cpu_load_eflags(env, gprs->rflags, loaded | (may_set_if ? IF_MASK : 0));
    env->eip = gprs->rip;
}

/*
 * A thread whose page the system cannot bring back yet faults, resumes and
 * faults again, until another logical processor has made room. That one's
 * host thread has to run for it: under load, on few host processors, the
 * waiting one would take its time, and the lock that both need.
 */
static void let_others_run(CPUX86State *env)
{
    if (env->sgx.same_faults > 1) {
        g_usleep(200);
    }
}

static SgxEnd enter(SgxCall *call, bool resume)
{
    CPUX86State *env = call->env;
    uint64_t fsbase, gsbase, outer_rsp = env->regs[R_ESP], outer_rbp = env->regs[R_EBP];
    uint32_t page;
    Frame frame;
    SgxEnd end;
    SgxSecs *secs;
    SgxTcs *tcs;
    SgxGprs *gprs;

    if (resume) {
        let_others_run(env);
    }
    if (call->rbx % SGX_PAGE) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rbx, true, &page)) {
        return sgx_pf(call->rbx, true);
    }
    if (!sgx_canonical(env, call->rcx)) {
        return sgx_gp();
    }
    WITH_QEMU_LOCK_GUARD(&sgx.lock) {
        end = check_tcs(call, page, resume, &frame);
    }
    if (end.how != SGX_DONE) {
        return end;
    }
    if (!sgx_resolve(call, frame.xsave, true, &frame.xsave_page)) {
        return sgx_pf(frame.xsave, true);
    }
    if (!sgx_resolve(call, frame.gprs, true, &frame.gprs_page)) {
        return sgx_pf(frame.gprs, true);
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    gprs = (SgxGprs *)(sgx_page(frame.gprs_page + 1) - sizeof(*gprs));
    end = check_tcs(call, page, resume, &(Frame){ 0 }); /* again: the lock was released */
    if (end.how == SGX_DONE) {
        end = check_frame(call, page, resume, &frame, gprs);
    }
    if (end.how != SGX_DONE) {
        return end;
    }
    tcs = (SgxTcs *)sgx_page(page);
    secs = sgx_secs(sgx.epcm[page].secs);
    env->sgx.outer_xcr0 = env->xcr0;
    if (resume) {
        if (!sgx_xstate_restore(env, secs->attributes.xfrm, sgx_page(frame.xsave_page))) {
            return sgx_gp();
        }
        fsbase = gprs->fsbase;
        gsbase = gprs->gsbase;
        restore(env, gprs);
        tcs->cssa--;
    } else {
        fsbase = secs->base + tcs->ofsbase;
        gsbase = secs->base + tcs->ogsbase;
        env->regs[R_EAX] = tcs->cssa;
        env->regs[R_ECX] = env->eip + call->length;
        env->eip = secs->base + tcs->oentry;
    }
    gprs->ursp = outer_rsp;
    gprs->urbp = outer_rbp;
    tcs->state = 1;
    tcs->aep = call->rcx;
    sgx.epcm[sgx.epcm[page].secs].inside++;
    env->sgx.active = true;
    env->sgx.secs = sgx.epcm[page].secs;
    env->sgx.epoch = sgx.epcm[env->sgx.secs].epoch;
    env->sgx.base = secs->base;
    env->sgx.size = secs->size;
    env->sgx.tcs = page;
    env->sgx.tcs_address = call->rbx;
    env->sgx.xsave_page = frame.xsave_page;
    env->sgx.gprs_page = frame.gprs_page;
    env->sgx.outer_fs = env->segs[R_FS];
    env->sgx.outer_gs = env->segs[R_GS];
    load_segment(env, R_FS, fsbase, tcs->fslimit);
    load_segment(env, R_GS, gsbase, tcs->gslimit);
    env->sgx.opt_in = tcs->flags & TCS_DBGOPTIN;
    env->sgx.outer_tf = env->eflags & TF_MASK;
    if (!env->sgx.opt_in) {
        env->eflags &= ~TF_MASK;
    }
    if (env->cr[4] & CR4_OSXSAVE_MASK) {
        sgx_xstate_use(env, secs->attributes.xfrm);
    }
    sgx_set_mode(env, true);
    return (SgxEnd){ .how = resume ? SGX_RESUMED : SGX_JUMPED };
}

/* "EENTER". RBX: the TCS, RCX: the AEP. */
SgxEnd sgx_eenter(SgxCall *call)
{
    return enter(call, false);
}

/* "ERESUME". RBX: the TCS, RCX: the AEP. */
SgxEnd sgx_eresume(SgxCall *call)
{
    return enter(call, true);
}
