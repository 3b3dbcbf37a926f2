/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TRESOR_TRESOR_H
#define TRESOR_TRESOR_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "queue.h"

/*
 * One open, attached file of TRESOR_DEVICE. Readers that found it through
 * tresor_key.daemon hold rcu_read_lock(); release waits for them.
 */
struct tresor_daemon {
	struct list_head node;		/* tresor_daemons */
	struct list_head keys;		/* owner is this daemon */
	struct list_head events;	/* SETKEY to send, FORGET to send */
	wait_queue_head_t event_wait;
	struct delayed_work watchdog;
	struct mutex attach_lock;
	bool stopped;			/* STOP, declared dead, or its process is gone */
	bool legacy;
	pid_t pid;
	struct pid *process;		/* that attached; its end is the daemon's, whoever has the file */
	u32 queue_count;		/* 0 until attached; set last, with release */
	struct tresor_queue *queues;
};

struct tresor_key_ask;

#define TRESOR_SECONDS_MAX	(7u * 24 * 3600)

enum tresor_key_event { TRESOR_KEY_QUIET, TRESOR_KEY_ASK, TRESOR_KEY_ASKED, TRESOR_KEY_FORGET };

/*
 * A handle, or a key of the legacy daemon. Its bytes are never kept: a handle
 * is public to root by design, a legacy key's pass through tresor_key_ask.
 *
 * References: the table (handles only), every cipher, every request, a
 * deadline, work that is queued. Under tresor_lock, but for refs, handle,
 * cookie and what finished_lock protects.
 */
struct tresor_key {
	refcount_t refs;
	struct rcu_head rcu;
	struct list_head node;		/* tresor_keys */
	struct list_head mine;		/* owner->keys */
	struct list_head event_node;	/* owner->events */
	struct list_head parked;	/* requests that wait for a daemon */
	struct tresor_daemon __rcu *daemon;	/* takes requests; NULL: they are parked */
	struct tresor_daemon *owner;	/* attached, though it may not have answered yet */
	struct list_head waiting;	/* orphan.c: has a deadline */
	unsigned long deadline;		/* jiffies */
	struct work_struct tell;
	spinlock_t finished_lock;	/* protects finished; within no other lock */
	struct list_head finished;	/* requests whose callers are to be told */
	struct tresor_key_ask *ask;	/* the setkey that waits */
	enum tresor_key_event event;
	bool legacy;
	bool dead;
	bool expired;
	u64 id;
	u32 cookie;
	u32 users;			/* ciphers */
	u32 size;			/* legacy */
	u8 mode;			/* legacy */
	bool checked;
	u8 check[TRESOR_CHECK_SIZE];	/* of the key that served first */
	u8 handle[TRESOR_HANDLE_SIZE];
};

enum tresor_counter {
	TRESOR_COUNT_ENCRYPT,
	TRESOR_COUNT_DECRYPT,
	TRESOR_COUNT_SETKEY,
	TRESOR_COUNT_FAILURES,
	TRESOR_COUNT_BATCHES,
	TRESOR_COUNT_PARKED,
	TRESOR_COUNT_EXPIRED,
	TRESOR_COUNT_REJECTED,
	TRESOR_COUNTERS,
};

/* Of a parameter: root may write anything into it. */
static inline unsigned long tresor_jiffies(unsigned int seconds)
{
	return (unsigned long)min(seconds, TRESOR_SECONDS_MAX) * HZ;
}

/*
 * The files, each knowing those above it only. queue.c, which knows none, is
 * given the functions at the end of queue.h by request, key, route and daemon.
 */

/* counters.c */
void tresor_count(enum tresor_counter counter, u64 by);
u64 tresor_counted(enum tresor_counter counter);

/* request.c: tells the caller; the request may be gone when it returns. Process context. */
void tresor_request_deliver(struct tresor_request *request);

/* key.c */
/* Protects both lists, and what is said so of daemons and keys. */
extern spinlock_t tresor_lock;
extern struct list_head tresor_daemons;
extern struct list_head tresor_keys;
int tresor_keys_init(void);
void tresor_keys_exit(void);
struct tresor_key *tresor_key_make(gfp_t flags);
bool tresor_key_tryget(struct tresor_key *key);
void tresor_key_put(struct tresor_key *key);
void tresor_requests_fail(struct list_head *requests, int error);
/* The others must hold tresor_lock. */
void tresor_key_list(struct tresor_key *key);
struct tresor_key *tresor_key_find(const u8 *handle);
void tresor_key_bury(const u8 *handle);
bool tresor_key_buried(const u8 *handle);
void tresor_key_exhume(const u8 *handle);

/* orphan.c */
/* For what ends waits: writeback may depend on it. */
extern struct workqueue_struct *tresor_timers;
int tresor_orphans_init(void);
/* No file is open, no cipher is left: nor is anything that could call this module. */
void tresor_orphans_exit(void);
/* Must hold tresor_lock. The deadline of a key that somebody may wait for. */
void tresor_orphan_arm(struct tresor_key *key);
/* Must hold tresor_lock. True: the caller has to put a reference. */
bool __must_check tresor_orphan_disarm(struct tresor_key *key);
/* Must hold tresor_lock. 0: parked. Else what became of the key. */
int tresor_orphan_park(struct tresor_key *key, struct tresor_request *request);
/* Fails every parked request now. */
void tresor_orphans_fail(void);
/* Of a cipher. */
void tresor_key_release(struct tresor_key *key);

/* route.c */
/* As tresor_queue_submit(), or -ENOKEY, or -EIO: no daemon came in time. */
int tresor_route_submit(struct tresor_request *request);
/*
 * Must hold tresor_lock. Requests flow from here on; those that waited are the
 * caller's to move, and a reference to put when *@disarmed.
 */
int tresor_route_serve(struct tresor_key *key, struct tresor_daemon *daemon, u32 cookie,
		       const u8 *check, struct list_head *waited, bool *disarmed);
/* The caller is an ioctl of this daemon: its queues stay until it returns. */
void tresor_route_move(struct tresor_daemon *daemon, struct list_head *waited);
/* Waits until nobody is about to use the queues of a daemon that was detached. */
void tresor_route_settle(void);

/* handle.c */
enum tresor_handle_state { TRESOR_HANDLE_UNKNOWN, TRESOR_HANDLE_LIVE, TRESOR_HANDLE_DEAD };
/* LIVE: *@found is a reference, and a user. */
enum tresor_handle_state tresor_handle_find(const u8 *bytes, struct tresor_key **found);
int tresor_handle_add(struct tresor_daemon *daemon, struct tresor_key_handle *arg);
int tresor_handle_drop(struct tresor_daemon *daemon, struct tresor_key_handle *arg);

/* legacy.c */
/* NULL: there is no such daemon. */
struct tresor_key *tresor_legacy_ask(const u8 *bytes, u32 size, u8 mode);
bool tresor_legacy_next_event(struct tresor_daemon *daemon, struct tresor_event *event);
int tresor_legacy_answer(struct tresor_daemon *daemon, const struct tresor_answer *answer);
int tresor_legacy_release(struct tresor_daemon *daemon, const struct tresor_answer *answer);
/* The others must hold tresor_lock. */
struct tresor_daemon *tresor_legacy_daemon(void);
/* To the setkey that waits, if one does. */
void tresor_legacy_reply(struct tresor_key *key, int status);
/* To a daemon that has just come. */
void tresor_legacy_offer_orphans(struct tresor_daemon *daemon);

/* cipher.c */
/* Once, by the first attach: before it nobody could serve. */
int tresor_ciphers_register(void);
void tresor_ciphers_unregister(void);

/* daemon.c */
struct tresor_daemon *tresor_daemon_make(void);
void tresor_daemon_free(struct tresor_daemon *daemon);
int tresor_daemon_attach(struct tresor_daemon *daemon, const struct tresor_attach *arg);
/* It is gone, or declared so: its keys are orphans, its queues dead. Any number of times. */
void tresor_daemon_detach(struct tresor_daemon *daemon);

/* sysfs.c */
extern const struct attribute_group *tresor_attribute_groups[];

/* device.c */
int tresor_device_register(void);
void tresor_device_unregister(void);

#endif
