/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume's key as threads use it: a handle of an enclave, which comes and goes
 * while they work. The thread that owns the volume sets and takes it.
 */
#ifndef TRESOR_DISK_KEY_H
#define TRESOR_DISK_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/enclave.h"
#include "addon/sgx/enclave.h"

struct volume_key;

/* Without a key. One reference. NULL: no memory. */
struct volume_key *volume_key_new(void);
struct volume_key *volume_key_ref(struct volume_key *key);
void volume_key_unref(struct volume_key *key);

/* From now on this one; with a reference to the enclave. */
void volume_key_set(struct volume_key *key, struct tresor_enclave *enclave, uint32_t handle);
/* From now on none. Threads that are inside the enclave come out with TRESOR_E_HANDLE at the latest once it is closed. */
void volume_key_clear(struct volume_key *key);

/*
 * One entry for all ranges, 1 to TRESOR_RANGES. 0; ENOKEY: there is no key now, nothing was done; EOWNERDEAD:
 * nor is there any more, its enclave was lost while it was at it, and any part of the ranges may have been
 * done; EIO: the enclave refused them, nothing was done.
 */
int volume_key_crypt(struct volume_key *key, bool decrypt, const struct tresor_range *ranges, uint32_t count);

#endif
