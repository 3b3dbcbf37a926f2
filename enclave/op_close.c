/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "volumes.h"

uint32_t tresor_op_close(struct tresor_close *request)
{
	if (request->reserved != 0)
		return TRESOR_E_REQUEST;
	return tresor_volumes_close(request->handle) ? TRESOR_OK : TRESOR_E_HANDLE;
}
