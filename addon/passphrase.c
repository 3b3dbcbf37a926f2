/* SPDX-License-Identifier: Apache-2.0 */
/* A passphrase from the terminal: it is in locked memory from the first byte on, and the terminal is restored. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#include "addon/addon.h"
#include "addon/monotonic.h"
#include "addon/napi/values.h"
#include "addon/sgx/secret_memory.h"

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
		int64_t left = deadline - monotonic_ms();
		int ready = poll(polled, 2,
				 prompt->timeout == 0 ? -1 :
				 left < 0	      ? 0 :
				 left > 3600000	      ? 3600000 :
							(int)left);
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
	const int64_t deadline = monotonic_ms() + (int64_t)prompt->timeout * 1000;
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
	napi_value array = NULL;
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
			napi_reject_deferred(
				env, prompt->deferred,
				js_error(env, js_errno_name(prompt->error), "cannot read a line from the terminal"));
		}
		napi_release_threadsafe_function(done, napi_tsfn_release);
	}
	prompt_free(prompt);
}

/* readPassphrase(prompt, limit, timeoutSeconds, echo): Promise<Uint8Array> */
static napi_value read_passphrase(napi_env env, napi_callback_info info)
{
	napi_value argv[4], promise;
	uint32_t limit, timeout;
	struct prompt *prompt;
	int free_slot = -1;
	bool echo;

	if (!js_arguments(env, info, 4, argv, NULL) || !js_get_uint32(env, argv[1], &limit) || limit == 0 ||
	    limit > 65536 || !js_get_uint32(env, argv[2], &timeout) || !js_get_bool(env, argv[3], &echo))
		return js_throw_arguments(env, "passphrase");
	prompt = calloc(1, sizeof(*prompt));
	if (prompt == NULL)
		return js_throw_errno(env, errno, "no memory to ask for a passphrase");
	prompt->wake[0] = -1;
	prompt->limit = limit;
	prompt->timeout = timeout;
	prompt->echo = echo;
	prompt->text = js_get_text(env, argv[0], &prompt->text_size);
	if (prompt->text == NULL) {
		prompt_free(prompt);
		return js_throw_arguments(env, "passphrase");
	}
	prompt->memory_size = ((size_t)limit + 1 + 4095) & ~(size_t)4095;
	prompt->memory = tresor_secret_map(NULL, prompt->memory_size, TRESOR_MEMORY_PLAIN, &prompt->kind);
	if (prompt->memory == NULL || pipe2(prompt->wake, O_CLOEXEC | O_NONBLOCK) != 0) {
		js_throw_errno(env, errno, "no memory to ask for a passphrase");
		prompt_free(prompt);
		return NULL;
	}
	if (!__atomic_compare_exchange_n(&signalled, &free_slot, prompt->wake[1], false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED)) {
		prompt_free(prompt);
		napi_throw_error(env, "EBUSY", "a passphrase is being asked for");
		return NULL;
	}
	napi_create_promise(env, &prompt->deferred, &promise);
	if (napi_create_threadsafe_function(env, NULL, NULL, js_text(env, "tresor passphrase"), 0, 1, NULL, NULL, NULL,
					    deliver, &prompt->done) != napi_ok) {
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
	js_throw_errno(env, errno, "no thread to ask for a passphrase");
	__atomic_store_n(&signalled, -1, __ATOMIC_RELEASE);
	prompt_free(prompt);
	return NULL;
}

void tresor_passphrase_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "readPassphrase", .method = read_passphrase },
		{ .utf8name = "restoreTerminal", .method = restore_terminal },
	};

	napi_add_env_cleanup_hook(env, let_terminal_go_at_exit, NULL);
	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
