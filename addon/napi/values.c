/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/napi/values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- arguments ---- */

bool js_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv, napi_value *self)
{
	size_t given = count;

	return napi_get_cb_info(env, info, &given, argv, self, NULL) == napi_ok && given >= count;
}

bool js_get_number(napi_env env, napi_value value, uint64_t *number)
{
	double real;

	if (napi_get_value_double(env, value, &real) != napi_ok || !(real >= 0 && real <= 9007199254740991.0))
		return false;
	*number = (uint64_t)real;
	return (double)*number == real;
}

bool js_get_uint32(napi_env env, napi_value value, uint32_t *number)
{
	uint64_t wide;

	if (!js_get_number(env, value, &wide) || wide > UINT32_MAX)
		return false;
	*number = (uint32_t)wide;
	return true;
}

bool js_get_int32(napi_env env, napi_value value, int32_t *number)
{
	double real;

	if (napi_get_value_double(env, value, &real) != napi_ok || !(real >= INT32_MIN && real <= INT32_MAX))
		return false;
	*number = (int32_t)real;
	return (double)*number == real;
}

bool js_get_uint64(napi_env env, napi_value value, uint64_t *number)
{
	bool lossless = false;

	return napi_get_value_bigint_uint64(env, value, number, &lossless) == napi_ok && lossless;
}

bool js_get_bool(napi_env env, napi_value value, bool *is)
{
	return napi_get_value_bool(env, value, is) == napi_ok;
}

bool js_get_bytes(napi_env env, napi_value value, uint8_t **bytes, size_t *size)
{
	static uint8_t nothing;
	napi_typedarray_type type;
	bool is_array = false;
	void *data;

	if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array ||
	    napi_get_typedarray_info(env, value, &type, size, &data, NULL, NULL) != napi_ok || type != napi_uint8_array)
		return false;
	*bytes = data != NULL ? data : &nothing;
	return true;
}

bool js_copy_bytes(napi_env env, napi_value value, uint8_t *to, size_t size)
{
	uint8_t *bytes;
	size_t given;

	if (!js_get_bytes(env, value, &bytes, &given) || given != size)
		return false;
	memcpy(to, bytes, size);
	return true;
}

char *js_get_text(napi_env env, napi_value value, size_t *size)
{
	char *text;

	if (napi_get_value_string_utf8(env, value, NULL, 0, size) != napi_ok)
		return NULL;
	text = malloc(*size + 1);
	if (text != NULL)
		napi_get_value_string_utf8(env, value, text, *size + 1, size);
	return text;
}

napi_value js_property(napi_env env, napi_value object, const char *name)
{
	napi_value value = NULL;

	napi_get_named_property(env, object, name, &value);
	return value;
}

/* ---- values ---- */

napi_value js_text(napi_env env, const char *text)
{
	napi_value value = NULL;

	napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
	return value;
}

const char *js_errno_name(int error)
{
	const char *name = strerrorname_np(error);

	return name != NULL && error != 0 ? name : "EIO";
}

napi_value js_bytes(napi_env env, const uint8_t *bytes, size_t size)
{
	napi_value buffer, array = NULL;
	void *data;

	if (napi_create_arraybuffer(env, size, &data, &buffer) != napi_ok)
		return NULL;
	memcpy(data, bytes, size);
	napi_create_typedarray(env, napi_uint8_array, size, buffer, 0, &array);
	return array;
}

void js_set_uint32(napi_env env, napi_value object, const char *name, uint32_t number)
{
	napi_value value;

	napi_create_uint32(env, number, &value);
	napi_set_named_property(env, object, name, value);
}

void js_set_int32(napi_env env, napi_value object, const char *name, int32_t number)
{
	napi_value value;

	napi_create_int32(env, number, &value);
	napi_set_named_property(env, object, name, value);
}

void js_set_uint64(napi_env env, napi_value object, const char *name, uint64_t number)
{
	napi_value value;

	napi_create_bigint_uint64(env, number, &value);
	napi_set_named_property(env, object, name, value);
}

void js_set_double(napi_env env, napi_value object, const char *name, double number)
{
	napi_value value;

	napi_create_double(env, number, &value);
	napi_set_named_property(env, object, name, value);
}

void js_set_bool(napi_env env, napi_value object, const char *name, bool is)
{
	napi_value value;

	napi_get_boolean(env, is, &value);
	napi_set_named_property(env, object, name, value);
}

void js_set_text(napi_env env, napi_value object, const char *name, const char *text)
{
	napi_set_named_property(env, object, name, js_text(env, text));
}

/* ---- errors ---- */

napi_value js_error(napi_env env, const char *code, const char *message)
{
	napi_value error = NULL;

	napi_create_error(env, js_text(env, code), js_text(env, message), &error);
	return error;
}

napi_value js_throw_errno(napi_env env, int error, const char *message)
{
	napi_throw_error(env, js_errno_name(error), message);
	return NULL;
}

napi_value js_throw_arguments(napi_env env, const char *subject)
{
	char message[80];

	snprintf(message, sizeof(message), "%s: wrong arguments", subject);
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
	return NULL;
}
