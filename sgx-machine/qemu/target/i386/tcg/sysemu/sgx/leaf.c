/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ENCLS and ENCLU themselves: what holds for every leaf, and how one ends. */
#include "qemu/osdep.h"
#include "cpu.h"
#include "exec/exec-all.h"
#include "exec/helper-proto.h"
#include "tcg/helper-tcg.h"
#include "sgx.h"

static bool has_sgx2(CPUX86State *env)
{
    return env->features[FEAT_SGX_12_0_EAX] & 2;
}

bool sgx_enabled(CPUX86State *env)
{
    const uint64_t needed = FEATURE_CONTROL_LOCKED | FEATURE_CONTROL_SGX;

    return (env->msr_ia32_feature_control & needed) == needed;
}

/* "ENCLS": the order of the checks is that of its pseudo code. */
static SgxEnd encls(SgxCall *call, uint32_t leaf)
{
    if (!sgx_enabled(call->env) || leaf >= ENCLS_LEAVES ||
        (leaf >= ENCLS_EAUG && !has_sgx2(call->env)) ||
        !(call->env->cr[0] & CR0_PG_MASK)) {
        return sgx_gp();
    }
    qatomic_inc(&sgx.encls[leaf]);
    switch (leaf) {
    case ENCLS_ECREATE:
        return sgx_ecreate(call);
    case ENCLS_EADD:
        return sgx_eadd(call);
    case ENCLS_EINIT:
        return sgx_einit(call);
    case ENCLS_EREMOVE:
        return sgx_eremove(call);
    case ENCLS_EDBGRD:
        return sgx_edbgrd(call);
    case ENCLS_EDBGWR:
        return sgx_edbgwr(call);
    case ENCLS_EEXTEND:
        return sgx_eextend(call);
    case ENCLS_ELDB:
        return sgx_eldb(call);
    case ENCLS_ELDU:
        return sgx_eldu(call);
    case ENCLS_EBLOCK:
        return sgx_eblock(call);
    case ENCLS_EPA:
        return sgx_epa(call);
    case ENCLS_EWB:
        return sgx_ewb(call);
    case ENCLS_ETRACK:
        return sgx_etrack(call);
    case ENCLS_EAUG:
        return sgx_eaug(call);
    case ENCLS_EMODPR:
        return sgx_emodpr(call);
    default:
        return sgx_emodt(call);
    }
}

/* "ENCLU" */
static SgxEnd enclu(SgxCall *call, uint32_t leaf)
{
    const bool inside = call->env->hflags & HF_SGX_MASK;
    const bool enters = leaf == ENCLU_EENTER || leaf == ENCLU_ERESUME;

    if (!sgx_enabled(call->env) || leaf >= ENCLU_LEAVES ||
        (leaf >= ENCLU_EACCEPT && !has_sgx2(call->env)) ||
        !(call->env->cr[0] & CR0_PG_MASK) ||
        !(call->env->cr[0] & CR0_NE_MASK) || inside == enters) {
        return sgx_gp();
    }
    qatomic_inc(&sgx.enclu[leaf]);
    switch (leaf) {
    case ENCLU_EREPORT:
        return sgx_ereport(call);
    case ENCLU_EGETKEY:
        return sgx_egetkey(call);
    case ENCLU_EENTER:
        return sgx_eenter(call);
    case ENCLU_ERESUME:
        return sgx_eresume(call);
    case ENCLU_EEXIT:
        return sgx_eexit(call);
    case ENCLU_EACCEPT:
        return sgx_eaccept(call);
    case ENCLU_EMODPE:
        return sgx_emodpe(call);
    default:
        return sgx_eacceptcopy(call);
    }
}

/* Delivers a leaf's end. Returns unless it is a fault or a single step ends here. */
void sgx_finish(SgxCall *call, SgxEnd end)
{
    CPUX86State *env = call->env;
    uint32_t flags;

    switch (end.how) {
    case SGX_GP:
        raise_exception_err_ra(env, EXCP0D_GPF, 0, call->ra);
    case SGX_PF:
        env->cr[2] = end.address;
        raise_exception_err_ra(env, EXCP0E_PAGE,
                               PG_ERROR_P_MASK | PG_ERROR_SGX_MASK |
                               (end.write ? PG_ERROR_W_MASK : 0) |
                               ((env->hflags & HF_CPL_MASK) == 3 ? PG_ERROR_U_MASK : 0),
                               call->ra);
    case SGX_STATUS:
        flags = cpu_compute_eflags(env) & ~(CC_O | CC_S | CC_Z | CC_A | CC_P | CC_C);
        if (end.code != SGX_SUCCESS) {
            flags |= end.carry ? CC_C : CC_Z;
        }
        env->regs[R_EAX] = end.code;
        cpu_load_eflags(env, flags, 0);
        /* fall through */
    case SGX_DONE:
        env->eip += call->length;
        break;
    case SGX_JUMPED:
    case SGX_RESUMED:
        break;
    }
    /* The end of any instruction; the translator leaves it to us. */
    env->hflags &= ~HF_INHIBIT_IRQ_MASK;
    if (end.how != SGX_RESUMED) {
        env->eflags &= ~RF_MASK;
        if (env->eflags & TF_MASK) {
            helper_single_step(env);
        }
    }
}

static void leaf(CPUX86State *env, int length, bool user, uintptr_t ra)
{
    SgxCall call = {
        .env = env,
        .rbx = env->regs[R_EBX],
        .rcx = env->regs[R_ECX],
        .rdx = env->regs[R_EDX],
        .ra = ra,
        .length = length,
    };

    if (!sgx.size || !(env->features[FEAT_7_0_EBX] & CPUID_7_0_EBX_SGX) ||
        (env->hflags & HF_SMM_MASK)) {
        raise_exception_ra(env, EXCP06_ILLOP, ra);
    }
    if (user && (env->cr[0] & CR0_TS_MASK)) {
        raise_exception_ra(env, EXCP07_PREX, ra);
    }
    sgx_finish(&call, user ? enclu(&call, env->regs[R_EAX]) : encls(&call, env->regs[R_EAX]));
}

/* The translator has seen to CR0.PE, RFLAGS.VM, CPL and prefixes. */
void helper_encls(CPUX86State *env, uint32_t length)
{
    leaf(env, length, false, GETPC());
}

void helper_enclu(CPUX86State *env, uint32_t length)
{
    leaf(env, length, true, GETPC());
}
