/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The processor package: its EPC, its secrets, and the machine's properties
 * by which a test plays microcode updates, another processor, and the loss of
 * the EPC.
 */
#include "qemu/osdep.h"
#include <nettle/sha2.h>
#include "qapi/error.h"
#include "qemu/guest-random.h"
#include "qemu/main-loop.h"
#include "exec/address-spaces.h"
#include "exec/exec-all.h"
#include "hw/i386/sgx-package.h"
#include "qom/object.h"
#include "tcg/sgx.h"
#include "sgx.h"

SgxPackage sgx = {
    /* Any will do, as long as there is room above and below. */
    .cpusvn = { 5, 5, 2, 4, 1, 128, 6 },
};

static uint64_t abort_read(void *opaque, hwaddr at, unsigned size)
{
    return UINT64_MAX;
}

static void abort_write(void *opaque, hwaddr at, uint64_t value, unsigned size)
{
}

static const MemoryRegionOps abort_page_ops = {
    .read = abort_read,
    .write = abort_write,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

static void use_secret(const void *secret, size_t size)
{
    uint8_t digest[SHA256_DIGEST_SIZE];

    sgx_sha256(secret, size, digest);
    QEMU_LOCK_GUARD(&sgx.lock);
    memcpy(sgx.key, digest, sizeof(sgx.key));
    memcpy(sgx.seal_fuses, digest + sizeof(sgx.key), sizeof(sgx.seal_fuses));
}

void sgx_package_init(hwaddr base, uint64_t size, MemoryRegion *memory)
{
    static MemoryRegion abort_page;

    sgx.base = base;
    sgx.size = size;
    sgx.memory = memory_region_get_ram_ptr(memory);
    sgx.ram = memory_region_get_ram_addr(memory);
    sgx.epcm = g_new0(SgxEpcm, size / SGX_PAGE);
    memory_region_init_io(&abort_page, NULL, &abort_page_ops, NULL, "sgx-abort-page", SGX_PAGE);
    memory_region_add_subregion(get_system_memory(), SGX_ABORT_PAGE, &abort_page);
    if (sgx_zero(sgx.key, sizeof(sgx.key))) {
        uint8_t random[32];

        qemu_guest_getrandom_nofail(random, sizeof(random));
        use_secret(random, sizeof(random));
    }
}

/* The EPC is gone. No logical processor is inside. */
static void lose_epc(void)
{
    qemu_guest_getrandom_nofail(sgx.report_keyid, sizeof(sgx.report_keyid));
    qemu_guest_getrandom_nofail(sgx.paging_key, sizeof(sgx.paging_key));
    sgx.next_version = 1;
    sgx.next_eid = 1;
    memset(sgx.epcm, 0, sgx.size / SGX_PAGE * sizeof(*sgx.epcm));
    memset(sgx.memory, 0, sgx.size);
    for (uint32_t page = 0; page < sgx.size / SGX_PAGE; page++) {
        sgx_written(page);
    }
}

/* Power-on, reset, and the wake-up from S3, which is a reset too. The CPUs are reset by their own. */
void sgx_package_reset(void)
{
    CPUState *cpu;

    QEMU_LOCK_GUARD(&sgx.lock);
    CPU_FOREACH(cpu) {
        ((CPUX86State *)cpu->env_ptr)->sgx.active = false;
    }
    lose_epc();
}

/* While no CPU runs: whoever is inside leaves by an AEX, and its ERESUME will not find the TCS. */
static void lose_epc_now(CPUState *any, run_on_cpu_data data)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        CPUX86State *env = cpu->env_ptr;

        if (env->hflags & HF_SGX_MASK) {
            sgx_aex(env, 0, 0, true);
        }
    }
    WITH_QEMU_LOCK_GUARD(&sgx.lock) {
        lose_epc();
    }
}

static char *get_cpusvn(Object *machine, Error **errp)
{
    GString *text = g_string_new(NULL);

    for (int i = 0; i < sizeof(sgx.cpusvn); i++) {
        g_string_append_printf(text, "%02x", sgx.cpusvn[i]);
    }
    return g_string_free(text, false);
}

static void set_cpusvn(Object *machine, const char *text, Error **errp)
{
    uint8_t cpusvn[sizeof(sgx.cpusvn)];

    for (int i = 0; i < sizeof(cpusvn); i++) {
        int high = g_ascii_xdigit_value(text[0]), low = high < 0 ? -1 : g_ascii_xdigit_value(text[1]);

        if (low < 0) {
            error_setg(errp, "sgx-cpusvn: 32 hexadecimal digits are needed");
            return;
        }
        cpusvn[i] = high << 4 | low;
        text += 2;
    }
    if (*text) {
        error_setg(errp, "sgx-cpusvn: 32 hexadecimal digits are needed");
        return;
    }
    QEMU_LOCK_GUARD(&sgx.lock);
    memcpy(sgx.cpusvn, cpusvn, sizeof(cpusvn));
}

static char *get_secret(Object *machine, Error **errp)
{
    return g_strdup("");
}

static void set_secret(Object *machine, const char *text, Error **errp)
{
    use_secret(text, strlen(text));
}

static bool get_epc_lost(Object *machine, Error **errp)
{
    return false;
}

static void set_epc_lost(Object *machine, bool lost, Error **errp)
{
    if (!lost || !sgx.size) {
        error_setg(errp, "sgx-epc-lost: can only be set to true, on a machine with an EPC");
        return;
    }
    async_safe_run_on_cpu(first_cpu, lose_epc_now, RUN_ON_CPU_NULL);
}

static char *get_counters(Object *machine, Error **errp)
{
    static const char *const encls[] = {
        "ECREATE", "EADD", "EINIT", "EREMOVE", "EDBGRD", "EDBGWR", "EEXTEND", "ELDB",
        "ELDU", "EBLOCK", "EPA", "EWB", "ETRACK", "EAUG", "EMODPR", "EMODT",
    };
    static const char *const enclu[] = {
        "EREPORT", "EGETKEY", "EENTER", "ERESUME", "EEXIT", "EACCEPT", "EMODPE", "EACCEPTCOPY",
    };
    GString *text = g_string_new(NULL);

    QEMU_BUILD_BUG_ON(ARRAY_SIZE(encls) != ENCLS_LEAVES || ARRAY_SIZE(enclu) != ENCLU_LEAVES);
    for (int i = 0; i < ENCLS_LEAVES; i++) {
        g_string_append_printf(text, "%s %" PRIu64 "\n", encls[i], qatomic_read(&sgx.encls[i]));
    }
    for (int i = 0; i < ENCLU_LEAVES; i++) {
        g_string_append_printf(text, "%s %" PRIu64 "\n", enclu[i], qatomic_read(&sgx.enclu[i]));
    }
    g_string_append_printf(text, "AEX %" PRIu64 "\n", qatomic_read(&sgx.aex));
    return g_string_free(text, false);
}

/* Once, before any property is set. */
void sgx_package_add_properties(ObjectClass *machine)
{
    qemu_mutex_init(&sgx.lock);
    object_class_property_add_str(machine, "sgx-cpusvn", get_cpusvn, set_cpusvn);
    object_class_property_set_description(machine, "sgx-cpusvn", "CPUSVN, 32 hexadecimal digits");
    object_class_property_add_str(machine, "sgx-secret", get_secret, set_secret);
    object_class_property_set_description(machine, "sgx-secret", "what the fuses are made of; random by default");
    object_class_property_add_bool(machine, "sgx-epc-lost", get_epc_lost, set_epc_lost);
    object_class_property_set_description(machine, "sgx-epc-lost", "set it, and every enclave is gone");
    object_class_property_add_str(machine, "sgx-counters", get_counters, NULL);
    object_class_property_set_description(machine, "sgx-counters", "how often each leaf was executed");
}
