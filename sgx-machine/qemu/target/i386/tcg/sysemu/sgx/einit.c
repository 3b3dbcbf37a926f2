/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "EINIT": an enclave's identity becomes final, if its SIGSTRUCT says so. */
#include "qemu/osdep.h"
#include "sgx.h"

static bool matches(const SgxAttributes *have, const SgxAttributes *want, const SgxAttributes *mask)
{
    return (have->flags & mask->flags) == (want->flags & mask->flags) &&
           (have->xfrm & mask->xfrm) == (want->xfrm & mask->xfrm);
}

/* RBX: SIGSTRUCT, RCX: the SECS, RDX: EINITTOKEN. */
SgxEnd sgx_einit(SgxCall *call)
{
    const void *authorized = call->env->msr_ia32_sgxlepubkeyhash;
    SgxSigstruct sig;
    SgxEinittoken token;
    uint8_t measured[32], signer[32];
    uint32_t page;
    SgxSecs *secs;
    bool kss, from_authorized;

    if (call->rbx % SGX_PAGE || call->rcx % SGX_PAGE || call->rdx % 512) {
        return sgx_gp();
    }
    if (!sgx_resolve(call, call->rcx, true, &page)) {
        return sgx_pf(call->rcx, true);
    }
    sgx_read(call, &sig, call->rbx, sizeof(sig));
    sgx_read(call, &token, call->rdx, sizeof(token));
    if (!sgx_sigstruct_well_formed(&sig)) {
        return sgx_status(SGX_INVALID_SIG_STRUCT);
    }
    if (!sgx_sigstruct_signed(&sig)) {
        return sgx_status(SGX_INVALID_SIGNATURE);
    }
    sgx_sha256(sig.modulus, sizeof(sig.modulus), signer);
    from_authorized = memcmp(signer, authorized, sizeof(signer)) == 0;

    QEMU_LOCK_GUARD(&sgx.lock);
    if (!sgx.epcm[page].valid || sgx.epcm[page].pt != PT_SECS) {
        return sgx_pf(call->rcx, true);
    }
    secs = sgx_secs(page);
    kss = secs->attributes.flags & ATTRIBUTE_KSS;
    if (!kss && (!sgx_zero(sig.isvfamilyid, sizeof(sig.isvfamilyid)) ||
                 !sgx_zero(sig.isvextprodid, sizeof(sig.isvextprodid)))) {
        return sgx_status(SGX_INVALID_SIG_STRUCT);
    }
    if (secs->attributes.flags & ATTRIBUTE_INIT) {
        return sgx_gp();
    }
    sgx_measure_end(page, measured);
    if (memcmp(measured, sig.enclavehash, sizeof(measured))) {
        return sgx_status(SGX_INVALID_MEASUREMENT);
    }
    if (secs->attributes.flags & ATTRIBUTE_EINITTOKEN_KEY && !from_authorized) {
        return sgx_status(SGX_INVALID_ATTRIBUTE);
    }
    if (!matches(&secs->attributes, &sig.attributes, &sig.attributemask) ||
        (secs->miscselect & sig.miscmask) != (sig.miscselect & sig.miscmask)) {
        return sgx_status(SGX_INVALID_ATTRIBUTE);
    }
    /* A valid token is refused too: no launch enclave is there to make one. README.md says so. */
    if (token.valid & 1 || !from_authorized) {
        return sgx_status(SGX_INVALID_EINITTOKEN);
    }
    memcpy(secs->mrenclave, measured, sizeof(measured));
    memcpy(secs->mrsigner, signer, sizeof(signer));
    memcpy(sgx_hidden(page)->isvextprodid, sig.isvextprodid, sizeof(sig.isvextprodid));
    memcpy(sgx_hidden(page)->isvfamilyid, sig.isvfamilyid, sizeof(sig.isvfamilyid));
    secs->isvprodid = sig.isvprodid;
    secs->isvsvn = sig.isvsvn;
    secs->attributes.flags |= ATTRIBUTE_INIT;
    return sgx_status(SGX_SUCCESS);
}
