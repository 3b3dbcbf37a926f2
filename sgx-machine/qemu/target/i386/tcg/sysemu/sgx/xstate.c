/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The extended state that an enclave owns while it runs: SDM, "Processor
 * Extended States". XFRM may have x87, SSE and AVX, as far as the CPU model
 * does; what XFRM leaves out passes through the enclave untouched. The areas
 * are XSAVE's, standard format, 64 bit.
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "sgx.h"

#define FSW_TOP(fsw) ((fsw) >> 11 & 7)
#define FSW_TOP_MASK 0x3800
#define FCW_INIT     0x37f
#define MXCSR_INIT   0x1f80
#define MXCSR_LEGAL  0xffff

typedef struct QEMU_PACKED Area {
    uint16_t fcw, fsw;
    uint8_t ftw, reserved1;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    struct QEMU_PACKED {
        uint64_t low;
        uint16_t high;
        uint8_t reserved[6];
    } st[8];
    uint64_t xmm[16][2];
    uint8_t reserved2[96];
    uint64_t xstate_bv;
    uint8_t must_be_zero[16];
    uint8_t reserved3[40];
    uint64_t ymm_high[16][2];
} Area;
QEMU_BUILD_BUG_ON(offsetof(Area, xmm) != 160);
QEMU_BUILD_BUG_ON(offsetof(Area, xstate_bv) != 512);
QEMU_BUILD_BUG_ON(offsetof(Area, ymm_high) != 576);

size_t sgx_xstate_size(uint64_t xfrm)
{
    return xfrm & XSTATE_YMM_MASK ? sizeof(Area) : offsetof(Area, ymm_high);
}

uint64_t sgx_xstate_supported(CPUX86State *env)
{
    return XSTATE_FP_MASK | XSTATE_SSE_MASK | (env->features[FEAT_XSAVE_XCR0_LO] & XSTATE_YMM_MASK);
}

static void save_x87(const CPUX86State *env, Area *area)
{
    area->fcw = env->fpuc;
    area->fsw = (env->fpus & ~FSW_TOP_MASK) | (env->fpstt & 7) << 11;
    area->ftw = 0;
    area->reserved1 = 0;
    area->fop = env->fpop;
    area->fip = env->fpip;
    area->fdp = env->fpdp;
    memset(area->st, 0, sizeof(area->st));
    for (int i = 0; i < 8; i++) {
        const floatx80 *st = &env->fpregs[(env->fpstt + i) & 7].d;

        area->ftw |= !env->fptags[i] << i;
        area->st[i].low = st->low;
        area->st[i].high = st->high;
    }
}

static void load_x87(CPUX86State *env, const Area *area)
{
    cpu_set_fpuc(env, area->fcw);
    env->fpus = area->fsw & ~FSW_TOP_MASK;
    env->fpstt = FSW_TOP(area->fsw);
    env->fpop = area->fop;
    env->fpip = area->fip;
    env->fpdp = area->fdp;
    for (int i = 0; i < 8; i++) {
        floatx80 *st = &env->fpregs[(env->fpstt + i) & 7].d;

        env->fptags[i] = !(area->ftw >> i & 1);
        st->low = area->st[i].low;
        st->high = area->st[i].high;
    }
}

/* As XSAVE with EDX:EAX = XFRM; bytes has sgx_xstate_size(). */
void sgx_xstate_save(CPUX86State *env, uint64_t xfrm, uint8_t *bytes)
{
    Area *area = (Area *)bytes;

    save_x87(env, area);
    area->mxcsr = env->mxcsr;
    area->mxcsr_mask = MXCSR_LEGAL;
    for (int i = 0; i < 16; i++) {
        area->xmm[i][0] = env->xmm_regs[i].ZMM_Q(0);
        area->xmm[i][1] = env->xmm_regs[i].ZMM_Q(1);
        if (xfrm & XSTATE_YMM_MASK) {
            area->ymm_high[i][0] = env->xmm_regs[i].ZMM_Q(2);
            area->ymm_high[i][1] = env->xmm_regs[i].ZMM_Q(3);
        }
    }
    area->xstate_bv = xfrm;
    memset(area->must_be_zero, 0, sizeof(area->must_be_zero));
}

/* As XRSTOR of what XFRM names; a part that the area has not becomes initial. */
static void load(CPUX86State *env, uint64_t xfrm, const Area *area)
{
    static const Area initial = { .fcw = FCW_INIT };
    const Area *x87 = area->xstate_bv & XSTATE_FP_MASK ? area : &initial;
    const Area *sse = area->xstate_bv & XSTATE_SSE_MASK ? area : &initial;
    const Area *avx = area->xstate_bv & XSTATE_YMM_MASK ? area : &initial;

    load_x87(env, x87);
    cpu_set_mxcsr(env, area->mxcsr);
    for (int i = 0; i < 16; i++) {
        env->xmm_regs[i].ZMM_Q(0) = sse->xmm[i][0];
        env->xmm_regs[i].ZMM_Q(1) = sse->xmm[i][1];
        if (xfrm & XSTATE_YMM_MASK) {
            env->xmm_regs[i].ZMM_Q(2) = avx->ymm_high[i][0];
            env->xmm_regs[i].ZMM_Q(3) = avx->ymm_high[i][1];
        }
    }
}

/* False: XRSTOR would fault; nothing has changed then. */
bool sgx_xstate_restore(CPUX86State *env, uint64_t xfrm, const uint8_t *bytes)
{
    const Area *area = (const Area *)bytes;

    if (area->xstate_bv & ~xfrm || !sgx_zero(area->must_be_zero, sizeof(area->must_be_zero)) ||
        area->mxcsr & ~MXCSR_LEGAL) {
        return false;
    }
    load(env, xfrm, area);
    return true;
}

/* "Synthetic State on Asynchronous Enclave Exit". After #MF one exception stays visible, without its operands. */
void sgx_xstate_init(CPUX86State *env, uint64_t xfrm, int vector)
{
    const bool mf = vector == EXCP10_COPR;
    const Area synthetic = {
        .fcw = mf ? FCW_INIT & ~1 : FCW_INIT,
        .fsw = mf ? 0x8081 : 0,
        .mxcsr = MXCSR_INIT,
        .xstate_bv = XSTATE_FP_MASK,
    };

    load(env, xfrm, &synthetic);
}

/* Sets XCR0, and what QEMU derives from it. */
void sgx_xstate_use(CPUX86State *env, uint64_t xcr0)
{
    env->xcr0 = xcr0;
    cpu_sync_bndcs_hflags(env);
    cpu_sync_avx_hflag(env);
}
