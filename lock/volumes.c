/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each tresord listens at RUNTIME/NAME/control.sock for varlink: JSON, ended by
 * a NUL byte (src/control/varlink.ts, src/control/volume.ts). One fixed call is
 * sent here, and of the answer it matters which of three it is.
 *
 * In C, since the machine that is about to sleep waits 5 seconds, and Node may
 * have to be read from a slow disk first.
 */
#include "volumes.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SYSTEM_VOLUMES RUN "/tresor"
#define USERS	       RUN "/user"

/* An error of tresord's is a sentence with a path in it. */
#define ANSWER_SIZE 8192

#define MOST_NAME 127

/* Of one user: whoever has more loses keys no sooner, and keeps nobody else's from being wiped. */
#define MOST_OF_USER 256

#define CALL	     "{\"method\":\"io.tresor.Volume.Lock\"}"
#define CALL_REMOVED "{\"method\":\"io.tresor.Volume.Lock\",\"parameters\":{\"ifRemoved\":true}}"

struct volume {
	char name[MOST_NAME + 1];
	uid_t owner;
	int fd;
	bool ended;
	size_t length;
	char answer[ANSWER_SIZE];
};

struct volumes {
	struct volume **all;
	size_t count;
};

/* checkName() of src/control/runtime.ts; tresord serves no other. */
static bool is_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:+@-";

	return strlen(name) <= MOST_NAME && (isalnum((unsigned char)*name) || *name == '_') &&
	       strspn(name, letters) == strlen(name);
}

static bool wanted(const char *name, char *const *only)
{
	if (only == NULL || *only == NULL)
		return true;
	for (; *only != NULL; only++)
		if (strcmp(name, *only) == 0)
			return true;
	return false;
}

/*
 * Whoever may make files in a user's directory is that user; it is nobody else's socket that is asked, not even root's: a
 * link may lead to it.
 */
static bool is_of(int fd, uid_t owner)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == owner;
}

/*
 * Connected, or -1: no tresord is there, and no keys are. That it could not be found out is an error of its own: its queue
 * of connections is full, or there is no descriptor left.
 */
static int reach(const char *path, uid_t owner, bool *unknown)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return -1;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		*unknown = true;
		return -1;
	}
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		*unknown = errno == EAGAIN;
	else if (is_of(fd, owner))
		return fd;
	close(fd);
	return -1;
}

/* `fd` becomes the volume's; -1: it is not asked. */
static int append(struct volumes *volumes, const char *name, uid_t owner, int fd)
{
	struct volume **all = reallocarray(volumes->all, volumes->count + 1, sizeof(struct volume *)), *volume;

	if (all != NULL)
		volumes->all = all;
	volume = all == NULL ? NULL : calloc(1, sizeof(*volume));
	if (volume == NULL) {
		if (fd >= 0)
			close(fd);
		return -ENOMEM;
	}
	memcpy(volume->name, name, strlen(name));
	volume->owner = owner;
	volume->fd = fd;
	volume->ended = fd < 0;
	volumes->all[volumes->count++] = volume;
	return 0;
}

static int add(struct volumes *volumes, const char *folder, const char *name, uid_t owner)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	bool unknown = false;
	int fd;

	/* Longer paths have no socket: tresord does not start there. */
	if ((size_t)snprintf(path, sizeof(path), "%s/%s/control.sock", folder, name) >= sizeof(path))
		return 0;
	fd = reach(path, owner, &unknown);
	return fd < 0 && !unknown ? 0 : append(volumes, name, owner, fd);
}

/* Those of one runtime directory; it need not be there. Of a user's, what is beyond the most is told as one that was not asked. */
static int add_all(struct volumes *volumes, const char *folder, uid_t owner, char *const *only)
{
	const size_t most = owner == 0 ? SIZE_MAX : volumes->count + MOST_OF_USER;
	struct dirent *entry;
	int error = 0;
	DIR *list = opendir(folder);

	if (list == NULL)
		return errno == ENOENT || errno == ENOTDIR || owner != 0 ? 0 : -errno;
	while (error == 0 && (entry = readdir(list)) != NULL) {
		if (!is_name(entry->d_name) || !wanted(entry->d_name, only))
			continue;
		if (volumes->count == most) {
			error = append(volumes, entry->d_name, owner, -1);
			break;
		}
		error = add(volumes, folder, entry->d_name, owner);
	}
	closedir(list);
	return error;
}

static int find(struct volumes *volumes, const struct lock_request *request)
{
	char *const *only = request->only;
	int error = request->whose == LOCK_USERS ? 0 : add_all(volumes, SYSTEM_VOLUMES, 0, only);
	struct dirent *entry;
	DIR *list = error == 0 && request->whose != LOCK_ROOTS ? opendir(USERS) : NULL;

	if (list == NULL)
		return error;
	while (error == 0 && (entry = readdir(list)) != NULL) {
		char folder[sizeof(USERS) + sizeof(entry->d_name) + sizeof("/tresor")], *end;
		unsigned long user = strtoul(entry->d_name, &end, 10);

		if (!isdigit((unsigned char)*entry->d_name) || *end != 0 || user == 0)
			continue;
		snprintf(folder, sizeof(folder), USERS "/%s/tresor", entry->d_name);
		error = add_all(volumes, folder, (uid_t)user, only);
	}
	closedir(list);
	return error;
}

static long long now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_BOOTTIME, &time);
	return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

/* Until the NUL byte, the peer's end, or more than an answer has. */
static void receive(struct volume *volume)
{
	ssize_t got = read(volume->fd, volume->answer + volume->length, ANSWER_SIZE - 1 - volume->length);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0)
		volume->length += (size_t)got;
	volume->ended =
		got <= 0 || memchr(volume->answer, 0, volume->length) != NULL || volume->length == ANSWER_SIZE - 1;
}

static bool await(struct volumes *volumes, unsigned seconds)
{
	struct pollfd *waits = calloc(volumes->count, sizeof(*waits));
	const long long deadline = now_ms() + seconds * 1000LL;

	if (waits == NULL)
		return false;
	for (;;) {
		long long left = deadline - now_ms();
		bool all = true;

		for (size_t i = 0; i < volumes->count; i++) {
			waits[i].fd = volumes->all[i]->ended ? -1 : volumes->all[i]->fd;
			waits[i].events = POLLIN;
			all &= volumes->all[i]->ended;
		}
		if (all || left <= 0)
			break;
		if (poll(waits, volumes->count, (int)left) < 0 && errno != EINTR)
			break;
		for (size_t i = 0; i < volumes->count; i++)
			if (waits[i].fd >= 0 && waits[i].revents != 0)
				receive(volumes->all[i]);
	}
	free(waits);
	return true;
}

/* As tresord writes it: JSON without blanks. */
static enum lock_result result_of(struct volume *volume)
{
	if (memchr(volume->answer, 0, volume->length) == NULL)
		return LOCK_SILENT;
	if (strstr(volume->answer, "\"error\":") != NULL)
		return LOCK_REFUSED;
	return strstr(volume->answer, "\"wiped\":true") != NULL ? LOCK_WIPED : LOCK_NOTHING;
}

/* The sentence of an error, cut out of the answer. */
static const char *reason_of(struct volume *volume)
{
	static const char key[] = "\"message\":\"";
	char *begin = strstr(volume->answer, key);

	if (begin == NULL)
		return volume->answer;
	begin += sizeof(key) - 1;
	begin[strcspn(begin, "\"")] = 0;
	return begin;
}

int lock_volumes(const struct lock_request *request, void (*tell)(const struct lock_answer *, void *), void *context)
{
	const char *call = request->if_removed ? CALL_REMOVED : CALL;
	struct volumes volumes = { 0 };
	int error = find(&volumes, request);

	/* Each has the whole call or none: it is shorter than any socket's memory. */
	for (size_t i = 0; i < volumes.count; i++)
		if (volumes.all[i]->fd >= 0 && send(volumes.all[i]->fd, call, strlen(call) + 1, MSG_NOSIGNAL) < 0)
			volumes.all[i]->ended = true;
	if (volumes.count > 0 && !await(&volumes, request->seconds))
		error = -ENOMEM;
	for (size_t i = 0; i < volumes.count; i++) {
		struct volume *volume = volumes.all[i];
		const enum lock_result result = result_of(volume);
		const struct lock_answer answer = {
			.name = volume->name, .owner = volume->owner, .result = result, .reason = reason_of(volume)
		};

		tell(&answer, context);
		if (volume->fd >= 0)
			close(volume->fd);
		free(volume);
	}
	free(volumes.all);
	return error;
}
