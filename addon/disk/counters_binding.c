/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/counters_binding.h"

#include "addon/napi/values.h"

napi_value counters_to_js(napi_env env, const struct counters *counters, const char *held)
{
	napi_value result;

	napi_create_object(env, &result);
	js_set_double(env, result, "reads", (double)counters->reads);
	js_set_double(env, result, "writes", (double)counters->writes);
	js_set_double(env, result, "flushes", (double)counters->flushes);
	js_set_double(env, result, "discards", (double)counters->discards);
	js_set_double(env, result, "bytesRead", (double)counters->bytes_read);
	js_set_double(env, result, "bytesWritten", (double)counters->bytes_written);
	js_set_double(env, result, "errors", (double)counters->errors);
	js_set_double(env, result, held, (double)counters->held);
	return result;
}
