/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An enclave, whatever its backend. Reference counted: the JavaScript object,
 * every sector device and every ring queue holds one.
 */
#ifndef TRESOR_ADDON_ENCLAVE_H
#define TRESOR_ADDON_ENCLAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addon/sgx/backend.h"
#include "addon/sgx/image.h"
#include "addon/sgx/refuse.h"

struct tresor_enclave;

/*
 * From any thread: takes a free TCS, waiting for one if all are busy, and
 * returns enum tresor_status, or TRESOR_ENTER_LOST when the enclave is gone
 * (fault, EPC lost): for ever after it returns that at once. After
 * TRESOR_E_DEAD too: a dead enclave is wiped.
 */
uint32_t tresor_enclave_enter(struct tresor_enclave *enclave, void *request);
struct tresor_enclave *tresor_enclave_ref(struct tresor_enclave *enclave);
void tresor_enclave_unref(struct tresor_enclave *enclave);
bool tresor_enclave_alive(const struct tresor_enclave *enclave);

/* ECREATE. One reference, the caller's. NULL with the error filled in. */
struct tresor_enclave *tresor_enclave_create(const struct tresor_secs *secs, const struct tresor_backend_ops *ops,
					     const struct tresor_options *options, struct tresor_error *error);

/* One thread makes an enclave; false with the error filled in. In order: pages and the dynamic range, then EINIT. */
bool tresor_enclave_add_pages(struct tresor_enclave *enclave, uint64_t offset, uint64_t size, const uint8_t *data,
			      size_t data_size, uint32_t flags, bool measure, struct tresor_error *error);
bool tresor_enclave_reserve(struct tresor_enclave *enclave, uint64_t offset, uint64_t size, struct tresor_error *error);
bool tresor_enclave_init(struct tresor_enclave *enclave, const uint8_t *sigstruct, uint64_t enclu,
			 struct tresor_error *error);

/* The heap is given back; true also when there is nothing to give. No KDF may be running. */
bool tresor_enclave_trim(struct tresor_enclave *enclave, struct tresor_error *error);
/* Nobody enters any more; wiped and unmapped as soon as nobody is inside. */
void tresor_enclave_end(struct tresor_enclave *enclave);

/* Does not change after init, but for `fault`. */
const struct tresor_image *tresor_enclave_image(const struct tresor_enclave *enclave);
/* False before init. Of an enclave that has ended: as it was. */
bool tresor_enclave_memory(struct tresor_enclave *enclave, struct tresor_memory_names *names);

#endif
