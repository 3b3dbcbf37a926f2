/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_DISK_BINDING_H
#define TRESOR_DISK_BINDING_H

#include <node_api.h>

#include "addon/disk/plain.h"

/* Of the JavaScript object that stands for a disk, whose reference it is; NULL when it is none, or was closed. */
struct plain_volume *tresor_disk_unwrap(napi_env env, napi_value object);

#endif
