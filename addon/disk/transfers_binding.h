/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_DISK_TRANSFERS_BINDING_H
#define TRESOR_DISK_TRANSFERS_BINDING_H

#include <node_api.h>

/* Gives an object that stands for a disk the methods of its volume: plaintext in and out. */
void transfers_define(napi_env env, napi_value object);

#endif
