/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A back-end that does not answer is broken: a test must end. */
#define PATIENCE_S	20

int session_open(struct session *session, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = PATIENCE_S };

	memset(session, 0, sizeof(*session));
	session->channel = -1;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	session->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (session->socket < 0)
		return -errno;
	setsockopt(session->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(session->socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(session->socket, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		const int error = errno;

		session_close(session);
		return -error;
	}
	return 0;
}

void session_close(struct session *session)
{
	if (session->socket >= 0)
		close(session->socket);
	if (session->channel >= 0)
		close(session->channel);
	session->socket = session->channel = -1;
}

static int failure(int error)
{
	switch (error) {
	case EAGAIN:
		return -ETIMEDOUT;
	case ECONNRESET:
		return -EPIPE;
	default:
		return -error;
	}
}

int session_send(struct session *session, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		 const int *descriptors, unsigned count)
{
	const struct head head = { request, flags, size };
	struct iovec parts[2] = { { (void *)&head, sizeof(head) }, { (void *)payload, payload == NULL ? 0 : size } };
	union {
		char bytes[CMSG_SPACE(64 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	const size_t whole = parts[0].iov_len + parts[1].iov_len;
	size_t sent = 0;

	memset(&control, 0, sizeof(control));
	if (count > 64)
		return -EINVAL;
	if (count > 0) {
		struct cmsghdr *rights = &control.align;

		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(rights), descriptors, count * sizeof(int));
	}
	while (sent < whole) {
		const ssize_t some = sendmsg(session->socket, &message, MSG_NOSIGNAL);

		if (some < 0) {
			if (errno == EINTR)
				continue;
			return failure(errno);
		}
		sent += (size_t)some;
		/* The descriptors went with the first byte. */
		message.msg_control = NULL;
		message.msg_controllen = 0;
		for (size_t left = (size_t)some; left > 0;) {
			const size_t part = left < message.msg_iov->iov_len ? left : message.msg_iov->iov_len;

			message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + part;
			message.msg_iov->iov_len -= part;
			left -= part;
			if (message.msg_iov->iov_len == 0 && message.msg_iovlen > 1) {
				message.msg_iov++;
				message.msg_iovlen--;
			}
		}
	}
	return 0;
}

/* Whole, with the descriptor that comes along with its first byte. */
static int receive_bytes(int socket, void *bytes, size_t size, int *descriptor)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	size_t got = 0;

	while (got < size) {
		struct iovec part = { (char *)bytes + got, size - got };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
		struct cmsghdr *rights;
		ssize_t some;

		if (descriptor != NULL && got == 0) {
			message.msg_control = control.bytes;
			message.msg_controllen = sizeof(control.bytes);
		}
		some = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
		if (some < 0) {
			if (errno == EINTR)
				continue;
			return failure(errno);
		}
		if (some == 0)
			return -EPIPE;
		rights = message.msg_control == NULL ? NULL : CMSG_FIRSTHDR(&message);
		if (rights != NULL && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS)
			memcpy(descriptor, CMSG_DATA(rights), sizeof(*descriptor));
		got += (size_t)some;
	}
	return 0;
}

int session_receive(struct session *session, uint32_t request, void *payload, uint32_t size, int *descriptor)
{
	struct head head;
	int error;

	if (descriptor != NULL)
		*descriptor = -1;
	error = receive_bytes(session->socket, &head, sizeof(head), descriptor);
	if (error != 0)
		return error;
	if (head.request != request || (head.flags & (VERSION_MASK | IS_REPLY)) != (VERSION | IS_REPLY) ||
	    head.size != size)
		error = -EPROTO;
	else
		error = receive_bytes(session->socket, payload, size, NULL);
	if (error != 0 && descriptor != NULL && *descriptor >= 0) {
		close(*descriptor);
		*descriptor = -1;
	}
	return error;
}

int session_tell(struct session *session, uint32_t request, const void *payload, uint32_t size, const int *descriptors,
		 unsigned count)
{
	const bool acknowledged = has(session->protocol, PROTOCOL_REPLY_ACK);
	uint64_t answer = 0;
	int error = session_send(session, request, VERSION | (acknowledged ? NEED_REPLY : 0), payload, size,
				 descriptors, count);

	if (error != 0 || !acknowledged)
		return error;
	error = session_receive(session, request, &answer, sizeof(answer), NULL);
	return error != 0 ? error : answer != 0 ? -EREMOTEIO : 0;
}

int session_ask(struct session *session, uint32_t request, uint64_t *answer)
{
	const int error = session_send(session, request, VERSION, NULL, 0, NULL, 0);

	return error != 0 ? error : session_receive(session, request, answer, sizeof(*answer), NULL);
}

int session_read_config(struct session *session)
{
	struct config config = { .size = CONFIG_SIZE };
	const uint32_t size = 12 + CONFIG_SIZE;
	int error = session_send(session, GET_CONFIG, VERSION, &config, size, NULL, 0);

	if (error != 0)
		return error;
	error = session_receive(session, GET_CONFIG, &config, size, NULL);
	if (error != 0)
		return error;
	if (config.size != CONFIG_SIZE || config.offset != 0)
		return -EPROTO;
	memcpy(&session->config, config.bytes, CONFIG_SIZE);
	return 0;
}

static int open_channel(struct session *session)
{
	int ends[2], error;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return -errno;
	session->channel = ends[0];
	error = session_tell(session, SET_BACKEND_REQ_FD, NULL, 0, &ends[1], 1);
	close(ends[1]);
	return error;
}

int session_negotiate(struct session *session, uint64_t features, uint64_t protocol)
{
	uint64_t taken;
	int error;

	error = session_ask(session, GET_FEATURES, &session->offered);
	if (error != 0)
		return error;
	if (!has(session->offered, FEATURE_PROTOCOL))
		return -EPROTO;
	error = session_ask(session, GET_PROTOCOL_FEATURES, &session->protocol_offered);
	if (error != 0)
		return error;
	taken = session->protocol_offered & protocol;
	/* Acknowledged from the next message on. */
	error = session_tell(session, SET_PROTOCOL_FEATURES, &taken, sizeof(taken), NULL, 0);
	if (error != 0)
		return error;
	session->protocol = taken;
	session->queues = 1;
	if (has(taken, PROTOCOL_MQ)) {
		error = session_ask(session, GET_QUEUE_NUM, &session->queues);
		if (error != 0)
			return error;
	}
	if (has(taken, PROTOCOL_BACKEND_REQ)) {
		error = open_channel(session);
		if (error != 0)
			return error;
	}
	error = session_tell(session, SET_OWNER, NULL, 0, NULL, 0);
	if (error != 0)
		return error;
	if (has(taken, PROTOCOL_CONFIG)) {
		error = session_read_config(session);
		if (error != 0)
			return error;
	}
	session->features = session->offered & (features | 1ull << FEATURE_PROTOCOL);
	return session_tell(session, SET_FEATURES, &session->features, sizeof(session->features), NULL, 0);
}
