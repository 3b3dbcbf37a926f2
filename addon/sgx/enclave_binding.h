/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_ENCLAVE_BINDING_H
#define TRESOR_ENCLAVE_BINDING_H

#include <node_api.h>

#include "addon/sgx/enclave.h"

/* Of the JavaScript object that stands for it, whose reference it is; NULL when it is none. */
struct tresor_enclave *tresor_enclave_unwrap(napi_env env, napi_value object);

#endif
