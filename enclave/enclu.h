/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_ENCLU_H
#define TRESOR_ENCLU_H

#include "sgx.h"

/* entry.S. The value of RAX: 0 on success of the leaves that abi/sgx.h names, but EEXIT. */
uint64_t tresor_enclu(uint32_t leaf, const void *rbx, void *rcx, void *rdx);

#endif
