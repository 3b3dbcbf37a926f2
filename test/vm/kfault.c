/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon that does at /dev/tresor/control what a daemon should not, and more quickly
 * than a shell could:
 *
 *   kfault hold            legacy; answers each setkey as held; prints the events
 *   kfault mute            legacy; reads no event
 *   kfault grab            opens the device the moment it is there, uses it at its end
 *   kfault stoprace N      legacy; STOP by another thread while ATTACH offers orphans, then answers
 *   kfault exec            the mappings can not be made executable
 *
 * The first three print "ready" and end at SIGTERM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/kmod.h"

#define DEPTH	16u

static int device;

static void die(const char *what)
{
	fprintf(stderr, "kfault: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void open_device(void)
{
	device = open(TRESOR_DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0)
		die(TRESOR_DEVICE);
}

static int attach(uint32_t flags)
{
	struct tresor_attach attach = {
		.version = TRESOR_KMOD_VERSION,
		.queues = 1,
		.depth = DEPTH,
		.flags = flags,
	};

	return ioctl(device, TRESOR_IOC_ATTACH, &attach);
}

static void *hold(void *unused)
{
	struct tresor_event event;

	for (;;) {
		if (ioctl(device, TRESOR_IOC_EVENT, &event))
			die("event");
		printf("%s %llu\n", event.type == TRESOR_EVENT_FORGET ? "forget" : "setkey",
		       (unsigned long long)event.id);
		fflush(stdout);
		if (event.type == TRESOR_EVENT_SETKEY) {
			struct tresor_answer answer = { .id = event.id, .status = TRESOR_ANSWER_HELD };

			ioctl(device, TRESOR_IOC_ANSWER, &answer);
		}
	}
	return unused;
}

static int go;

static void *attach_legacy(void *unused)
{
	while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
		;
	if (attach(TRESOR_ATTACH_LEGACY))
		die("attach");
	return unused;
}

static void stoprace(long tries)
{
	long offered = 0;

	for (long i = 0; i < tries; i++) {
		struct tresor_event event;
		pthread_t thread;

		open_device();
		go = 0;
		if (pthread_create(&thread, NULL, attach_legacy, NULL))
			die("thread");
		/* Both run, each on its CPU, when it begins. */
		usleep(1000);
		__atomic_store_n(&go, 1, __ATOMIC_RELEASE);
		/* -ENOTCONN until ATTACH has made the queues known. */
		while (ioctl(device, TRESOR_IOC_STOP))
			;
		pthread_join(thread, NULL);
		/* None, in a module that is right: STOP was before or after, not in between. */
		while (ioctl(device, TRESOR_IOC_EVENT, &event) == 0) {
			struct tresor_answer answer = { .id = event.id };

			offered++;
			ioctl(device, TRESOR_IOC_ANSWER, &answer);
		}
		close(device);
	}
	if (offered) {
		fprintf(stderr, "kfault: a stopped daemon was offered %ld keys\n", offered);
		exit(1);
	}
}

static void not_executable(void)
{
	size_t size = DEPTH * TRESOR_SLOT_SIZE;
	void *area;

	open_device();
	if (attach(0))
		die("attach");
	if (mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, device, (off_t)TRESOR_MMAP_DATA(0)) != MAP_FAILED) {
		fprintf(stderr, "kfault: mapped as code\n");
		exit(1);
	}
	area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)TRESOR_MMAP_DATA(0));
	if (area == MAP_FAILED)
		die("mmap");
	if (mprotect(area, size, PROT_READ | PROT_EXEC) == 0) {
		fprintf(stderr, "kfault: made code of\n");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	struct tresor_answer answer = { 0 };
	sigset_t wanted;
	int signal;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &wanted, NULL);
	if (!strcmp(what, "stoprace") && argc == 3) {
		stoprace(atol(argv[2]));
		return 0;
	}
	if (!strcmp(what, "exec")) {
		not_executable();
		return 0;
	}
	if (!strcmp(what, "grab")) {
		puts("ready");
		fflush(stdout);
		while ((device = open(TRESOR_DEVICE, O_RDWR | O_CLOEXEC)) < 0)
			;
		sigwait(&wanted, &signal);
		ioctl(device, TRESOR_IOC_ANSWER, &answer);
		close(device);
		return 0;
	}
	open_device();
	if (attach(TRESOR_ATTACH_LEGACY))
		die("attach");
	if (!strcmp(what, "hold")) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, hold, NULL))
			die("thread");
	} else if (strcmp(what, "mute")) {
		return 1;
	}
	puts("ready");
	fflush(stdout);
	sigwait(&wanted, &signal);
	return 0;
}
