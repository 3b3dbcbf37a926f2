/* SPDX-License-Identifier: Apache-2.0 */
/* What functions of JavaScript's are given and give: checked arguments, values, errors. */
#ifndef TRESOR_NAPI_VALUES_H
#define TRESOR_NAPI_VALUES_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Arguments. Each is false when the value is of another kind or out of range, and throws nothing. */

/* The first `count`, and `this` unless `self` is NULL; false when fewer were given. */
bool js_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv, napi_value *self);
/* A whole number from 0 to 2^53 - 1. */
bool js_get_number(napi_env env, napi_value value, uint64_t *number);
bool js_get_uint32(napi_env env, napi_value value, uint32_t *number);
bool js_get_int32(napi_env env, napi_value value, int32_t *number);
/* A BigInt. */
bool js_get_uint64(napi_env env, napi_value value, uint64_t *number);
bool js_get_bool(napi_env env, napi_value value, bool *is);
/* A Uint8Array's bytes where they lie; never NULL. */
bool js_get_bytes(napi_env env, napi_value value, uint8_t **bytes, size_t *size);
/* A copy of a Uint8Array of exactly `size` bytes. */
bool js_copy_bytes(napi_env env, napi_value value, uint8_t *to, size_t size);
/* From malloc(3), NUL-terminated; NULL when the value is no string, or there is no memory. */
char *js_get_text(napi_env env, napi_value value, size_t *size);
/* NULL when `object` is none. */
napi_value js_property(napi_env env, napi_value object, const char *name);

/* Values. */

napi_value js_text(napi_env env, const char *text);
/* An errno's name; "EIO" when it has none. */
const char *js_errno_name(int error);
/* A new Uint8Array. */
napi_value js_bytes(napi_env env, const uint8_t *bytes, size_t size);
void js_set_uint32(napi_env env, napi_value object, const char *name, uint32_t number);
void js_set_int32(napi_env env, napi_value object, const char *name, int32_t number);
void js_set_uint64(napi_env env, napi_value object, const char *name, uint64_t number);
void js_set_double(napi_env env, napi_value object, const char *name, double number);
void js_set_bool(napi_env env, napi_value object, const char *name, bool is);
void js_set_text(napi_env env, napi_value object, const char *name, const char *text);

/* Errors. Those that throw return NULL, so that a function can end with one. */

/* An Error to reject with; `code` is its property of that name. */
napi_value js_error(napi_env env, const char *code, const char *message);
napi_value js_throw_errno(napi_env env, int error, const char *message);
/* A TypeError; `subject` is what was called, for people. */
napi_value js_throw_arguments(napi_env env, const char *subject);

#endif
