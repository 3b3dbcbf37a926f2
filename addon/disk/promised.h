/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a store's own bytes, which are ciphertext, told to JavaScript by
 * promises: the slow path's. They wait in the queue with everything else, so that
 * a device that hangs holds no thread which others need.
 */
#ifndef TRESOR_DISK_PROMISED_H
#define TRESOR_DISK_PROMISED_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "addon/disk/queue.h"

/* All return a promise, rejected with errno's name as `code`; or NULL, and have thrown. */

/* fdatasync(2). */
napi_value promised_sync(napi_env env, struct disk_queue *queue);
/*
 * All of `bytes`, a Uint8Array that nobody may touch meanwhile, from or to `offset`. DISK_READ or DISK_WRITE.
 * `direct`: by way of aligned memory, unless they begin at a page; the range is disk_aligned.
 */
napi_value promised_move(napi_env env, struct disk_queue *queue, enum disk_op op, napi_value bytes, uint64_t offset,
			 bool direct);
napi_value promised_punch(napi_env env, struct disk_queue *queue, uint64_t offset, uint32_t length);

#endif
