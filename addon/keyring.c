/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets in the kernel's keyring of this user (user-keyring(7)): memory that is never swapped, gone with a reboot, which
 * other processes of the same user read, and no file.
 */
#include <errno.h>
#include <linux/keyctl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "addon/addon.h"
#include "addon/napi/values.h"

#define KEY_TYPE "user"
/* Possessor and user: view, read, write, search, setattr; no one else anything. */
#define KEY_PERMISSIONS 0x2f2f0000
#define KEY_MOST 256

static long find(const char *name)
{
	return syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_USER_KEYRING, KEY_TYPE, name, 0);
}

static napi_value keep(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	char *name = NULL;
	uint8_t *bytes;
	size_t size, length;
	long key;

	if (!js_arguments(env, info, 2, argv, NULL) || !js_get_bytes(env, argv[1], &bytes, &size) || size > KEY_MOST ||
	    (name = js_get_text(env, argv[0], &length)) == NULL)
		return js_throw_arguments(env, "keyring");
	/* A service's session has no link to the user's keyring: without one of our own, its keys are not ours to set up. */
	syscall(SYS_keyctl, KEYCTL_LINK, KEY_SPEC_USER_KEYRING, KEY_SPEC_PROCESS_KEYRING);
	key = syscall(SYS_add_key, KEY_TYPE, name, bytes, size, KEY_SPEC_USER_KEYRING);
	free(name);
	if (key < 0 || syscall(SYS_keyctl, KEYCTL_SETPERM, key, KEY_PERMISSIONS) < 0)
		return js_throw_errno(env, errno, "the kernel's keyring cannot be used");
	return NULL;
}

/* null: there is none, or no keyring. */
static napi_value read_key(napi_env env, napi_callback_info info)
{
	uint8_t bytes[KEY_MOST];
	napi_value argv[1], result = NULL;
	size_t length;
	char *name;
	long key, size = -1;

	if (!js_arguments(env, info, 1, argv, NULL) || (name = js_get_text(env, argv[0], &length)) == NULL)
		return js_throw_arguments(env, "keyring");
	key = find(name);
	free(name);
	if (key >= 0)
		size = syscall(SYS_keyctl, KEYCTL_READ, key, bytes, sizeof(bytes));
	if (size < 0 || size > (long)sizeof(bytes))
		napi_get_null(env, &result);
	else
		result = js_bytes(env, bytes, (size_t)size);
	explicit_bzero(bytes, sizeof(bytes));
	return result;
}

/* Whether there was one. */
static napi_value forget(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result = NULL;
	size_t length;
	char *name;
	long key;

	if (!js_arguments(env, info, 1, argv, NULL) || (name = js_get_text(env, argv[0], &length)) == NULL)
		return js_throw_arguments(env, "keyring");
	key = find(name);
	free(name);
	napi_get_boolean(env, key >= 0 && syscall(SYS_keyctl, KEYCTL_UNLINK, key, KEY_SPEC_USER_KEYRING) == 0, &result);
	return result;
}

void tresor_keyring_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "keyringKeep", .method = keep },
		{ .utf8name = "keyringRead", .method = read_key },
		{ .utf8name = "keyringForget", .method = forget },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
