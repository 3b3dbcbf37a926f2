/* SPDX-License-Identifier: Apache-2.0 */
/* The Linux in-kernel SGX driver behind backend.h. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "addon/addon.h"
#include "addon/backend.h"

static struct tresor_backend *backend_create(struct tresor_image *image, const struct tresor_options *options,
					     struct tresor_error *error)
{
	int device = open("/dev/sgx_enclave", O_RDWR | O_CLOEXEC);

	(void)image;
	(void)options;
	if (device < 0 && (errno == ENOENT || errno == ENXIO)) {
		tresor_refuse(error, "SGX_NO_DEVICE", "this machine has no /dev/sgx_enclave");
		return NULL;
	}
	if (device < 0) {
		tresor_refuse_errno(error, "cannot open /dev/sgx_enclave");
		return NULL;
	}
	close(device);
	tresor_refuse(error, "SGX_NO_DRIVER", "this build cannot load enclaves through /dev/sgx_enclave");
	return NULL;
}

const struct tresor_backend_ops tresor_sgx_ops = {
	.create = backend_create,
};
