/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_VECTORS_OWN_OPS_H
#define TRESOR_VECTORS_OWN_OPS_H

#include "enclave.h"

/* As ../ops.h has it, for the operations of this image alone. */
uint32_t tresor_op_selftest(struct tresor_selftest *request);
uint32_t tresor_op_benchmark(struct tresor_benchmark *request);

#endif
