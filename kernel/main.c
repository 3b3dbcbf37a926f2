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

#include "tresor.h"

static char *daemon_command;
module_param_named(daemon, daemon_command, charp, 0444);
MODULE_PARM_DESC(daemon, "program, with arguments, started when the module is loaded");

/*
 * From a work item, when loading has succeeded: it can no longer fail, and the
 * program finds all in place.
 */
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

	ret = tresor_keys_init();
	if (ret)
		return ret;
	ret = tresor_orphans_init();
	if (ret)
		goto exit_keys;
	/* Last: from here on the module may be in use. */
	ret = tresor_device_register();
	if (ret)
		goto exit_orphans;
	if (daemon_command && *daemon_command)
		schedule_work(&starting);
	return 0;
exit_orphans:
	tresor_orphans_exit();
exit_keys:
	tresor_keys_exit();
	return ret;
}

/* No file is open and no cipher is in use: each holds a reference to the module. */
static void __exit tresor_exit(void)
{
	cancel_work_sync(&starting);
	tresor_ciphers_unregister();
	tresor_device_unregister();
	tresor_orphans_exit();
	tresor_keys_exit();
	rcu_barrier();
}

module_init(tresor_init);
module_exit(tresor_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Ciphers whose keys exist only inside an enclave");
MODULE_VERSION("0.1.0");
