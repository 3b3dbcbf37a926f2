/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eventfds that a front-end shares with us. O_NONBLOCK belongs to the description, so the front-end can take it away
 * at any time, fill the counter, and whoever writes waits for ever; or empty it before somebody reads. Neither is
 * done here: the kernel itself rings, at the end of an asynchronous read of nothing, and a read does not wait.
 */
#ifndef TRESOR_VHOST_BELL_H
#define TRESOR_VHOST_BELL_H

#include <linux/aio_abi.h>
#include <stdbool.h>

/* One thread's. */
struct bell {
	aio_context_t context;
	int null;	/* the caller's, of /dev/null */
	unsigned rung;	/* since events were taken out */
};

/* 0 or an errno. */
int bell_open(struct bell *bell, int null);
/* Any descriptor, -1 among them; what is no eventfd hears nothing. */
void bell_ring(struct bell *bell, int fd);
void bell_close(struct bell *bell);

/* Empties the counter. False: it is no eventfd. */
bool bell_hear(int fd);

#endif
