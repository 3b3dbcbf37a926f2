// SPDX-License-Identifier: GPL-2.0
/*
 * tresor.ko: ciphers of the kernel's Crypto API whose keys, and whose work,
 * are in an enclave in user space.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kmod.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/umh.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "tresor.h"

unsigned int tresor_grace_seconds = 30;
module_param_named(grace_seconds, tresor_grace_seconds, uint, 0644);
MODULE_PARM_DESC(grace_seconds, "how long requests wait for a daemon to come back (30)");

unsigned int tresor_hang_seconds = 60;
module_param_named(hang_seconds, tresor_hang_seconds, uint, 0644);
MODULE_PARM_DESC(hang_seconds, "silence after which a daemon counts as dead; 0: never (60)");

unsigned int tresor_setkey_seconds = 60;
module_param_named(setkey_seconds, tresor_setkey_seconds, uint, 0644);
MODULE_PARM_DESC(setkey_seconds, "how long setkey waits for a legacy daemon (60)");

unsigned int tresor_poll_us;
module_param_named(poll_us, tresor_poll_us, uint, 0644);
MODULE_PARM_DESC(poll_us, "busy-poll for requests before a daemon sleeps (0: off)");

static char *daemon_command;
module_param_named(daemon, daemon_command, charp, 0444);
MODULE_PARM_DESC(daemon, "program, with arguments, started when the module is loaded");

/* Callbacks of dm-crypt's, which may wait for one another. */
struct workqueue_struct *tresor_completions;
/* The watchdogs and deadlines, which end such waits. */
struct workqueue_struct *tresor_timers;

static DEFINE_MUTEX(register_lock);
static bool registered;

int tresor_register_ciphers(void)
{
	int ret = 0;

	mutex_lock(&register_lock);
	if (!registered)
		ret = tresor_cipher_register();
	if (!ret)
		registered = true;
	mutex_unlock(&register_lock);
	return ret;
}

/* From a work item, when loading has succeeded: it can no longer fail, and the program finds all in place. */
static void start_daemon(struct work_struct *work)
{
	static char *environment[] = { "HOME=/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	char **words = argv_split(GFP_KERNEL, daemon_command, NULL);
	int ret = -ENOMEM;

	if (words)
		ret = call_usermodehelper(words[0], words, environment, UMH_WAIT_EXEC);
	if (ret)
		pr_err("cannot start \"%s\": error %d; the module stays, start a daemon by hand\n",
		       daemon_command, ret);
	if (words)
		argv_free(words);
}

static DECLARE_WORK(starting, start_daemon);

static int __init tresor_init(void)
{
	int ret;

	/* Writeback may wait for both. Bound: the daemon's CPU has the data, and soon sleeps. */
	tresor_completions = alloc_workqueue("tresor", WQ_MEM_RECLAIM | WQ_HIGHPRI | TRESOR_WQ_BOUND, 0);
	if (!tresor_completions)
		return -ENOMEM;
	tresor_timers = alloc_workqueue("tresor_timers", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!tresor_timers) {
		ret = -ENOMEM;
		goto destroy;
	}
	/* Last: from here on the module may be in use. */
	ret = tresor_device_register();
	if (ret)
		goto destroy_timers;
	if (daemon_command && *daemon_command)
		schedule_work(&starting);
	return 0;
destroy_timers:
	destroy_workqueue(tresor_timers);
destroy:
	destroy_workqueue(tresor_completions);
	return ret;
}

/* No file is open and no cipher is in use: each holds a reference to the module. */
static void __exit tresor_exit(void)
{
	cancel_work_sync(&starting);
	if (registered)
		tresor_cipher_unregister();
	tresor_device_unregister();
	tresor_key_exit();
	destroy_workqueue(tresor_timers);
	destroy_workqueue(tresor_completions);
	rcu_barrier();
}

module_init(tresor_init);
module_exit(tresor_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Ciphers whose keys exist only inside an enclave");
MODULE_VERSION("0.1.0");
