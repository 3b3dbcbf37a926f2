/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_CRYPTO_CPU_H
#define TRESOR_CRYPTO_CPU_H

#include <stdint.h>

#include "enclave.h"

/*
 * TRESOR_CPU_* bits that may be used: the host's hint, masked by the enclave's
 * own XFRM, written once by HELLO before any other operation. 0 is always
 * right: SSE4.1, AES-NI and PCLMULQDQ are taken for granted (every CPU with
 * SGX has them). TRESOR_CPU_AVX2 is taken to imply BMI1 and BMI2.
 */
extern uint32_t cpu_features;

#endif
