/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the place of logind and systemd on a bus of a test: says what is called,
 * a line each, and does what lines of standard input say:
 *
 *   sleep 1|0     PrepareForSleep
 *   lock, unlock  signals of a session
 *   hint 1|0      its LockedHint
 *   idle 1|0      IdleHint, since now or never
 *   sessions N    NCurrentSessions
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#define MANAGER_PATH "/org/freedesktop/login1"
#define MANAGER	     "org.freedesktop.login1.Manager"
#define SESSION_PATH MANAGER_PATH "/session/_31"
#define SESSION	     "org.freedesktop.login1.Session"

static sd_bus *bus;
static sd_event *loop;
static int idle, locked;
static uint64_t idle_since, sessions = 1;

static void check(int error, const char *what)
{
	if (error >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-error));
	exit(1);
}

static void say(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

static int released(sd_event_source *source, int fd, uint32_t events, void *data)
{
	(void)events, (void)data;
	say("released");
	close(fd);
	sd_event_source_unref(source);
	return 0;
}

static int inhibit(sd_bus_message *call, void *data, sd_bus_error *error)
{
	const char *what, *who, *why, *mode;
	sd_event_source *source;
	char text[128];
	int ends[2];

	(void)data, (void)error;
	check(sd_bus_message_read(call, "ssss", &what, &who, &why, &mode), "Inhibit");
	check(pipe2(ends, O_CLOEXEC | O_NONBLOCK), "pipe");
	check(sd_event_add_io(loop, &source, ends[0], EPOLLHUP, released, NULL), "watch");
	snprintf(text, sizeof(text), "inhibit %s %s %s", what, who, mode);
	say(text);
	check(sd_bus_reply_method_return(call, "h", ends[1]), "reply");
	close(ends[1]);
	return 1;
}

static int start_unit(sd_bus_message *call, void *data, sd_bus_error *error)
{
	const char *unit, *mode;
	char text[256];

	(void)data;
	check(sd_bus_message_read(call, "ss", &unit, &mode), "StartUnit");
	snprintf(text, sizeof(text), "start %s", unit);
	say(text);
	if (strchr(unit, '+') != NULL)
		return sd_bus_error_set(error, "org.freedesktop.systemd1.NoSuchUnit", "Unit name is not valid.");
	return sd_bus_reply_method_return(call, "o", "/org/freedesktop/systemd1/job/1");
}

static int get_idle(sd_bus *b, const char *p, const char *i, const char *n, sd_bus_message *m, void *d, sd_bus_error *e)
{
	(void)b, (void)p, (void)i, (void)d, (void)e;
	if (strcmp(n, "IdleHint") == 0)
		return sd_bus_message_append(m, "b", idle);
	return sd_bus_message_append(m, "t", strcmp(n, "NCurrentSessions") == 0 ? sessions : idle_since);
}

static int get_locked(sd_bus *b, const char *p, const char *i, const char *n, sd_bus_message *m, void *d,
		      sd_bus_error *e)
{
	(void)b, (void)p, (void)i, (void)n, (void)d, (void)e;
	return sd_bus_message_append(m, "b", locked);
}

static const sd_bus_vtable manager[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Inhibit", "ssss", "h", inhibit, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_SIGNAL("PrepareForSleep", "b", 0),
	SD_BUS_PROPERTY("IdleHint", "b", get_idle, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("NCurrentSessions", "t", get_idle, 0, 0),
	SD_BUS_PROPERTY("IdleSinceHintMonotonic", "t", get_idle, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable session[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_SIGNAL("Lock", "", 0),
	SD_BUS_SIGNAL("Unlock", "", 0),
	SD_BUS_PROPERTY("LockedHint", "b", get_locked, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable systemd[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("StartUnit", "ss", "o", start_unit, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static void obey(const char *word, int on)
{
	struct timespec time;

	if (strcmp(word, "sleep") == 0) {
		check(sd_bus_emit_signal(bus, MANAGER_PATH, MANAGER, "PrepareForSleep", "b", on), word);
	} else if (strcmp(word, "lock") == 0) {
		check(sd_bus_emit_signal(bus, SESSION_PATH, SESSION, "Lock", NULL), word);
	} else if (strcmp(word, "unlock") == 0) {
		check(sd_bus_emit_signal(bus, SESSION_PATH, SESSION, "Unlock", NULL), word);
	} else if (strcmp(word, "hint") == 0) {
		locked = on;
		check(sd_bus_emit_properties_changed(bus, SESSION_PATH, SESSION, "LockedHint", NULL), word);
	} else if (strcmp(word, "sessions") == 0) {
		sessions = (uint64_t)on;
	} else if (strcmp(word, "idle") == 0) {
		clock_gettime(CLOCK_MONOTONIC, &time);
		idle = on;
		idle_since = on ? (uint64_t)time.tv_sec * 1000000 : 0;
		check(sd_bus_emit_properties_changed(bus, MANAGER_PATH, MANAGER, "IdleHint", NULL), word);
	}
}

static int input(sd_event_source *source, int fd, uint32_t events, void *data)
{
	char lines[256];
	ssize_t length = read(fd, lines, sizeof(lines) - 1);

	(void)source, (void)events, (void)data;
	if (length <= 0)
		return sd_event_exit(loop, 0);
	lines[length] = 0;
	for (char *at, *line = strtok_r(lines, "\n", &at); line != NULL; line = strtok_r(NULL, "\n", &at)) {
		char word[16] = "";
		int on = 0;

		sscanf(line, "%15s %d", word, &on);
		obey(word, on);
	}
	return 0;
}

int main(void)
{
	check(sd_event_default(&loop), "event loop");
	check(sd_bus_default_system(&bus), "bus");
	check(sd_bus_attach_event(bus, loop, 0), "attach");
	check(sd_bus_add_object_vtable(bus, NULL, MANAGER_PATH, MANAGER, manager, NULL), "manager");
	check(sd_bus_add_object_vtable(bus, NULL, SESSION_PATH, SESSION, session, NULL), "session");
	check(sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
				       systemd, NULL),
	      "systemd");
	check(sd_bus_request_name(bus, "org.freedesktop.login1", 0), "name");
	check(sd_bus_request_name(bus, "org.freedesktop.systemd1", 0), "name");
	check(sd_event_add_io(loop, NULL, STDIN_FILENO, EPOLLIN, input, NULL), "input");
	say("ready");
	return sd_event_loop(loop);
}
