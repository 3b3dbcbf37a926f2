/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The EPC and its map. Everything here needs the lock. */
#include "qemu/osdep.h"
#include "cpu.h"
#include "exec/exec-all.h"
#include "exec/ram_addr.h"
#include "sgx.h"

uint8_t *sgx_page(uint32_t page)
{
    return sgx.memory + (uint64_t)page * SGX_PAGE;
}

SgxSecs *sgx_secs(uint32_t page)
{
    return (SgxSecs *)sgx_page(page);
}

SgxHidden *sgx_hidden(uint32_t page)
{
    return (SgxHidden *)(sgx_page(page + 1) - sizeof(SgxHidden));
}

/* Whether an entry's page belongs to an enclave. */
bool sgx_has_secs(const SgxEpcm *entry)
{
    return entry->pt == PT_REG || entry->pt == PT_TCS || entry->pt == PT_TRIM;
}

/* The entry as SECINFO.FLAGS has it. */
uint64_t sgx_secinfo_flags(const SgxEpcm *entry)
{
    return entry->rwx | (entry->pending ? SECINFO_PENDING : 0) | (entry->modified ? SECINFO_MODIFIED : 0) |
           (entry->pr ? SECINFO_PR : 0) | (uint64_t)entry->pt << 8;
}

/* The page was written past the TLB: code translated from it is stale. */
void sgx_written(uint32_t page)
{
    ram_addr_t at = sgx.ram + (ram_addr_t)page * SGX_PAGE;

    if (!cpu_physical_memory_get_dirty_flag(at, DIRTY_MEMORY_CODE)) {
        tb_invalidate_phys_range(at, at + SGX_PAGE);
    }
}

/* Makes a page valid. bytes: its contents; NULL: zeros. */
void sgx_fill(uint32_t page, const void *bytes, SgxEpcm entry)
{
    if (bytes) {
        memcpy(sgx_page(page), bytes, SGX_PAGE);
    } else {
        memset(sgx_page(page), 0, SGX_PAGE);
    }
    sgx_written(page);
    entry.valid = true;
    sgx.epcm[page] = entry;
    if (sgx_has_secs(&entry)) {
        sgx.epcm[entry.secs].children++;
    }
}

void sgx_drop(uint32_t page)
{
    SgxEpcm *entry = &sgx.epcm[page];

    entry->valid = false;
    if (sgx_has_secs(entry)) {
        sgx.epcm[entry->secs].children--;
    }
}

/* Whether every logical processor inside has entered after the epoch. */
bool sgx_left_since(uint32_t secs, uint64_t epoch)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        const CPUX86State *env = cpu->env_ptr;

        if (env->sgx.active && env->sgx.secs == secs && env->sgx.epoch <= epoch) {
            return false;
        }
    }
    return true;
}

/*
 * "Tracking correct": an ETRACK followed the change of the page, and whoever
 * was inside then has left since. Enclave mode's translations are dropped
 * when it is entered, so that nobody has an old one.
 */
bool sgx_tracked(const SgxEpcm *entry)
{
    return sgx.epcm[entry->secs].epoch > entry->epoch && sgx_left_since(entry->secs, entry->epoch);
}
