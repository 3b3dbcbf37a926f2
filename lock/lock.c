/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wipes the keys of open volumes when their user is away, and has the
 * passphrases asked for when he is back (tresor-lock.service(8)):
 *
 *   tresor-lock [--on=sleep,session,removal] [--idle=SECONDS] [NAME...]
 *
 * logind says when, on the system bus: PrepareForSleep, which it holds back for
 * our delay lock; Lock and Unlock of a session, and the LockedHint that a screen
 * lock sets; IdleHint. udev says when a block device was removed. What is asked
 * for is asked by tresor-ask@NAME.service, through systemd's password agents.
 */
#include "volumes.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-device.h>
#include <systemd/sd-event.h>
#include <systemd/sd-journal.h>

#define LOGIND	"org.freedesktop.login1"
#define MANAGER LOGIND ".Manager"
#define SESSION LOGIND ".Session"
#define SYSTEMD "org.freedesktop.systemd1"

/* logind goes on after InhibitDelayMaxSec, 5 s unless it is set otherwise. */
#define LOCK_SECONDS 15
/* Of these, for what is in the page cache: it would wait for a key. */
#define SYNC_MS 2000
#define USEC	1000000ULL

/* What a locked volume is told with, docs/operation.md. */
#define ID_LOCKED "632065123676450184d23e2695d4e7ad"
#define ID_KEPT	  "174d4483efe94ee2b08679d91ef77831"

static struct {
	bool sleep, session, removal;
	/* 0: never. */
	uint64_t idle;
	char *const *only;
	sd_event *event;
	sd_bus *bus;
	/* logind waits while it is open. */
	int delay;
	bool idle_now;
	/* Names that are asked for when the user is back. */
	char **waiting;
	size_t waiting_count;
} state = { .sleep = true, .session = true, .removal = true, .delay = -1 };

static int fail(const char *what, int error)
{
	fprintf(stderr, "tresor-lock: error: Cannot %s: %s\n", what, strerror(-error));
	return error;
}

static void remember(const char *name)
{
	char **all;

	for (size_t i = 0; i < state.waiting_count; i++)
		if (strcmp(state.waiting[i], name) == 0)
			return;
	all = reallocarray(state.waiting, state.waiting_count + 1, sizeof(char *));
	if (all == NULL)
		return;
	state.waiting = all;
	all[state.waiting_count] = strdup(name);
	if (all[state.waiting_count] != NULL)
		state.waiting_count++;
}

/* Why volumes are locked. */
struct cause {
	const char *text;
	/* Nobody brings the device back: nothing is asked then. */
	bool removal;
};

static void tell(const struct lock_answer *answer, void *context)
{
	const struct cause *cause = context;

	switch (answer->result) {
	case LOCK_NOTHING:
		return;
	case LOCK_WIPED:
		sd_journal_send("MESSAGE=%s: locked, since %s", answer->name, cause->text, "PRIORITY=%d", LOG_INFO,
				"MESSAGE_ID=" ID_LOCKED, "TRESOR_VOLUME=%s", answer->name, "TRESOR_USER=%u",
				answer->owner, NULL);
		/* A user's own are unlocked by that user. */
		if (answer->owner == 0 && !cause->removal)
			remember(answer->name);
		return;
	default:
		sd_journal_send("MESSAGE=%s: not locked, although %s: %s", answer->name, cause->text,
				answer->result == LOCK_SILENT ? "its tresord does not answer" : answer->reason,
				"PRIORITY=%d", LOG_CRIT, "MESSAGE_ID=" ID_KEPT, "TRESOR_VOLUME=%s", answer->name,
				"TRESOR_USER=%u", answer->owner, NULL);
	}
}

/* sync(2) in a process of its own: a file system that hangs must not keep the keys. */
static void write_back(void)
{
	struct pollfd end;
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return;
	child = fork();
	if (child == 0) {
		if (state.delay >= 0)
			close(state.delay);
		sync();
		_exit(0);
	}
	close(ends[1]);
	end = (struct pollfd){ .fd = ends[0], .events = POLLIN };
	if (child > 0)
		poll(&end, 1, SYNC_MS);
	close(ends[0]);
}

static void lock_those(enum lock_whose whose, struct cause *cause)
{
	const struct lock_request request = {
		.only = state.only, .whose = whose, .if_removed = cause->removal, .seconds = LOCK_SECONDS
	};
	int error = lock_volumes(&request, tell, cause);

	if (error < 0)
		fail("lock all volumes", error);
}

/* Before a sleep, which is held back meanwhile: all answers are waited for. */
static void lock_and_wait(const char *text)
{
	struct cause cause = { text, false };

	write_back();
	lock_those(LOCK_EVERYBODYS, &cause);
}

/*
 * A user whose tresord does not answer must not keep us from the next event, which may be a sleep: users' answers are
 * waited for in a process of its own. Of theirs nothing is remembered.
 */
static void lock(const char *text, bool removal)
{
	struct cause cause = { text, removal };
	pid_t child;

	if (!removal)
		write_back();
	child = fork();
	if (child == 0) {
		if (state.delay >= 0)
			close(state.delay);
		lock_those(LOCK_USERS, &cause);
		_exit(0);
	}
	lock_those(child < 0 ? LOCK_EVERYBODYS : LOCK_ROOTS, &cause);
}

/* Starts what asks. A name with a + has no unit: its volume waits for `tresor setkey`. */
static void ask(void)
{
	for (size_t i = 0; i < state.waiting_count; i++) {
		sd_bus_error error = SD_BUS_ERROR_NULL;
		char unit[160];

		snprintf(unit, sizeof(unit), "tresor-ask@%s.service", state.waiting[i]);
		if (sd_bus_call_method(state.bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager", "StartUnit",
				       &error, NULL, "ss", unit, "replace") < 0)
			sd_journal_send("MESSAGE=%s: waits for `tresor setkey`: %s", state.waiting[i], error.message,
					"PRIORITY=%d", LOG_WARNING, "TRESOR_VOLUME=%s", state.waiting[i], NULL);
		sd_bus_error_free(&error);
		free(state.waiting[i]);
	}
	state.waiting_count = 0;
}

/* logind holds a sleep back until the descriptor is closed. */
static int take_delay(void)
{
	sd_bus_message *reply = NULL;
	int fd, error;

	error = sd_bus_call_method(state.bus, LOGIND, "/org/freedesktop/login1", MANAGER, "Inhibit", NULL, &reply,
				   "ssss", "sleep", "Tresor", "Keys of volumes are wiped", "delay");
	if (error >= 0)
		error = sd_bus_message_read(reply, "h", &fd);
	if (error >= 0) {
		state.delay = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		error = state.delay < 0 ? -errno : 0;
	}
	sd_bus_message_unref(reply);
	return error < 0 ? fail("have logind wait before a sleep", error) : 0;
}

static int prepare_for_sleep(sd_bus_message *message, void *data, sd_bus_error *error)
{
	int begins;

	(void)data, (void)error;
	if (sd_bus_message_read(message, "b", &begins) < 0)
		return 0;
	if (begins) {
		lock_and_wait("the machine goes to sleep");
		if (state.delay >= 0)
			close(state.delay);
		state.delay = -1;
		return 0;
	}
	ask();
	return state.delay < 0 ? take_delay() : 0;
}

static void session_locked(bool locked)
{
	if (locked)
		lock("a session was locked", false);
	else
		ask();
}

static int session_signal(sd_bus_message *message, void *data, sd_bus_error *error)
{
	(void)data, (void)error;
	session_locked(sd_bus_message_is_signal(message, SESSION, "Lock") > 0);
	return 0;
}

/* The screen lock of a desktop may set the hint without a signal. */
static int session_changed(sd_bus_message *message, void *data, sd_bus_error *error)
{
	const char *interface, *name;

	(void)data, (void)error;
	if (sd_bus_message_read(message, "s", &interface) < 0 || strcmp(interface, SESSION) != 0 ||
	    sd_bus_message_enter_container(message, 'a', "{sv}") < 0)
		return 0;
	while (sd_bus_message_enter_container(message, 'e', "sv") > 0) {
		int locked;

		if (sd_bus_message_read(message, "s", &name) < 0)
			return 0;
		if (strcmp(name, "LockedHint") == 0 && sd_bus_message_read(message, "v", "b", &locked) > 0)
			session_locked(locked);
		else if (strcmp(name, "LockedHint") != 0)
			sd_bus_message_skip(message, "v");
		sd_bus_message_exit_container(message);
	}
	return 0;
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * USEC + (uint64_t)time.tv_nsec / 1000;
}

static int manager_property(const char *name, char type, void *value)
{
	return sd_bus_get_property_trivial(state.bus, LOGIND, "/org/freedesktop/login1", MANAGER, name, NULL, type,
					   value);
}

static int look_at_idle(void)
{
	uint64_t since, sessions;
	int idle;

	if (manager_property("IdleHint", 'b', &idle) < 0 ||
	    manager_property("IdleSinceHintMonotonic", 't', &since) < 0 ||
	    manager_property("NCurrentSessions", 't', &sessions) < 0)
		return 0;
	/* Without any session logind is idle since its start; a machine that boots, or a server, is not meant. */
	if (idle && sessions > 0 && !state.idle_now && now() >= since + state.idle) {
		state.idle_now = true;
		lock("all sessions are idle", false);
	} else if (!idle && state.idle_now) {
		state.idle_now = false;
		ask();
	}
	return 0;
}

/* At once when somebody is back; logind tells of terminals only when it is asked. */
static int manager_changed(sd_bus_message *message, void *data, sd_bus_error *error)
{
	(void)message, (void)data, (void)error;
	return look_at_idle();
}

static int idle_timer(sd_event_source *timer, uint64_t at, void *data)
{
	const uint64_t quarter = state.idle / 4;

	(void)at, (void)data;
	look_at_idle();
	sd_event_source_set_time(timer, now() + (quarter < USEC ? USEC : quarter > 60 * USEC ? 60 * USEC : quarter));
	return sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static int device_changed(sd_device_monitor *monitor, sd_device *device, void *data)
{
	sd_device_action_t action;

	(void)monitor, (void)data;
	if (sd_device_get_action(device, &action) >= 0 && action == SD_DEVICE_REMOVE)
		lock("its device was removed", true);
	return 0;
}

static int watch_signal(const char *interface, const char *path, const char *member, sd_bus_message_handler_t handler)
{
	return sd_bus_match_signal(state.bus, NULL, LOGIND, path, interface, member, handler, NULL);
}

static int watch_devices(void)
{
	static sd_device_monitor *monitor;
	int error = sd_device_monitor_new(&monitor);

	if (error >= 0)
		error = sd_device_monitor_filter_add_match_subsystem_devtype(monitor, "block", NULL);
	if (error >= 0)
		error = sd_device_monitor_attach_event(monitor, state.event);
	return error < 0 ? error : sd_device_monitor_start(monitor, device_changed, NULL);
}

static int watch(void)
{
	int error = 0;

	if (state.sleep) {
		error = watch_signal(MANAGER, "/org/freedesktop/login1", "PrepareForSleep", prepare_for_sleep);
		if (error < 0 || (error = take_delay()) < 0)
			return error;
	}
	if (state.session &&
	    ((error = watch_signal(SESSION, NULL, "Lock", session_signal)) < 0 ||
	     (error = watch_signal(SESSION, NULL, "Unlock", session_signal)) < 0 ||
	     (error = watch_signal("org.freedesktop.DBus.Properties", NULL, "PropertiesChanged", session_changed)) < 0))
		return error;
	if (state.idle > 0 &&
	    ((error = watch_signal("org.freedesktop.DBus.Properties", "/org/freedesktop/login1", "PropertiesChanged",
				   manager_changed)) < 0 ||
	     (error = sd_event_add_time(state.event, NULL, CLOCK_MONOTONIC, now(), 0, idle_timer, NULL)) < 0))
		return error;
	return state.removal ? watch_devices() : 0;
}

static bool take_reasons(char *list)
{
	state.sleep = state.session = state.removal = false;
	for (char *at, *word = strtok_r(list, ",", &at); word != NULL; word = strtok_r(NULL, ",", &at)) {
		bool *flag = strcmp(word, "sleep") == 0	  ? &state.sleep :
			     strcmp(word, "session") == 0 ? &state.session :
			     strcmp(word, "removal") == 0 ? &state.removal :
							    NULL;

		if (flag == NULL) {
			fprintf(stderr, "tresor-lock: error: Cannot lock on %s: use sleep, session, removal\n", word);
			return false;
		}
		*flag = true;
	}
	return true;
}

static bool take_options(int argc, char **argv)
{
	static const struct option options[] = { { "on", required_argument, NULL, 'o' },
						 { "idle", required_argument, NULL, 'i' },
						 { 0 } };
	unsigned long seconds;
	char *end;

	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (option) {
		case 'o':
			if (!take_reasons(optarg))
				return false;
			break;
		case 'i':
			seconds = strtoul(optarg, &end, 10);
			if (*optarg == 0 || *end != 0 || seconds == 0 || seconds > 7 * 86400) {
				fprintf(stderr,
					"tresor-lock: error: Cannot use --idle=%s: a number of seconds, at "
					"most a week\n",
					optarg);
				return false;
			}
			state.idle = seconds * USEC;
			break;
		default:
			return false;
		}
	}
	state.only = argv + optind;
	return true;
}

int main(int argc, char **argv)
{
	int error;

	if (!take_options(argc, argv))
		return 1;
	/* Children are not waited for. */
	signal(SIGCHLD, SIG_IGN);
	if ((error = sd_event_default(&state.event)) < 0 || (error = sd_bus_default_system(&state.bus)) < 0 ||
	    (error = sd_bus_attach_event(state.bus, state.event, SD_EVENT_PRIORITY_NORMAL)) < 0 ||
	    (error = sd_bus_set_exit_on_disconnect(state.bus, true)) < 0 || (error = watch()) < 0) {
		fail("watch sessions and devices", error);
		return 1;
	}
	sd_notify(0, "READY=1");
	sd_event_loop(state.event);
	/* The bus is gone; the unit starts this again. */
	return 1;
}
