/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon and the command line need of the operating system and Node does not offer. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "addon/addon.h"
#include "addon/sgx/secret_memory.h"

static napi_value throw_errno(napi_env env, const char *what)
{
	const char *name = strerrorname_np(errno);

	napi_throw_error(env, name != NULL ? name : "EIO", what);
	return NULL;
}

static napi_value throw_arguments(napi_env env)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "system: wrong arguments");
	return NULL;
}

/* malloc'd, NUL-terminated; NULL when the value is no string. */
static char *get_text(napi_env env, napi_value value, size_t *size)
{
	char *text;

	if (napi_get_value_string_utf8(env, value, NULL, 0, size) != napi_ok)
		return NULL;
	text = malloc(*size + 1);
	if (text != NULL)
		napi_get_value_string_utf8(env, value, text, *size + 1, size);
	return text;
}

/* flock(fd, exclusive, nonblocking): boolean */
static napi_value lock_file(napi_env env, napi_callback_info info)
{
	bool exclusive, nonblocking;
	napi_value argv[3], result;
	size_t argc = 3;
	int32_t fd;
	int status;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	if (argc < 3 || napi_get_value_int32(env, argv[0], &fd) != napi_ok ||
	    napi_get_value_bool(env, argv[1], &exclusive) != napi_ok ||
	    napi_get_value_bool(env, argv[2], &nonblocking) != napi_ok)
		return throw_arguments(env);
	do {
		status = flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | (nonblocking ? LOCK_NB : 0));
	} while (status != 0 && errno == EINTR);
	if (status != 0 && errno != EWOULDBLOCK)
		return throw_errno(env, "cannot lock the file");
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
	napi_value argv[1], result, value;
	const int dumpable = prctl(PR_GET_DUMPABLE);
	size_t argc = 1, size;
	char *name;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	name = argc < 1 ? NULL : get_text(env, argv[0], &size);
	if (name == NULL)
		return throw_arguments(env);
	prctl(PR_SET_NAME, name);
	free(name);
	/* Both: a core_pattern that pipes takes cores whatever the limit is, but only of the dumpable. */
	if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0)
		return throw_errno(env, "cannot forbid core dumps");
	napi_create_object(env, &result);
	/* 2, fs.suid_dumpable's "root only", is no more readable than 0. */
	napi_get_boolean(env, dumpable == 1, &value);
	napi_set_named_property(env, result, "wasDumpable", value);
	/* After it stopped being dumpable: from now on no tracer of this user can come. */
	napi_create_int32(env, tracer(), &value);
	napi_set_named_property(env, result, "tracer", value);
	return result;
}

/* secretMemoryFault(): string | null, the errno's name */
static napi_value secret_memory_fault(napi_env env, napi_callback_info info)
{
	const int fault = tresor_secret_fault();
	const char *name = strerrorname_np(fault);
	napi_value result;

	(void)info;
	if (fault == 0)
		napi_get_null(env, &result);
	else
		napi_create_string_utf8(env, name != NULL ? name : "EIO", NAPI_AUTO_LENGTH, &result);
	return result;
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

static bool notify(const char *path, const char *text, size_t size)
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
	sent = sendto(fd, text, size, MSG_NOSIGNAL, (const struct sockaddr *)&address,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	close(fd);
	return sent == (ssize_t)size;
}

/* notifySystemd(text): boolean; see sd_notify(3) */
static napi_value notify_systemd(napi_env env, napi_callback_info info)
{
	const char *path = getenv("NOTIFY_SOCKET");
	napi_value argv[1], result;
	size_t argc = 1, size;
	char *text;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	text = argc < 1 ? NULL : get_text(env, argv[0], &size);
	if (text == NULL)
		return throw_arguments(env);
	napi_get_boolean(env, path != NULL && notify(path, text, size), &result);
	free(text);
	return result;
}

static void set_uint32(napi_env env, napi_value object, const char *name, uint32_t number)
{
	napi_value value;

	napi_create_uint32(env, number, &value);
	napi_set_named_property(env, object, name, value);
}

/* peerCredentials(fd): { pid, uid, gid } */
static napi_value peer_credentials(napi_env env, napi_callback_info info)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	napi_value argv[1], result;
	size_t argc = 1;
	int32_t fd;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	if (argc < 1 || napi_get_value_int32(env, argv[0], &fd) != napi_ok)
		return throw_arguments(env);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return throw_errno(env, "cannot tell who connected");
	napi_create_object(env, &result);
	set_uint32(env, result, "pid", (uint32_t)peer.pid);
	set_uint32(env, result, "uid", peer.uid);
	set_uint32(env, result, "gid", peer.gid);
	return result;
}

/* ---- a passphrase from the terminal ---- */

/*
 * On a thread of its own: one of libuv's would make the process wait for the
 * line before it can exit. From `start` on the thread owns all but the last
 * three; JavaScript's thread owns everything again once it has joined.
 */
struct prompt {
	char *text;
	size_t text_size;
	size_t limit;
	uint32_t timeout;	/* seconds; 0: none */
	bool echo;		/* shown while it is typed */
	uint8_t *memory;
	size_t memory_size;
	enum tresor_memory kind;
	size_t length;
	int error;
	int wake[2];		/* bytes: signal numbers, 0 to give up */
	pthread_t thread;
	bool joined;
	napi_deferred deferred;
	napi_threadsafe_function done;
};

/* Those that end or stop a program and would leave the terminal without echo. */
static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP };
#define ENDING	(sizeof(ending) / sizeof(ending[0]))

/* The one prompt there is: its wake[1], or -1. */
static int signalled = -1;

static void on_signal(int signal)
{
	const int cause = errno;
	const uint8_t byte = (uint8_t)signal;

	if (write(__atomic_load_n(&signalled, __ATOMIC_RELAXED), &byte, 1) < 0)
		errno = cause;
}

static void take_signals(struct sigaction before[ENDING])
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < ENDING; i++) {
		sigaction(ending[i], NULL, &before[i]);
		/* nohup: what is ignored stays so. */
		if (before[i].sa_handler != SIG_IGN)
			sigaction(ending[i], &action, NULL);
	}
}

static void give_signals_back(const struct sigaction before[ENDING])
{
	for (size_t i = 0; i < ENDING; i++) {
		struct sigaction now;

		/* Somebody who listens since then stays in place. */
		if (sigaction(ending[i], NULL, &now) == 0 && now.sa_handler == on_signal)
			sigaction(ending[i], &before[i], NULL);
	}
}

/*
 * Between two prompts echo stays off: what is typed while the first answer is
 * worked on may be the next passphrase. From the end of one prompt to the next
 * one, or to restore_terminal. One thread at a time: prompts do not overlap.
 */
static struct {
	bool active;
	int tty;
	struct termios usual;
	struct sigaction before[ENDING];
} held;

static void on_signal_held(int signal);

static void release_signals(void)
{
	for (size_t i = 0; i < ENDING; i++) {
		struct sigaction now;

		if (sigaction(ending[i], NULL, &now) == 0 && now.sa_handler == on_signal_held)
			sigaction(ending[i], &held.before[i], NULL);
	}
}

/* A stopped program gives the terminal back, and does not take it again. */
static void on_signal_held(int signal)
{
	const int cause = errno;

	tcsetattr(held.tty, TCSAFLUSH, &held.usual);
	release_signals();
	held.active = false;
	/* Pending until we return; then it has its effect. */
	raise(signal);
	errno = cause;
}

/* Takes the descriptor over. */
static void hold_terminal(int tty, const struct termios *usual)
{
	struct sigaction action = { .sa_handler = on_signal_held, .sa_flags = SA_RESTART };

	held.tty = tty;
	held.usual = *usual;
	held.active = true;
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < ENDING; i++) {
		sigaction(ending[i], NULL, &held.before[i]);
		if (held.before[i].sa_handler != SIG_IGN)
			sigaction(ending[i], &action, NULL);
	}
}

/* What was typed into the silence goes: the next to read may be a shell, which shows it. */
static void let_terminal_go(void)
{
	if (!held.active)
		return;
	release_signals();
	held.active = false;
	tcsetattr(held.tty, TCSAFLUSH, &held.usual);
	close(held.tty);
}

static void let_terminal_go_at_exit(void *data)
{
	(void)data;
	let_terminal_go();
}

/* restoreTerminal(): ends the silence that readPassphrase leaves behind */
static napi_value restore_terminal(napi_env env, napi_callback_info info)
{
	(void)env;
	(void)info;
	let_terminal_go();
	return NULL;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void say(int tty, const char *text, size_t size)
{
	/* A terminal that takes no prompt will not give an answer: that is where it shows. */
	while (size > 0) {
		ssize_t n = write(tty, text, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		text += n;
		size -= (size_t)n;
	}
}

/* One line, as the terminal hands it over. Returns 0 or an errno; *signal is set with EINTR. */
static int read_line(struct prompt *prompt, int tty, int64_t deadline, uint8_t *signal)
{
	struct pollfd polled[2] = { { .fd = tty, .events = POLLIN }, { .fd = prompt->wake[0], .events = POLLIN } };

	for (;;) {
		int64_t left = deadline - now_ms();
		int ready = poll(polled, 2, prompt->timeout == 0 ? -1 : left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left);
		ssize_t n;

		if (ready < 0 && errno != EINTR)
			return errno;
		if (ready == 0 && left <= 0)
			return ETIMEDOUT;
		if (ready <= 0)
			continue;
		if (polled[1].revents != 0 && read(prompt->wake[0], signal, 1) == 1)
			return EINTR;
		if (polled[0].revents == 0)
			continue;
		n = read(tty, prompt->memory, prompt->limit + 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		/* ^D on an empty line. After something typed it ends the line, as for cryptsetup. */
		if (n == 0)
			return ENODATA;
		prompt->length = (size_t)n;
		if (prompt->memory[n - 1] == '\n')
			prompt->length--;
		if (prompt->length <= prompt->limit)
			return 0;
		tcflush(tty, TCIFLUSH);
		return EMSGSIZE;
	}
}

/*
 * Returns 0 or an errno. The terminal is as it was, but for its echo when a
 * secret was read: hold_terminal, which then has the descriptor.
 */
static int ask(struct prompt *prompt, int tty)
{
	const int64_t deadline = now_ms() + (int64_t)prompt->timeout * 1000;
	struct sigaction before[ENDING];
	struct termios usual, silent;
	uint8_t signal;
	int error;

	if (tcgetattr(tty, &usual) != 0) {
		error = errno;
		close(tty);
		return error;
	}
	if (held.active) {
		usual = held.usual;
		release_signals();
		held.active = false;
		close(held.tty);
	}
	silent = usual;
	if (!prompt->echo)
		silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
	do {
		signal = 0;
		take_signals(before);
		if (tcsetattr(tty, TCSAFLUSH, &silent) != 0) {
			error = errno;
		} else {
			say(tty, prompt->text, prompt->text_size);
			error = read_line(prompt, tty, deadline, &signal);
			/* Of a shown line the newline was shown too. */
			if (!prompt->echo || error != 0)
				say(tty, "\n", 1);
			if (error != 0 || prompt->echo)
				tcsetattr(tty, TCSANOW, &usual);
		}
		give_signals_back(before);
		/* Now that it does no harm. Sent to this thread, it has its effect before we go on. */
		if (error == EINTR && signal != 0)
			raise(signal);
	} while (error == EINTR && signal == SIGTSTP);
	if (error == 0 && !prompt->echo)
		hold_terminal(tty, &usual);
	else
		close(tty);
	return error;
}

static void *prompt_thread(void *data)
{
	struct prompt *prompt = data;
	int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	sigset_t set;

	/* Without a controlling terminal standard input may still be one. */
	if (tty < 0 && isatty(STDIN_FILENO))
		tty = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	sigemptyset(&set);
	for (size_t i = 0; i < ENDING; i++)
		sigaddset(&set, ending[i]);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (tty < 0) {
		prompt->error = errno;
	} else {
		prompt->error = ask(prompt, tty);
	}
	napi_call_threadsafe_function(prompt->done, prompt, napi_tsfn_blocking);
	return NULL;
}

static void free_memory(void *memory, size_t size)
{
	explicit_bzero(memory, size);
	munmap(memory, size);
}

static void prompt_free(struct prompt *prompt)
{
	if (prompt->memory != NULL)
		free_memory(prompt->memory, prompt->memory_size);
	if (prompt->wake[0] >= 0) {
		close(prompt->wake[0]);
		close(prompt->wake[1]);
	}
	free(prompt->text);
	free(prompt);
}

static void prompt_join(struct prompt *prompt)
{
	if (prompt->joined)
		return;
	pthread_join(prompt->thread, NULL);
	prompt->joined = true;
	__atomic_store_n(&signalled, -1, __ATOMIC_RELEASE);
}

/* process.exit() while somebody is asked: the terminal gets its echo back. */
static void prompt_give_up(void *data)
{
	struct prompt *prompt = data;
	const uint8_t none = 0;

	if (write(prompt->wake[1], &none, 1) == 1)
		prompt_join(prompt);
}

static void secret_finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	free_memory(data, (size_t)(uintptr_t)hint);
}

/* The bytes stay where they were read. The prompt no longer owns them when this succeeds. */
static napi_value secret_array(napi_env env, struct prompt *prompt)
{
	napi_value buffer, array;

	if (napi_create_external_arraybuffer(env, prompt->memory, prompt->memory_size, secret_finalize,
					     (void *)(uintptr_t)prompt->memory_size, &buffer) != napi_ok)
		return NULL;
	prompt->memory = NULL;
	if (napi_create_typedarray(env, napi_uint8_array, prompt->length, buffer, 0, &array) != napi_ok)
		return NULL;
	return array;
}

static void deliver(napi_env env, napi_value callback, void *context, void *data)
{
	struct prompt *prompt = data;
	napi_value array = NULL, code, message, error;
	napi_threadsafe_function done = prompt->done;

	(void)callback;
	(void)context;
	prompt_join(prompt);
	if (env != NULL) {
		napi_remove_env_cleanup_hook(env, prompt_give_up, prompt);
		if (prompt->error == 0)
			array = secret_array(env, prompt);
		if (array != NULL) {
			napi_resolve_deferred(env, prompt->deferred, array);
		} else {
			const char *name = strerrorname_np(prompt->error);

			napi_create_string_utf8(env, name != NULL && prompt->error != 0 ? name : "EIO", NAPI_AUTO_LENGTH,
						&code);
			napi_create_string_utf8(env, "cannot read a line from the terminal", NAPI_AUTO_LENGTH,
						&message);
			napi_create_error(env, code, message, &error);
			napi_reject_deferred(env, prompt->deferred, error);
		}
		napi_release_threadsafe_function(done, napi_tsfn_release);
	}
	prompt_free(prompt);
}

/* readPassphrase(prompt, limit, timeoutSeconds, echo): Promise<Uint8Array> */
static napi_value read_passphrase(napi_env env, napi_callback_info info)
{
	napi_value argv[4], name, promise;
	uint32_t limit, timeout;
	struct prompt *prompt;
	int free_slot = -1;
	size_t argc = 4;
	bool echo;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	if (argc < 4 || napi_get_value_uint32(env, argv[1], &limit) != napi_ok || limit == 0 || limit > 65536 ||
	    napi_get_value_uint32(env, argv[2], &timeout) != napi_ok ||
	    napi_get_value_bool(env, argv[3], &echo) != napi_ok)
		return throw_arguments(env);
	prompt = calloc(1, sizeof(*prompt));
	if (prompt == NULL)
		return throw_errno(env, "no memory to ask for a passphrase");
	prompt->wake[0] = -1;
	prompt->limit = limit;
	prompt->timeout = timeout;
	prompt->echo = echo;
	prompt->text = get_text(env, argv[0], &prompt->text_size);
	if (prompt->text == NULL) {
		prompt_free(prompt);
		return throw_arguments(env);
	}
	prompt->memory_size = ((size_t)limit + 1 + 4095) & ~(size_t)4095;
	prompt->memory = tresor_secret_map(NULL, prompt->memory_size, TRESOR_MEMORY_PLAIN, &prompt->kind);
	if (prompt->memory == NULL || pipe2(prompt->wake, O_CLOEXEC | O_NONBLOCK) != 0) {
		throw_errno(env, "no memory to ask for a passphrase");
		prompt_free(prompt);
		return NULL;
	}
	if (!__atomic_compare_exchange_n(&signalled, &free_slot, prompt->wake[1], false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED)) {
		prompt_free(prompt);
		napi_throw_error(env, "EBUSY", "a passphrase is being asked for");
		return NULL;
	}
	napi_create_string_utf8(env, "tresor passphrase", NAPI_AUTO_LENGTH, &name);
	napi_create_promise(env, &prompt->deferred, &promise);
	if (napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, NULL, deliver, &prompt->done) !=
	    napi_ok) {
		errno = ENOMEM;
		goto failed;
	}
	errno = pthread_create(&prompt->thread, NULL, prompt_thread, prompt);
	if (errno != 0) {
		napi_release_threadsafe_function(prompt->done, napi_tsfn_abort);
		goto failed;
	}
	napi_add_env_cleanup_hook(env, prompt_give_up, prompt);
	return promise;
failed:
	throw_errno(env, "no thread to ask for a passphrase");
	__atomic_store_n(&signalled, -1, __ATOMIC_RELEASE);
	prompt_free(prompt);
	return NULL;
}

/* exitNow(code): Node's own exit waits for a thread that runs a KDF, for minutes if need be. */
static napi_value exit_now(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	size_t argc = 1;
	int32_t code;

	if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != 1 ||
	    napi_get_value_int32(env, argv[0], &code) != napi_ok)
		return throw_arguments(env);
	_exit(code);
}

void tresor_system_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "exitNow", .method = exit_now },
		{ .utf8name = "flock", .method = lock_file },
		{ .utf8name = "hardenProcess", .method = harden_process },
		{ .utf8name = "notifySystemd", .method = notify_systemd },
		{ .utf8name = "peerCredentials", .method = peer_credentials },
		{ .utf8name = "readPassphrase", .method = read_passphrase },
		{ .utf8name = "restoreTerminal", .method = restore_terminal },
		{ .utf8name = "secretMemoryFault", .method = secret_memory_fault },
		{ .utf8name = "unblockSigusr1", .method = unblock_sigusr1 },
	};

	napi_add_env_cleanup_hook(env, let_terminal_go_at_exit, NULL);

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
