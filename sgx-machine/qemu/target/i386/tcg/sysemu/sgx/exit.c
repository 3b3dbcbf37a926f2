/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leaving an enclave: EEXIT, and the SDM's "AEX Operational Detail". */
#include "qemu/osdep.h"
#include "cpu.h"
#include "tcg/helper-tcg.h"
#include "tcg/sgx.h"
#include "sgx.h"

/* What both have in common. With the lock. */
static void leave(CPUX86State *env)
{
    ((SgxTcs *)sgx_page(env->sgx.tcs))->state = 0;
    sgx.epcm[env->sgx.secs].inside--;
    env->sgx.active = false;
    env->segs[R_FS] = env->sgx.outer_fs;
    env->segs[R_GS] = env->sgx.outer_gs;
    if (env->cr[4] & CR4_OSXSAVE_MASK) {
        sgx_xstate_use(env, env->sgx.outer_xcr0);
    }
    if (!env->sgx.opt_in && env->sgx.outer_tf) {
        env->eflags |= TF_MASK;
    }
    sgx_set_mode(env, false);
}

/* "EEXIT". RBX: where to, wherever that is: an address inside is fetched from outside, as all ones. */
SgxEnd sgx_eexit(SgxCall *call)
{
    if (!sgx_canonical(call->env, call->rbx)) {
        return sgx_gp();
    }

    QEMU_LOCK_GUARD(&sgx.lock);
    call->env->eip = call->rbx;
    call->env->regs[R_ECX] = ((SgxTcs *)sgx_page(call->env->sgx.tcs))->aep;
    leave(call->env);
    return (SgxEnd){ .how = SGX_JUMPED };
}

/* EXITINFO, and EXINFO beside it: what the enclave is told of an exception. */
static uint32_t exitinfo(CPUX86State *env, int vector, int error_code)
{
    SgxExinfo *exinfo = (SgxExinfo *)(sgx_page(env->sgx.gprs_page + 1) - sizeof(SgxGprs) - sizeof(*exinfo));

    switch (vector) {
    case EXCP00_DIVZ:
    case EXCP01_DB:
    case EXCP05_BOUND:
    case EXCP06_ILLOP:
    case EXCP10_COPR:
    case EXCP11_ALGN:
        return EXITINFO_VALID | EXITINFO_HARDWARE | vector;
    case EXCP03_INT3:
        return EXITINFO_VALID | EXITINFO_SOFTWARE | vector;
    case EXCP0D_GPF:
    case EXCP0E_PAGE:
        if (sgx_secs(env->sgx.secs)->miscselect & MISC_EXINFO) {
            *exinfo = (SgxExinfo){ .maddr = vector == EXCP0E_PAGE ? env->cr[2] : 0, .errcd = error_code };
            return EXITINFO_VALID | EXITINFO_HARDWARE | vector;
        }
        return 0;
    default:
        return 0;
    }
}

/*
 * Before an exception or interrupt is delivered: env becomes the synthetic
 * state at the AEP. Returns the vector to deliver, -1 for no exception.
 */
static int aex(CPUX86State *env, int vector, int error_code)
{
    const uint64_t xfrm = sgx_secs(env->sgx.secs)->attributes.xfrm;
    const uint32_t rflags = cpu_compute_eflags(env);
    SgxGprs *gprs = (SgxGprs *)(sgx_page(env->sgx.gprs_page + 1) - sizeof(*gprs));
    SgxTcs *tcs = (SgxTcs *)sgx_page(env->sgx.tcs);

    /* "Behavior of INT3 Inside an Enclave": a fault, and #UD unless the entry opted in to debugging. */
    if (vector == EXCP03_INT3 && !env->sgx.opt_in) {
        vector = EXCP06_ILLOP;
    }
    env->sgx.same_faults = vector == EXCP0E_PAGE && env->cr[2] == env->sgx.last_fault ? env->sgx.same_faults + 1 : 0;
    env->sgx.last_fault = env->cr[2];
    memcpy(gprs->r, env->regs, sizeof(gprs->r));
    gprs->rflags = rflags & ~TF_MASK;
    gprs->rip = env->eip;
    gprs->fsbase = env->segs[R_FS].base;
    gprs->gsbase = env->segs[R_GS].base;
    gprs->exitinfo = exitinfo(env, vector, error_code);
    sgx_xstate_save(env, xfrm, sgx_page(env->sgx.xsave_page));
    sgx_xstate_init(env, xfrm, vector);
    if (vector == EXCP0E_PAGE) {
        env->cr[2] &= ~(uint64_t)(SGX_PAGE - 1);
    }
    memset(env->regs, 0, sizeof(env->regs));
    env->regs[R_EAX] = ENCLU_ERESUME;
    env->regs[R_EBX] = env->sgx.tcs_address;
    env->regs[R_ECX] = tcs->aep;
    env->regs[R_ESP] = gprs->ursp;
    env->regs[R_EBP] = gprs->urbp;
    env->eip = tcs->aep;
    cpu_load_eflags(env, rflags & ~(CC_O | CC_S | CC_Z | CC_A | CC_P | CC_C), 0);
    env->eflags &= ~RF_MASK;
    tcs->cssa++;
    sgx.aex++;
    leave(env);
    return vector;
}

int sgx_aex(CPUX86State *env, int vector, int error_code, bool interrupt)
{
    QEMU_LOCK_GUARD(&sgx.lock);
    if (interrupt) {
        aex(env, -1, 0);
        return vector;
    }
    return aex(env, vector, error_code);
}
