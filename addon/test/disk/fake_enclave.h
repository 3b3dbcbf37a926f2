/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An enclave in a few lines, in the place of addon/sgx/enclave.c: it checks its
 * ranges as the real one does (enclave/op_sectors.c), and its cipher is one XOR
 * with what depends on the sector. Answers with errors when it is told to.
 */
#ifndef TRESOR_TEST_DISK_FAKE_ENCLAVE_H
#define TRESOR_TEST_DISK_FAKE_ENCLAVE_H

#include <stdbool.h>
#include <stdint.h>

#include "addon/sgx/enclave.h"

/* One reference. It knows one volume. */
struct tresor_enclave *fake_enclave_new(uint32_t handle, uint32_t sector_size);
/* From the entry of that number on, counted from the next one: `status`, after as many ranges have been done. */
void fake_enclave_plan(struct tresor_enclave *enclave, unsigned at, uint32_t status, unsigned ranges);
/* As after a suspend that nobody was inside for. */
void fake_enclave_kill(struct tresor_enclave *enclave);

/* Since the plan. */
unsigned fake_enclave_entries(const struct tresor_enclave *enclave);
unsigned fake_enclave_most_ranges(const struct tresor_enclave *enclave);
unsigned fake_enclave_references(const struct tresor_enclave *enclave);
/* That exist. */
unsigned fake_enclaves_alive(void);

/* Both ways. */
void fake_cipher(const uint8_t *in, uint8_t *out, uint64_t sector, uint32_t length);

#endif
