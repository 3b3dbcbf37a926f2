/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon and the command line need of the operating system and Node does not offer. */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "addon/addon.h"
#include "addon/napi/values.h"
#include "addon/sgx/secret_memory.h"

static napi_value throw_arguments(napi_env env)
{
	return js_throw_arguments(env, "process");
}

/* flock(fd, exclusive, nonblocking): boolean */
static napi_value lock_file(napi_env env, napi_callback_info info)
{
	bool exclusive, nonblocking;
	napi_value argv[3], result;
	int32_t fd;
	int status;

	if (!js_arguments(env, info, 3, argv, NULL) || !js_get_int32(env, argv[0], &fd) ||
	    !js_get_bool(env, argv[1], &exclusive) || !js_get_bool(env, argv[2], &nonblocking))
		return throw_arguments(env);
	do {
		status = flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | (nonblocking ? LOCK_NB : 0));
	} while (status != 0 && errno == EINTR);
	if (status != 0 && errno != EWOULDBLOCK)
		return js_throw_errno(env, errno, "cannot lock the file");
	napi_get_boolean(env, status == 0, &result);
	return result;
}

/* Process that traces us; 0: none. -1: it cannot be told. */
static int32_t tracer(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	int32_t pid = -1;
	char line[256];

	if (file == NULL)
		return -1;
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "TracerPid: %" SCNd32, &pid) == 1)
			break;
	fclose(file);
	return pid;
}

/* hardenProcess(name): { wasDumpable, tracer } */
static napi_value harden_process(napi_env env, napi_callback_info info)
{
	const struct rlimit none = { 0, 0 };
	napi_value argv[1], result;
	const int dumpable = prctl(PR_GET_DUMPABLE);
	size_t size;
	char *name;

	name = js_arguments(env, info, 1, argv, NULL) ? js_get_text(env, argv[0], &size) : NULL;
	if (name == NULL)
		return throw_arguments(env);
	prctl(PR_SET_NAME, name);
	free(name);
	/* Both: a core_pattern that pipes takes cores whatever the limit is, but only of the dumpable. */
	if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0)
		return js_throw_errno(env, errno, "cannot forbid core dumps");
	napi_create_object(env, &result);
	/* 2, fs.suid_dumpable's "root only", is no more readable than 0. */
	js_set_bool(env, result, "wasDumpable", dumpable == 1);
	/* After it stopped being dumpable: from now on no tracer of this user can come. */
	js_set_int32(env, result, "tracer", tracer());
	return result;
}

/* secretMemoryFault(): string | null, the errno's name */
static napi_value secret_memory_fault(napi_env env, napi_callback_info info)
{
	const int fault = tresor_secret_fault();
	napi_value none;

	(void)info;
	if (fault != 0)
		return js_text(env, js_errno_name(fault));
	napi_get_null(env, &none);
	return none;
}

/* unblockSigusr1(): launcher.c and Node hold it back until somebody listens. */
static napi_value unblock_sigusr1(napi_env env, napi_callback_info info)
{
	sigset_t set;

	(void)env;
	(void)info;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return NULL;
}

/* One datagram, at once or not at all where `flags` say MSG_DONTWAIT. */
static bool notify(const char *path, const char *text, size_t size, int flags)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(path);
	ssize_t sent;
	int fd;

	if ((path[0] != '/' && path[0] != '@') || length >= sizeof(address.sun_path))
		return false;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	sent = sendto(fd, text, size, MSG_NOSIGNAL | flags, (const struct sockaddr *)&address,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	close(fd);
	return sent == (ssize_t)size;
}

/* notifySystemd(text): boolean; see sd_notify(3) */
static napi_value notify_systemd(napi_env env, napi_callback_info info)
{
	const char *path = getenv("NOTIFY_SOCKET");
	napi_value argv[1], result;
	size_t size;
	char *text;

	text = js_arguments(env, info, 1, argv, NULL) ? js_get_text(env, argv[0], &size) : NULL;
	if (text == NULL)
		return throw_arguments(env);
	napi_get_boolean(env, path != NULL && notify(path, text, size, 0), &result);
	free(text);
	return result;
}

/* sendDatagram(path, text): boolean; never waits for the receiver */
static napi_value send_datagram(napi_env env, napi_callback_info info)
{
	napi_value argv[2], result;
	char *path, *text;
	size_t size;

	if (!js_arguments(env, info, 2, argv, NULL))
		return throw_arguments(env);
	path = js_get_text(env, argv[0], &size);
	text = path != NULL ? js_get_text(env, argv[1], &size) : NULL;
	if (text == NULL) {
		free(path);
		return throw_arguments(env);
	}
	napi_get_boolean(env, notify(path, text, size, MSG_DONTWAIT), &result);
	free(path);
	free(text);
	return result;
}

/* peerCredentials(fd): { pid, uid, gid } */
static napi_value peer_credentials(napi_env env, napi_callback_info info)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	napi_value argv[1], result;
	int32_t fd;

	if (!js_arguments(env, info, 1, argv, NULL) || !js_get_int32(env, argv[0], &fd))
		return throw_arguments(env);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return js_throw_errno(env, errno, "cannot tell who connected");
	napi_create_object(env, &result);
	js_set_uint32(env, result, "pid", (uint32_t)peer.pid);
	js_set_uint32(env, result, "uid", peer.uid);
	js_set_uint32(env, result, "gid", peer.gid);
	return result;
}

/* socketPair(): [fd, fd], connected stream sockets; closed when another program is executed. */
static napi_value socket_pair(napi_env env, napi_callback_info info)
{
	napi_value result, number;
	int fds[2];

	(void)info;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return js_throw_errno(env, errno, "cannot make sockets");
	napi_create_array_with_length(env, 2, &result);
	for (uint32_t i = 0; i < 2; i++) {
		napi_create_int32(env, fds[i], &number);
		napi_set_element(env, result, i, number);
	}
	return result;
}

/* duplicate(fd): fd; closed when another program is executed */
static napi_value duplicate(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	int32_t fd;

	if (!js_arguments(env, info, 1, argv, NULL) || !js_get_int32(env, argv[0], &fd))
		return throw_arguments(env);
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return js_throw_errno(env, errno, "cannot duplicate a descriptor");
	napi_create_int32(env, fd, &result);
	return result;
}

/* exitNow(code): Node's own exit waits for a thread that runs a KDF, for minutes if need be. */
static napi_value exit_now(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int32_t code;

	if (!js_arguments(env, info, 1, argv, NULL) || !js_get_int32(env, argv[0], &code))
		return throw_arguments(env);
	_exit(code);
}

/* trimHeap(): free memory that malloc keeps goes back to the system. */
static napi_value trim_heap(napi_env env, napi_callback_info info)
{
	(void)env;
	(void)info;
	malloc_trim(0);
	return NULL;
}

void tresor_process_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "duplicate", .method = duplicate },
		{ .utf8name = "exitNow", .method = exit_now },
		{ .utf8name = "flock", .method = lock_file },
		{ .utf8name = "hardenProcess", .method = harden_process },
		{ .utf8name = "notifySystemd", .method = notify_systemd },
		{ .utf8name = "peerCredentials", .method = peer_credentials },
		{ .utf8name = "secretMemoryFault", .method = secret_memory_fault },
		{ .utf8name = "sendDatagram", .method = send_datagram },
		{ .utf8name = "socketPair", .method = socket_pair },
		{ .utf8name = "trimHeap", .method = trim_heap },
		{ .utf8name = "unblockSigusr1", .method = unblock_sigusr1 },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
