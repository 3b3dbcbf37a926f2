/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the rest of the software CPU meets SGX. */
#ifndef TCG_SGX_H
#define TCG_SGX_H

#include "cpu.h"
#include "exec/cpu-common.h"

/* Where accesses to the EPC from outside go: reads all ones, drops writes. The last page of 39 bits. */
#define SGX_ABORT_PAGE ((1ull << 39) - 4096)

typedef struct SgxAccess {
    enum { SGX_ACCESS_OK, SGX_ACCESS_ABORT_PAGE, SGX_ACCESS_PF, SGX_ACCESS_GP } how;
    int prot;   /* at most, if it is OK */
} SgxAccess;

/* Whether an access goes on that the page tables allow; at: where they lead. */
SgxAccess sgx_access(CPUX86State *env, uint64_t address, hwaddr at, MMUAccessType type, bool enclave_mode);

/* Leaves enclave mode before a vector is delivered; returns which it is now. */
int sgx_aex(CPUX86State *env, int vector, int error_code, bool interrupt);

/* excp_helper.c: the page tables alone. A fault does not return. */
hwaddr x86_translate_without_tlb(CPUX86State *env, uint64_t address, MMUAccessType type, uintptr_t ra);

#endif
