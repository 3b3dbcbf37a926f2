/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * EGETKEY and EREPORT. Which inputs a key has is the SDM's ("Key Derivation"
 * in EGETKEY); how they are mixed is Intel's secret, so that no key here is
 * any real processor's.
 */
#include "qemu/osdep.h"
#include <nettle/cmac.h>
#include "sgx.h"

/* TMP_KEYDEPENDENCIES. SGXOWNEREPOCH is 0 here, and PADDING the same for all keys. */
typedef struct QEMU_PACKED Dependencies {
    uint16_t keyname, isvprodid, isvsvn, keypolicy;
    uint8_t isvextprodid[16], isvfamilyid[16], cpusvn[16];
    uint8_t mrenclave[32], mrsigner[32], keyid[32], seal_fuses[16];
    SgxAttributes attributes, attributemask;
    uint32_t miscselect, miscmask;
    uint8_t configid[64];
    uint16_t configsvn;
} Dependencies;

static void cmac(const uint8_t key[16], const void *bytes, size_t size, uint8_t mac[16])
{
    struct cmac_aes128_ctx state;

    cmac_aes128_set_key(&state, key);
    cmac_aes128_update(&state, size, bytes);
    cmac_aes128_digest(&state, 16, mac);
}

static void derive(const Dependencies *of, uint8_t key[16])
{
    cmac(sgx.key, of, sizeof(*of), key);
}

static bool in_elrange(const SgxCall *call, uint64_t address)
{
    return address - call->env->sgx.base < call->env->sgx.size;
}

/* "Beyond the current CPU configuration": in any of its components. */
static bool cpusvn_beyond(const uint8_t requested[16])
{
    for (int i = 0; i < 16; i++) {
        if (requested[i] > sgx.cpusvn[i]) {
            return true;
        }
    }
    return false;
}

/* The CPUSVN, ISVSVN and, where the key has it, CONFIGSVN must have been reached. */
static uint32_t check_svns(const SgxKeyrequest *request, const SgxSecs *secs, bool configsvn)
{
    if (cpusvn_beyond(request->cpusvn)) {
        return SGX_INVALID_CPUSVN;
    }
    if (request->isvsvn > secs->isvsvn || (configsvn && request->configsvn > secs->configsvn)) {
        return SGX_INVALID_ISVSVN;
    }
    return SGX_SUCCESS;
}

/* What the seal keys take only when the policy asks for it. */
static void apply_policy(const SgxKeyrequest *request, uint32_t page, Dependencies *key)
{
    const SgxSecs *secs = sgx_secs(page);
    const SgxHidden *hidden = sgx_hidden(page);

    key->keypolicy = request->keypolicy;
    if (!(request->keypolicy & KEYPOLICY_NOISVPRODID)) {
        key->isvprodid = secs->isvprodid;
    }
    if (request->keypolicy & KEYPOLICY_CONFIGID) {
        memcpy(key->configid, secs->configid, sizeof(key->configid));
        key->configsvn = request->configsvn;
    }
    if (request->keypolicy & KEYPOLICY_ISVFAMILYID) {
        memcpy(key->isvfamilyid, hidden->isvfamilyid, sizeof(key->isvfamilyid));
    }
    if (request->keypolicy & KEYPOLICY_ISVEXTPRODID) {
        memcpy(key->isvextprodid, hidden->isvextprodid, sizeof(key->isvextprodid));
    }
}

/* The inputs of the key that is asked for; or why it is refused. */
static uint32_t dependencies(const SgxKeyrequest *request, uint32_t page, Dependencies *key)
{
    const SgxSecs *secs = sgx_secs(page);
    const bool provision = request->keyname == KEY_PROVISION || request->keyname == KEY_PROVISION_SEAL;
    const bool seal = request->keyname == KEY_SEAL || request->keyname == KEY_PROVISION_SEAL;
    uint32_t code;

    *key = (Dependencies){ .keyname = request->keyname };
    if (request->keyname > KEY_SEAL) {
        return SGX_INVALID_KEYNAME;
    }
    if (request->keyname == KEY_REPORT) {
        memcpy(key->cpusvn, sgx.cpusvn, sizeof(key->cpusvn));
        memcpy(key->mrenclave, secs->mrenclave, sizeof(key->mrenclave));
        memcpy(key->keyid, request->keyid, sizeof(key->keyid));
        memcpy(key->seal_fuses, sgx.seal_fuses, sizeof(key->seal_fuses));
        memcpy(key->configid, secs->configid, sizeof(key->configid));
        key->attributes = secs->attributes;
        key->miscselect = secs->miscselect;
        key->configsvn = secs->configsvn;
        return SGX_SUCCESS;
    }
    if ((provision && !(secs->attributes.flags & ATTRIBUTE_PROVISIONKEY)) ||
        (request->keyname == KEY_EINITTOKEN && !(secs->attributes.flags & ATTRIBUTE_EINITTOKEN_KEY))) {
        return SGX_INVALID_ATTRIBUTE;
    }
    code = check_svns(request, secs, request->keyname == KEY_SEAL);
    if (code != SGX_SUCCESS) {
        return code;
    }
    memcpy(key->cpusvn, request->cpusvn, sizeof(key->cpusvn));
    key->isvsvn = request->isvsvn;
    key->attributes.flags =
        (request->attributemask.flags | ATTRIBUTE_INIT | ATTRIBUTE_DEBUG) & secs->attributes.flags;
    key->attributes.xfrm = request->attributemask.xfrm & secs->attributes.xfrm;
    key->miscselect = request->miscmask & secs->miscselect;
    if (request->keyname != KEY_EINITTOKEN) {
        key->attributemask = request->attributemask;
        key->miscmask = ~request->miscmask;
    }
    if (request->keyname != KEY_PROVISION) {
        memcpy(key->seal_fuses, sgx.seal_fuses, sizeof(key->seal_fuses));
    }
    if (!provision) {
        memcpy(key->keyid, request->keyid, sizeof(key->keyid));
    }
    if (seal) {
        apply_policy(request, page, key);
    } else {
        key->isvprodid = secs->isvprodid;
    }
    if (request->keyname == KEY_SEAL && request->keypolicy & KEYPOLICY_MRENCLAVE) {
        memcpy(key->mrenclave, secs->mrenclave, sizeof(key->mrenclave));
    }
    if (request->keyname != KEY_SEAL || request->keypolicy & KEYPOLICY_MRSIGNER) {
        memcpy(key->mrsigner, secs->mrsigner, sizeof(key->mrsigner));
    }
    return SGX_SUCCESS;
}

/* "EGETKEY". RBX: KEYREQUEST, RCX: where the key goes. Reading and probing check the pages they lie in. */
SgxEnd sgx_egetkey(SgxCall *call)
{
    const uint32_t page = call->env->sgx.secs;
    SgxKeyrequest request;
    Dependencies of;
    uint8_t key[16];
    uint32_t code;

    if (call->rbx % sizeof(request) || !in_elrange(call, call->rbx)) {
        return sgx_gp();
    }
    sgx_read(call, &request, call->rbx, sizeof(request));
    if (call->rcx % sizeof(key) || !in_elrange(call, call->rcx)) {
        return sgx_gp();
    }
    sgx_ram(call, call->rcx, sizeof(key));
    WITH_QEMU_LOCK_GUARD(&sgx.lock) {
        const bool kss = sgx_secs(page)->attributes.flags & ATTRIBUTE_KSS;

        if (request.reserved1 || !sgx_zero(request.reserved2, sizeof(request.reserved2)) ||
            request.keypolicy & KEYPOLICY_RESERVED ||
            (!kss && (request.keypolicy & KEYPOLICY_OF_KSS || request.configsvn))) {
            return sgx_gp();
        }
        code = dependencies(&request, page, &of);
        if (code == SGX_SUCCESS) {
            derive(&of, key);
        }
    }
    if (code == SGX_SUCCESS) {
        sgx_write(call, call->rcx, key, sizeof(key));
    }
    return sgx_status(code);
}

/* The report key of the enclave that a TARGETINFO describes, as EGETKEY gives it there. */
static void report_key(const SgxTargetinfo *target, uint8_t key[16])
{
    Dependencies of = {
        .keyname = KEY_REPORT,
        .attributes = target->attributes,
        .miscselect = target->miscselect,
        .configsvn = target->configsvn,
    };

    memcpy(of.cpusvn, sgx.cpusvn, sizeof(of.cpusvn));
    memcpy(of.mrenclave, target->measurement, sizeof(of.mrenclave));
    memcpy(of.keyid, sgx.report_keyid, sizeof(of.keyid));
    memcpy(of.seal_fuses, sgx.seal_fuses, sizeof(of.seal_fuses));
    memcpy(of.configid, target->configid, sizeof(of.configid));
    derive(&of, key);
}

/* "EREPORT". RBX: TARGETINFO, RCX: REPORTDATA, RDX: where the REPORT goes. */
SgxEnd sgx_ereport(SgxCall *call)
{
    const uint32_t page = call->env->sgx.secs;
    SgxTargetinfo target;
    SgxReport report = { 0 };
    uint8_t key[16];

    if (call->rbx % 512 || !in_elrange(call, call->rbx)) {
        return sgx_gp();
    }
    sgx_read(call, &target, call->rbx, sizeof(target));
    if (call->rcx % 128 || !in_elrange(call, call->rcx)) {
        return sgx_gp();
    }
    sgx_read(call, report.reportdata, call->rcx, sizeof(report.reportdata));
    if (call->rdx % 512 || !in_elrange(call, call->rdx)) {
        return sgx_gp();
    }
    sgx_ram(call, call->rdx, sizeof(report));
    WITH_QEMU_LOCK_GUARD(&sgx.lock) {
        const SgxSecs *secs = sgx_secs(page);

        memcpy(report.cpusvn, sgx.cpusvn, sizeof(report.cpusvn));
        memcpy(report.isvextprodid, sgx_hidden(page)->isvextprodid, sizeof(report.isvextprodid));
        memcpy(report.mrenclave, secs->mrenclave, sizeof(report.mrenclave));
        memcpy(report.mrsigner, secs->mrsigner, sizeof(report.mrsigner));
        memcpy(report.configid, secs->configid, sizeof(report.configid));
        memcpy(report.isvfamilyid, sgx_hidden(page)->isvfamilyid, sizeof(report.isvfamilyid));
        memcpy(report.keyid, sgx.report_keyid, sizeof(report.keyid));
        report.miscselect = secs->miscselect;
        report.attributes = secs->attributes;
        report.isvprodid = secs->isvprodid;
        report.isvsvn = secs->isvsvn;
        report.configsvn = secs->configsvn;
        report_key(&target, key);
    }
    cmac(key, &report, offsetof(SgxReport, keyid), report.mac);
    sgx_write(call, call->rdx, &report, sizeof(report));
    return sgx_done();
}
