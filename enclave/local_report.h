/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_LOCAL_REPORT_H
#define TRESOR_LOCAL_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include "sgx.h"

/* What an enclave tells of itself: to a quoting enclave, or to another of ours on this machine. */

/* REPORTDATA as TRESOR_OP_REPORT fills it: who this public key belongs to. */
void tresor_local_report_data(const uint8_t public_key[32], const uint8_t nonce[32], struct sgx_report_data *data);
/* Made by EREPORT on this CPU, since it was switched on, for this enclave; SDM 38.15, 40.4 (EREPORT). */
bool tresor_local_report_genuine(const struct sgx_report *report);
/*
 * Reads the REPORT at this host address: E_SUCCESSOR unless it is genuine, binds public_key and nonce, and is of an
 * enclave of our product and class of attributes; E_REQUEST. Which enclave that is, is for the caller to judge.
 */
uint32_t tresor_local_report_read(uint64_t address, const uint8_t public_key[32], const uint8_t nonce[32],
				  struct sgx_report *report);

#endif
