/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "crypto/argon2.h"

uint32_t tresor_op_assist(struct tresor_assist *request)
{
	(void)request;
	argon2_assist();
	return TRESOR_OK;
}
