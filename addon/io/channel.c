/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connected stream socket and one slab of memory that it reads into and
 * writes from: no copies through JavaScript, no allocation per request. What
 * lies where in the slab, and the protocol, are TypeScript's.
 *
 *   createChannel(fd, size, onEvent) -> Channel	fd is duplicated
 *   channel.buffer			ArrayBuffer over the slab
 *   channel.receive(at, length, us)	bytes; 0: end; -errno (EAGAIN: nothing came in so many microseconds)
 *   channel.send(table, rows)		bytes accepted; -errno. A row is (at, length), of at most channelRows;
 *					from LENT on `at` is in the lent memory
 *   channel.receiveWith(at, length, fds)	the same without waiting, and descriptors that came along: a row each of the
 *					Int32Array, which has room for all that fit a message; -1: none. They are the
 *					caller's. EMSGSIZE: there were more, and are closed
 *   channel.sendWith(at, length, fd)	bytes accepted, with a descriptor; -errno
 *   channel.lend(buffer)			memory of another's to send from, until the close
 *   channel.poll(events)		1 readable, 2 writable: onEvent(events) once each time it is so
 *   channel.descriptor()		its fd, which stays the channel's; -1: closed
 *   channel.hungUp()			the peer has closed both directions
 *   channel.forget(at, length)		gives whole pages inside the range back to the system
 *   channel.close()
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include "addon/addon.h"
#include "addon/io/slab.h"
#include "addon/monotonic.h"
#include "addon/napi/values.h"

#define IOV_ROWS	512u
#define PAGE		4096u
/* Where lent memory begins. */
#define LENT		0x10000000000
/* That a message brings along, at most: SCM_MAX_FD of the kernel. */
#define DESCRIPTORS	253u
#define SEND_BUFFER	(1 << 20)
/* Between two looks for input: about 0.3 us. */
#define PAUSES		16

struct channel {
	struct slab slab;
	struct slab lent;	/* memory NULL: none */
	napi_ref lender;
	int fd;			/* -1: closed */
	napi_env env;
	napi_ref on_event;
	napi_async_context context;
	uv_poll_t *poll;	/* freed by its own close callback */
};

static void poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void channel_close(struct channel *channel)
{
	if (channel->fd < 0)
		return;
	channel->poll->data = NULL;
	uv_close((uv_handle_t *)channel->poll, poll_closed);
	close(channel->fd);
	channel->fd = -1;
	napi_delete_reference(channel->env, channel->on_event);
	if (channel->lender)
		napi_delete_reference(channel->env, channel->lender);
	channel->lender = NULL;
	channel->lent = (struct slab){ 0 };
	napi_async_destroy(channel->env, channel->context);
}

static void channel_finalize(napi_env env, void *data, void *hint)
{
	struct channel *channel = data;

	(void)env;
	(void)hint;
	channel_close(channel);
	slab_unref(channel->slab.memory);
	free(channel);
}

static void channel_event(uv_poll_t *poll, int status, int events)
{
	struct channel *channel = poll->data;
	napi_value callback, receiver, argument;
	napi_handle_scope scope;

	if (!channel)
		return;
	/* An error of the socket is told by the next receive or send. */
	if (status < 0)
		events = UV_READABLE | UV_WRITABLE;
	napi_open_handle_scope(channel->env, &scope);
	napi_get_reference_value(channel->env, channel->on_event, &callback);
	napi_create_int32(channel->env, (events & UV_READABLE ? 1 : 0) | (events & UV_WRITABLE ? 2 : 0), &argument);
	napi_get_global(channel->env, &receiver);
	napi_make_callback(channel->env, channel->context, receiver, callback, 1, &argument, NULL);
	napi_close_handle_scope(channel->env, scope);
}

static struct channel *channel_of(napi_env env, napi_callback_info info, size_t wanted, napi_value *arguments)
{
	struct channel *channel = NULL;
	size_t count = wanted;
	napi_value self;

	napi_get_cb_info(env, info, &count, arguments, &self, NULL);
	if (count < wanted || napi_unwrap(env, self, (void **)&channel) != napi_ok) {
		napi_throw_type_error(env, NULL, "not a channel, or too few arguments");
		return NULL;
	}
	return channel;
}

static napi_value number(napi_env env, double value)
{
	napi_value result;

	napi_create_double(env, value, &result);
	return result;
}

static napi_value channel_receive(napi_env env, napi_callback_info info)
{
	napi_value arguments[3];
	struct channel *channel = channel_of(env, info, 3, arguments);
	uint32_t at, length, us;
	int64_t until;
	ssize_t got;

	if (!channel)
		return NULL;
	napi_get_value_uint32(env, arguments[0], &at);
	napi_get_value_uint32(env, arguments[1], &length);
	napi_get_value_uint32(env, arguments[2], &us);
	if (channel->fd < 0)
		return number(env, -EBADF);
	if (!slab_holds(&channel->slab, at, length))
		return number(env, -EFAULT);
	until = us == 0 ? 0 : monotonic_us() + us;
	for (;;) {
		got = recv(channel->fd, channel->slab.memory + at, length, MSG_DONTWAIT);
		if (got >= 0 || (errno != EINTR && (errno != EAGAIN || until == 0 || monotonic_us() >= until)))
			break;
		/* The sender wants the same lock. */
		for (int i = 0; i < PAUSES; i++)
			__builtin_ia32_pause();
	}
	return number(env, got < 0 ? -errno : (double)got);
}

static napi_value channel_send(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	struct channel *channel = channel_of(env, info, 2, arguments);
	struct iovec iov[IOV_ROWS];
	struct msghdr message = { .msg_iov = iov };
	uint32_t rows;
	double *table;
	ssize_t sent;

	if (!channel)
		return NULL;
	napi_get_value_uint32(env, arguments[1], &rows);
	table = slab_table(env, arguments[0], rows, 2);
	if (channel->fd < 0)
		return number(env, -EBADF);
	if (!table || rows > IOV_ROWS)
		return number(env, -EFAULT);
	for (uint32_t row = 0; row < rows; row++) {
		const bool lent = table[2 * row] >= (double)LENT;
		const struct slab *slab = lent ? &channel->lent : &channel->slab;
		double at = table[2 * row] - (lent ? (double)LENT : 0), length = table[2 * row + 1];

		if (!slab_holds(slab, at, length))
			return number(env, -EFAULT);
		iov[row].iov_base = slab->memory + (size_t)at;
		iov[row].iov_len = (size_t)length;
	}
	message.msg_iovlen = rows;
	do {
		sent = sendmsg(channel->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return number(env, sent < 0 ? -errno : (double)sent);
}

/* The descriptors of a message go to `fds`, -1 in the rest. False: there was no room for some, and all are closed. */
static bool take_descriptors(struct msghdr *message, int32_t *fds, size_t room)
{
	const struct cmsghdr *each;
	size_t count = 0;
	bool fit = (message->msg_flags & MSG_CTRUNC) == 0;

	for (each = CMSG_FIRSTHDR(message); each != NULL; each = CMSG_NXTHDR(message, (struct cmsghdr *)each)) {
		const size_t size = each->cmsg_len - CMSG_LEN(0);

		if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= size; at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(each) + at, sizeof(fd));
			if (count < room)
				fds[count++] = fd;
			else
				close(fd), fit = false;
		}
	}
	for (size_t i = 0; i < count && !fit; i++)
		close(fds[i]);
	for (size_t i = fit ? count : 0; i < room; i++)
		fds[i] = -1;
	return fit;
}

static napi_value channel_receive_with(napi_env env, napi_callback_info info)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
	} control;
	napi_value arguments[3];
	struct channel *channel = channel_of(env, info, 3, arguments);
	struct iovec into;
	struct msghdr message = {
		.msg_iov = &into, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	napi_typedarray_type type;
	uint32_t at, length;
	size_t room;
	ssize_t got;
	void *fds;

	if (!channel)
		return NULL;
	if (napi_get_typedarray_info(env, arguments[2], &type, &room, &fds, NULL, NULL) != napi_ok ||
	    type != napi_int32_array) {
		napi_throw_type_error(env, NULL, "receiveWith(at, length, fds)");
		return NULL;
	}
	napi_get_value_uint32(env, arguments[0], &at);
	napi_get_value_uint32(env, arguments[1], &length);
	if (channel->fd < 0)
		return number(env, -EBADF);
	if (!slab_holds(&channel->slab, at, length))
		return number(env, -EFAULT);
	into = (struct iovec){ channel->slab.memory + at, length };
	do {
		got = recvmsg(channel->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return number(env, -errno);
	return number(env, take_descriptors(&message, fds, room) ? (double)got : -EMSGSIZE);
}

static napi_value channel_send_with(napi_env env, napi_callback_info info)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	napi_value arguments[3];
	struct channel *channel = channel_of(env, info, 3, arguments);
	struct iovec from;
	struct msghdr message = {
		.msg_iov = &from, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	uint32_t at, length;
	ssize_t sent;
	int32_t fd;

	if (!channel)
		return NULL;
	napi_get_value_uint32(env, arguments[0], &at);
	napi_get_value_uint32(env, arguments[1], &length);
	napi_get_value_int32(env, arguments[2], &fd);
	if (channel->fd < 0)
		return number(env, -EBADF);
	if (!slab_holds(&channel->slab, at, length))
		return number(env, -EFAULT);
	from = (struct iovec){ channel->slab.memory + at, length };
	control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
					   .cmsg_level = SOL_SOCKET,
					   .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	do {
		sent = sendmsg(channel->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return number(env, sent < 0 ? -errno : (double)sent);
}

static napi_value channel_lend(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct channel *channel = channel_of(env, info, 1, arguments);
	void *memory;

	if (!channel)
		return NULL;
	if (channel->fd < 0 || channel->lender ||
	    napi_get_arraybuffer_info(env, arguments[0], &memory, &channel->lent.size) != napi_ok) {
		napi_throw_type_error(env, NULL, "lend(buffer), once, of an open channel");
		return NULL;
	}
	channel->lent.memory = memory;
	napi_create_reference(env, arguments[0], 1, &channel->lender);
	return NULL;
}

static napi_value channel_poll(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct channel *channel = channel_of(env, info, 1, arguments);
	uint32_t events;

	if (!channel)
		return NULL;
	napi_get_value_uint32(env, arguments[0], &events);
	if (channel->fd < 0)
		return NULL;
	if (events == 0)
		uv_poll_stop(channel->poll);
	else
		uv_poll_start(channel->poll, (events & 1 ? UV_READABLE : 0) | (events & 2 ? UV_WRITABLE : 0),
			      channel_event);
	return NULL;
}

static napi_value channel_forget(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	struct channel *channel = channel_of(env, info, 2, arguments);
	uint32_t at, length, first, end;

	if (!channel)
		return NULL;
	napi_get_value_uint32(env, arguments[0], &at);
	napi_get_value_uint32(env, arguments[1], &length);
	if (!slab_holds(&channel->slab, at, length))
		return NULL;
	first = (at + PAGE - 1) & ~(PAGE - 1);
	end = (at + length) & ~(PAGE - 1);
	if (end > first)
		madvise(channel->slab.memory + first, end - first, MADV_DONTNEED);
	return NULL;
}

static napi_value channel_descriptor(napi_env env, napi_callback_info info)
{
	struct channel *channel = channel_of(env, info, 0, NULL);

	return channel ? number(env, channel->fd) : NULL;
}

static napi_value channel_hung_up(napi_env env, napi_callback_info info)
{
	struct channel *channel = channel_of(env, info, 0, NULL);
	struct pollfd wait = { .fd = channel ? channel->fd : -1 };
	napi_value result;

	if (!channel)
		return NULL;
	napi_get_boolean(env, wait.fd < 0 || (poll(&wait, 1, 0) > 0 && (wait.revents & (POLLHUP | POLLERR))), &result);
	return result;
}

static napi_value channel_close_method(napi_env env, napi_callback_info info)
{
	struct channel *channel = channel_of(env, info, 0, NULL);

	if (channel)
		channel_close(channel);
	return NULL;
}

static napi_value fail(napi_env env, const char *what)
{
	napi_throw_error(env, "ENOMEM", what);
	return NULL;
}

/* More than usual: a reader that is woken once for much costs less than one that is woken for each bit. */
static void widen(int fd)
{
	const int size = SEND_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static napi_value create_channel(napi_env env, napi_callback_info info)
{
	napi_value arguments[3], object, buffer, name;
	struct channel *channel;
	size_t count = 3;
	uv_loop_t *loop;
	uint32_t size;
	int32_t fd;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (count < 3 || napi_get_value_int32(env, arguments[0], &fd) != napi_ok ||
	    napi_get_value_uint32(env, arguments[1], &size) != napi_ok ||
	    napi_get_uv_event_loop(env, &loop) != napi_ok) {
		napi_throw_type_error(env, NULL, "createChannel(fd, size, onEvent)");
		return NULL;
	}
	channel = calloc(1, sizeof(*channel));
	if (!channel)
		return fail(env, "Cannot serve a connection: out of memory");
	channel->env = env;
	channel->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	channel->poll = malloc(sizeof(*channel->poll));
	channel->slab.size = size;
	channel->slab.memory = slab_new(size);
	if (channel->fd < 0 || !channel->poll || !channel->slab.memory ||
	    uv_poll_init(loop, channel->poll, channel->fd) != 0) {
		if (channel->fd >= 0)
			close(channel->fd);
		if (channel->slab.memory)
			slab_unref(channel->slab.memory);
		free(channel->poll);
		free(channel);
		return fail(env, "Cannot serve a connection: out of memory or descriptors");
	}
	widen(channel->fd);
	channel->poll->data = channel;
	napi_create_string_utf8(env, "tresor channel", NAPI_AUTO_LENGTH, &name);
	napi_async_init(env, NULL, name, &channel->context);
	napi_create_reference(env, arguments[2], 1, &channel->on_event);

	const napi_property_descriptor methods[] = {
		{ "receive", NULL, channel_receive, NULL, NULL, NULL, napi_default, NULL },
		{ "send", NULL, channel_send, NULL, NULL, NULL, napi_default, NULL },
		{ "receiveWith", NULL, channel_receive_with, NULL, NULL, NULL, napi_default, NULL },
		{ "sendWith", NULL, channel_send_with, NULL, NULL, NULL, napi_default, NULL },
		{ "lend", NULL, channel_lend, NULL, NULL, NULL, napi_default, NULL },
		{ "poll", NULL, channel_poll, NULL, NULL, NULL, napi_default, NULL },
		{ "descriptor", NULL, channel_descriptor, NULL, NULL, NULL, napi_default, NULL },
		{ "hungUp", NULL, channel_hung_up, NULL, NULL, NULL, napi_default, NULL },
		{ "forget", NULL, channel_forget, NULL, NULL, NULL, napi_default, NULL },
		{ "close", NULL, channel_close_method, NULL, NULL, NULL, napi_default, NULL },
	};
	napi_create_object(env, &object);
	napi_define_properties(env, object, sizeof(methods) / sizeof(methods[0]), methods);
	napi_wrap(env, object, channel, channel_finalize, NULL, NULL);
	slab_ref(channel->slab.memory);
	napi_create_external_arraybuffer(env, channel->slab.memory, size, slab_finalize, NULL, &buffer);
	napi_set_named_property(env, object, "buffer", buffer);
	return object;
}

void tresor_channel_register(napi_env env, napi_value exports)
{
	napi_value function;

	napi_create_function(env, "createChannel", NAPI_AUTO_LENGTH, create_channel, NULL, &function);
	napi_set_named_property(env, exports, "createChannel", function);
	js_set_uint32(env, exports, "channelRows", IOV_ROWS);
	js_set_double(env, exports, "channelLent", (double)LENT);
}
