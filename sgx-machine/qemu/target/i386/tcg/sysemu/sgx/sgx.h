/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The emulator's own state, and how its files call each other.
 *
 * A leaf first reads its operands from the guest, which may fault and then
 * does not return; only then it takes the lock, under which nothing faults,
 * decides, and says how it ends.
 */
#ifndef SGX_H
#define SGX_H

#include "cpu.h"
#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "exec/hwaddr.h"
#include "exec/ram_addr.h"
#include "arch.h"

/* An entry of the EPCM. The page's number is the entry's index. */
typedef struct SgxEpcm {
    bool valid, blocked, pending, modified, pr;
    uint8_t rwx;
    uint8_t pt;
    uint32_t secs;      /* ENCLAVESECS, as a page's number; a SECS names itself */
    uint64_t address;   /* ENCLAVEADDRESS */
    /*
     * "EPC Page Tracking". Of a SECS: its epoch, which ETRACK advances. Of
     * another page: the epoch in which it was blocked or restricted; 0: no
     * logical processor can hold a translation that says otherwise.
     */
    uint64_t epoch;
    uint32_t children;  /* of a SECS: valid pages that name it */
    uint32_t inside;    /* of a SECS: logical processors in its enclave */
} SgxEpcm;

/* What the SECS holds out of software's sight: at its end. */
typedef struct SgxHidden {
    uint64_t eid;
    uint8_t isvextprodid[16], isvfamilyid[16];
    uint8_t measurement[128];   /* SHA-256 under way, until EINIT */
} SgxHidden;
QEMU_BUILD_BUG_ON(sizeof(SgxHidden) > sizeof(((SgxSecs *)0)->reserved4));

/* The processor package: one EPC section, and the secrets of its fuses. */
typedef struct SgxPackage {
    QemuMutex lock;             /* of all below, the pages, and env->sgx of every CPU */
    hwaddr base;
    uint64_t size;              /* 0: no EPC, hence no SGX */
    uint8_t *memory;
    ram_addr_t ram;
    SgxEpcm *epcm;
    uint8_t cpusvn[16];         /* CR_CPUSVN */
    uint8_t key[16];            /* derives all others */
    uint8_t seal_fuses[16];     /* CR_SEAL_FUSES */
    uint8_t report_keyid[32];   /* CR_REPORT_KEYID, anew at each reset */
    uint8_t paging_key[16];     /* CR_BASE_PK, anew at each reset */
    uint64_t next_eid, next_version;
    uint64_t encls[ENCLS_LEAVES], enclu[ENCLU_LEAVES], aex;     /* how often */
} SgxPackage;
extern SgxPackage sgx;

/* The operands of a leaf. */
typedef struct SgxCall {
    CPUX86State *env;
    uint64_t rbx, rcx, rdx;
    uintptr_t ra;
    int length;                 /* of the instruction */
} SgxCall;

/* How a leaf ends. */
typedef struct SgxEnd {
    enum {
        SGX_DONE,               /* flags and RAX stay */
        SGX_STATUS,             /* code goes to RAX; ZF, or CF, is set unless it is 0 */
        SGX_JUMPED,             /* RIP is set already: EENTER, EEXIT */
        SGX_RESUMED,            /* so are the flags, and no single step is pending */
        SGX_GP,
        SGX_PF,
    } how;
    uint32_t code;
    bool carry;
    bool write;
    uint64_t address;
} SgxEnd;

static inline SgxEnd sgx_done(void)
{
    return (SgxEnd){ .how = SGX_DONE };
}

static inline SgxEnd sgx_status(uint32_t code)
{
    return (SgxEnd){ .how = SGX_STATUS, .code = code };
}

/* Information rather than an error. */
static inline SgxEnd sgx_notice(uint32_t code)
{
    return (SgxEnd){ .how = SGX_STATUS, .code = code, .carry = true };
}

static inline SgxEnd sgx_gp(void)
{
    return (SgxEnd){ .how = SGX_GP };
}

static inline SgxEnd sgx_pf(uint64_t address, bool write)
{
    return (SgxEnd){ .how = SGX_PF, .address = address, .write = write };
}

/* leaf.c */
bool sgx_enabled(CPUX86State *env);
void sgx_finish(SgxCall *call, SgxEnd end);

/* operand.c: the guest's memory; a page fault or #GP of the address does not return */
void sgx_read(SgxCall *call, void *to, uint64_t from, size_t size);
void sgx_write(SgxCall *call, uint64_t to, const void *from, size_t size);
void *sgx_ram(SgxCall *call, uint64_t address, size_t size);
bool sgx_resolve(SgxCall *call, uint64_t address, bool write, uint32_t *page);
bool sgx_canonical(CPUX86State *env, uint64_t address);
bool sgx_zero(const void *bytes, size_t size);

/* epcm.c */
uint8_t *sgx_page(uint32_t page);
SgxSecs *sgx_secs(uint32_t page);
SgxHidden *sgx_hidden(uint32_t page);
bool sgx_has_secs(const SgxEpcm *entry);
uint64_t sgx_secinfo_flags(const SgxEpcm *entry);
void sgx_fill(uint32_t page, const void *bytes, SgxEpcm entry);
void sgx_written(uint32_t page);
void sgx_drop(uint32_t page);
bool sgx_tracked(const SgxEpcm *entry);
bool sgx_left_since(uint32_t secs, uint64_t epoch);

/* measure.c */
void sgx_measure_start(uint32_t secs);
void sgx_measure(uint32_t secs, const void *bytes, size_t size);
void sgx_measure_end(uint32_t secs, uint8_t digest[32]);
void sgx_sha256(const void *bytes, size_t size, uint8_t digest[32]);

/* sigstruct.c */
bool sgx_sigstruct_well_formed(const SgxSigstruct *sig);
bool sgx_sigstruct_signed(const SgxSigstruct *sig);

/* xstate.c */
size_t sgx_xstate_size(uint64_t xfrm);
uint64_t sgx_xstate_supported(CPUX86State *env);
void sgx_xstate_save(CPUX86State *env, uint64_t xfrm, uint8_t *area);
bool sgx_xstate_restore(CPUX86State *env, uint64_t xfrm, const uint8_t *area);
void sgx_xstate_init(CPUX86State *env, uint64_t xfrm, int vector);
void sgx_xstate_use(CPUX86State *env, uint64_t xcr0);

/* enter.c, exit.c */
void sgx_set_mode(CPUX86State *env, bool inside);

/* The leaves: build.c, einit.c, remove.c, debug.c, paging.c, dynamic.c */
SgxEnd sgx_ecreate(SgxCall *call);
SgxEnd sgx_eadd(SgxCall *call);
SgxEnd sgx_eextend(SgxCall *call);
SgxEnd sgx_einit(SgxCall *call);
SgxEnd sgx_eremove(SgxCall *call);
SgxEnd sgx_edbgrd(SgxCall *call);
SgxEnd sgx_edbgwr(SgxCall *call);
SgxEnd sgx_epa(SgxCall *call);
SgxEnd sgx_eblock(SgxCall *call);
SgxEnd sgx_etrack(SgxCall *call);
SgxEnd sgx_ewb(SgxCall *call);
SgxEnd sgx_eldb(SgxCall *call);
SgxEnd sgx_eldu(SgxCall *call);
SgxEnd sgx_eaug(SgxCall *call);
SgxEnd sgx_emodpr(SgxCall *call);
SgxEnd sgx_emodt(SgxCall *call);

/* ... and keys.c, enter.c, exit.c, accept.c */
SgxEnd sgx_ereport(SgxCall *call);
SgxEnd sgx_egetkey(SgxCall *call);
SgxEnd sgx_eenter(SgxCall *call);
SgxEnd sgx_eresume(SgxCall *call);
SgxEnd sgx_eexit(SgxCall *call);
SgxEnd sgx_eaccept(SgxCall *call);
SgxEnd sgx_emodpe(SgxCall *call);
SgxEnd sgx_eacceptcopy(SgxCall *call);

#endif
