/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_DISK_COUNTERS_BINDING_H
#define TRESOR_DISK_COUNTERS_BINDING_H

#include "addon/addon.h"
#include "addon/disk/counters.h"

/* An object; `held` is the property that tells what requests wait for. */
napi_value counters_to_js(napi_env env, const struct counters *counters, const char *held);

#endif
