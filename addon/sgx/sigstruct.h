/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_SIGSTRUCT_H
#define TRESOR_SIGSTRUCT_H

#include <stdbool.h>
#include <stdint.h>

#include "addon/sgx/image.h"
#include "addon/sgx/refuse.h"

/*
 * EINIT's checks of a SIGSTRUCT of SGX_SIGSTRUCT_SIZE bytes against the SECS,
 * whose mrenclave is final. On success fills in mrsigner, isv_prod_id and
 * isv_svn. The code names EINIT's error, the message the check.
 */
bool tresor_check_sigstruct(const uint8_t *sigstruct, struct tresor_secs *secs, struct tresor_error *error);

#endif
