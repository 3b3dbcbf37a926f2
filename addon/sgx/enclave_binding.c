/* SPDX-License-Identifier: Apache-2.0 */
/* The object JavaScript holds: its methods, and the conversion of what they take and give. */
#include <node_api.h>
#include <stdlib.h>
#include <string.h>

#include "addon/addon.h"
#include "addon/sgx/enclave.h"
#include "addon/sgx/measure.h"

static const napi_type_tag enclave_tag = { 0x6e5c1f0b7a2d4983, 0x9b1e0c57d3a84f26 };

static napi_value throw_error(napi_env env, const struct tresor_error *error)
{
	napi_throw_error(env, error->code, error->message);
	return NULL;
}

static napi_value throw_arguments(napi_env env)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "enclave: wrong arguments");
	return NULL;
}

static void finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	tresor_enclave_unref(data);
}

struct tresor_enclave *tresor_enclave_unwrap(napi_env env, napi_value object)
{
	void *data = NULL;
	bool ours = false;

	if (napi_check_object_type_tag(env, object, &enclave_tag, &ours) != napi_ok || !ours ||
	    napi_unwrap(env, object, &data) != napi_ok)
		return NULL;
	return data;
}

/* A Uint8Array's bytes; NULL pointers of empty ones are made valid. */
static bool get_bytes(napi_env env, napi_value value, uint8_t **bytes, size_t *size)
{
	static uint8_t nothing;
	napi_typedarray_type type;
	bool is_array = false;
	void *data;

	if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array ||
	    napi_get_typedarray_info(env, value, &type, size, &data, NULL, NULL) != napi_ok ||
	    type != napi_uint8_array)
		return false;
	*bytes = data != NULL ? data : &nothing;
	return true;
}

/* A whole number from 0 to 2^53 - 1. */
static bool get_number(napi_env env, napi_value value, uint64_t *number)
{
	double real;

	if (napi_get_value_double(env, value, &real) != napi_ok || !(real >= 0 && real <= 9007199254740991.0))
		return false;
	*number = (uint64_t)real;
	return (double)*number == real;
}

static bool get_uint32(napi_env env, napi_value value, uint32_t *number)
{
	uint64_t wide;

	if (!get_number(env, value, &wide) || wide > UINT32_MAX)
		return false;
	*number = (uint32_t)wide;
	return true;
}

static bool get_uint64(napi_env env, napi_value value, uint64_t *number)
{
	bool lossless = false;

	return napi_get_value_bigint_uint64(env, value, number, &lossless) == napi_ok && lossless;
}

static napi_value property(napi_env env, napi_value object, const char *name)
{
	napi_value value = NULL;

	napi_get_named_property(env, object, name, &value);
	return value;
}

/* `this` of a method, and its arguments; NULL after an exception. */
static struct tresor_enclave *receive(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	struct tresor_enclave *enclave;
	napi_value self = NULL;
	size_t given = count;

	napi_get_cb_info(env, info, &given, argv, &self, NULL);
	enclave = tresor_enclave_unwrap(env, self);
	if (enclave == NULL || given < count) {
		throw_arguments(env);
		return NULL;
	}
	return enclave;
}

static napi_value js_add_pages(napi_env env, napi_callback_info info)
{
	struct tresor_error error;
	struct tresor_enclave *enclave;
	napi_value argv[5];
	uint64_t offset, size;
	uint8_t *data;
	size_t data_size;
	uint32_t flags;
	bool measure;

	enclave = receive(env, info, 5, argv);
	if (enclave == NULL)
		return NULL;
	if (!get_number(env, argv[0], &offset) || !get_number(env, argv[1], &size) ||
	    !get_bytes(env, argv[2], &data, &data_size) || !get_uint32(env, argv[3], &flags) ||
	    napi_get_value_bool(env, argv[4], &measure) != napi_ok)
		return throw_arguments(env);
	if (!tresor_enclave_add_pages(enclave, offset, size, data, data_size, flags, measure, &error))
		return throw_error(env, &error);
	return NULL;
}

static napi_value js_reserve(napi_env env, napi_callback_info info)
{
	struct tresor_error error;
	struct tresor_enclave *enclave;
	napi_value argv[2];
	uint64_t offset, size;

	enclave = receive(env, info, 2, argv);
	if (enclave == NULL)
		return NULL;
	if (!get_number(env, argv[0], &offset) || !get_number(env, argv[1], &size))
		return throw_arguments(env);
	if (!tresor_enclave_reserve(enclave, offset, size, &error))
		return throw_error(env, &error);
	return NULL;
}

static napi_value js_init(napi_env env, napi_callback_info info)
{
	struct tresor_error error;
	struct tresor_enclave *enclave;
	napi_value argv[2];
	uint8_t *sigstruct;
	uint64_t enclu;
	size_t size;

	enclave = receive(env, info, 2, argv);
	if (enclave == NULL)
		return NULL;
	if (!get_bytes(env, argv[0], &sigstruct, &size) || !get_number(env, argv[1], &enclu))
		return throw_arguments(env);
	if (size != SGX_SIGSTRUCT_SIZE)
		tresor_refuse(&error, "SGX_INVALID_SIG_STRUCT", "the SIGSTRUCT has %zu bytes, not %u", size,
			      SGX_SIGSTRUCT_SIZE);
	else if (tresor_enclave_init(enclave, sigstruct, enclu, &error))
		return NULL;
	return throw_error(env, &error);
}

/* The enclave reads and writes a whole struct at the address it is given, without knowing where a buffer ends. */
static bool get_request(napi_env env, napi_value value, uint8_t **request)
{
	struct tresor_head head;
	size_t size;

	if (!get_bytes(env, value, request, &size) || size < sizeof(head) || (uintptr_t)*request % 8 != 0)
		return false;
	memcpy(&head, *request, sizeof(head));
	return head.size <= size;
}

static napi_value js_enter(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave;
	napi_value argv[1], result;
	uint8_t *request;

	enclave = receive(env, info, 1, argv);
	if (enclave == NULL)
		return NULL;
	if (!get_request(env, argv[0], &request))
		return throw_arguments(env);
	napi_create_uint32(env, tresor_enclave_enter(enclave, request), &result);
	return result;
}

struct entry {
	struct tresor_enclave *enclave;	/* a reference */
	napi_async_work work;
	napi_deferred deferred;
	napi_ref buffer;	/* keeps the request where it is */
	void *request;
	uint32_t status;
};

static void entry_execute(napi_env env, void *data)
{
	struct entry *entry = data;

	(void)env;
	entry->status = tresor_enclave_enter(entry->enclave, entry->request);
}

static void entry_complete(napi_env env, napi_status state, void *data)
{
	struct entry *entry = data;
	napi_value result;

	/* Cancelled when the environment ends: nobody waits for the promise then. */
	if (state == napi_ok && napi_create_uint32(env, entry->status, &result) == napi_ok)
		napi_resolve_deferred(env, entry->deferred, result);
	napi_delete_reference(env, entry->buffer);
	napi_delete_async_work(env, entry->work);
	tresor_enclave_unref(entry->enclave);
	free(entry);
}

static napi_value js_enter_async(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave;
	napi_value argv[1], name, promise;
	struct entry *entry;
	uint8_t *request;

	enclave = receive(env, info, 1, argv);
	if (enclave == NULL)
		return NULL;
	if (!get_request(env, argv[0], &request))
		return throw_arguments(env);
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL) {
		napi_throw_error(env, "ENOMEM", "no memory to enter the enclave");
		return NULL;
	}
	entry->request = request;
	entry->enclave = tresor_enclave_ref(enclave);
	napi_create_string_utf8(env, "tresor enclave", NAPI_AUTO_LENGTH, &name);
	napi_create_reference(env, argv[0], 1, &entry->buffer);
	napi_create_promise(env, &entry->deferred, &promise);
	napi_create_async_work(env, NULL, name, entry_execute, entry_complete, entry, &entry->work);
	napi_queue_async_work(env, entry->work);
	return promise;
}

static napi_value js_trim_heap(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	struct tresor_error error;

	if (enclave == NULL || tresor_enclave_trim(enclave, &error))
		return NULL;
	return throw_error(env, &error);
}

static napi_value js_destroy(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);

	if (enclave != NULL)
		tresor_enclave_end(enclave);
	return NULL;
}

static napi_value js_alive(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	napi_value result = NULL;

	if (enclave != NULL)
		napi_get_boolean(env, tresor_enclave_alive(enclave), &result);
	return result;
}

static napi_value js_fault(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	napi_value result = NULL;
	const char *fault;

	if (enclave == NULL)
		return NULL;
	fault = tresor_image_fault_text(tresor_enclave_image(enclave));
	if (fault != NULL)
		napi_create_string_utf8(env, fault, NAPI_AUTO_LENGTH, &result);
	else
		napi_get_null(env, &result);
	return result;
}

static napi_value copy_bytes(napi_env env, const uint8_t *bytes, size_t size)
{
	napi_value buffer, array = NULL;
	void *data;

	if (napi_create_arraybuffer(env, size, &data, &buffer) != napi_ok)
		return NULL;
	memcpy(data, bytes, size);
	napi_create_typedarray(env, napi_uint8_array, size, buffer, 0, &array);
	return array;
}

static napi_value js_mrenclave(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);

	return enclave == NULL ? NULL : copy_bytes(env, tresor_enclave_image(enclave)->secs.mrenclave, 32);
}

static napi_value js_mrsigner(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);

	return enclave == NULL ? NULL : copy_bytes(env, tresor_enclave_image(enclave)->secs.mrsigner, 32);
}

static napi_value js_dynamic_size(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	napi_value result = NULL;

	if (enclave != NULL)
		napi_create_bigint_uint64(env, tresor_enclave_image(enclave)->dynamic_size, &result);
	return result;
}

static napi_value js_memory(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	struct tresor_memory_names names;
	napi_value result = NULL, name;

	if (enclave == NULL)
		return NULL;
	if (!tresor_enclave_memory(enclave, &names)) {
		napi_throw_error(env, "SGX_NOT_INITIALIZED", "the enclave has not been through EINIT");
		return NULL;
	}
	napi_create_object(env, &result);
	napi_create_string_utf8(env, names.keys, NAPI_AUTO_LENGTH, &name);
	napi_set_named_property(env, result, "keys", name);
	napi_create_string_utf8(env, names.stacks, NAPI_AUTO_LENGTH, &name);
	napi_set_named_property(env, result, "stacks", name);
	napi_create_string_utf8(env, names.heap, NAPI_AUTO_LENGTH, &name);
	napi_set_named_property(env, result, "heap", name);
	return result;
}

static bool get_options(napi_env env, napi_value object, struct tresor_secs *secs,
			const struct tresor_backend_ops **ops, struct tresor_options *options)
{
	char backend[16];
	size_t length, secret_size = 0;
	uint8_t *secret = NULL;

	if (napi_get_value_string_utf8(env, property(env, object, "backend"), backend, sizeof(backend), &length) !=
		    napi_ok ||
	    !get_uint64(env, property(env, object, "size"), &secs->size) ||
	    !get_uint32(env, property(env, object, "ssaFrameSize"), &secs->ssa_frame_size) ||
	    !get_uint32(env, property(env, object, "miscSelect"), &secs->misc_select) ||
	    !get_uint64(env, property(env, object, "attributes"), &secs->attributes) ||
	    !get_uint64(env, property(env, object, "xfrm"), &secs->xfrm) ||
	    !get_uint32(env, property(env, object, "transitionCycles"), &options->transition_cycles))
		return false;
	if (strcmp(backend, "software") == 0) {
		*ops = &tresor_software_ops;
		if (!get_bytes(env, property(env, object, "machineSecret"), &secret, &secret_size) || secret_size != 32)
			return false;
		options->machine_secret = secret;
		return true;
	}
	*ops = &tresor_sgx_ops;
	return strcmp(backend, "sgx") == 0;
}

static const napi_property_descriptor methods[] = {
	{ .utf8name = "addPages", .method = js_add_pages },
	{ .utf8name = "reserve", .method = js_reserve },
	{ .utf8name = "init", .method = js_init },
	{ .utf8name = "enter", .method = js_enter },
	{ .utf8name = "enterAsync", .method = js_enter_async },
	{ .utf8name = "trimHeap", .method = js_trim_heap },
	{ .utf8name = "destroy", .method = js_destroy },
	{ .utf8name = "alive", .getter = js_alive },
	{ .utf8name = "fault", .getter = js_fault },
	{ .utf8name = "mrenclave", .getter = js_mrenclave },
	{ .utf8name = "mrsigner", .getter = js_mrsigner },
	{ .utf8name = "dynamicSize", .getter = js_dynamic_size },
	{ .utf8name = "memory", .getter = js_memory },
};

static napi_value create_enclave(napi_env env, napi_callback_info info)
{
	const struct tresor_backend_ops *ops = NULL;
	struct tresor_options options = { 0 };
	struct tresor_secs secs = { 0 };
	struct tresor_enclave *enclave;
	struct tresor_error error;
	napi_value argv[1], object;
	size_t argc = 1;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	if (argc < 1 || !get_options(env, argv[0], &secs, &ops, &options))
		return throw_arguments(env);
	enclave = tresor_enclave_create(&secs, ops, &options, &error);
	if (options.machine_secret != NULL)
		tresor_wipe((void *)(uintptr_t)options.machine_secret, 32);
	if (enclave == NULL)
		return throw_error(env, &error);
	napi_create_object(env, &object);
	napi_define_properties(env, object, sizeof(methods) / sizeof(methods[0]), methods);
	napi_type_tag_object(env, object, &enclave_tag);
	if (napi_wrap(env, object, enclave, finalize, NULL, NULL) != napi_ok) {
		tresor_enclave_unref(enclave);
		return throw_arguments(env);
	}
	return object;
}

static napi_value address_of(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	uint8_t *bytes;
	size_t argc = 1, size;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	if (argc < 1 || !get_bytes(env, argv[0], &bytes, &size))
		return throw_arguments(env);
	napi_create_bigint_uint64(env, (uintptr_t)bytes, &result);
	return result;
}

void tresor_enclave_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "createEnclave", .method = create_enclave },
		{ .utf8name = "addressOf", .method = address_of },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
