// SPDX-License-Identifier: GPL-2.0
/*
 * What TresorSGX paid: one Netlink message to a daemon and one back for every
 * 16-byte block, the kernel waiting in between. Loading it runs the
 * measurement and prints the result to the kernel's log; blocks.c is the peer.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/netlink.h>
#include <net/net_namespace.h>
#include <net/netlink.h>
#include <net/sock.h>

#define PROTOCOL	31
#define BLOCK		16

static unsigned int peer;
module_param(peer, uint, 0444);
MODULE_PARM_DESC(peer, "port of the daemon, its process id");

static unsigned int blocks = 2000;
module_param(blocks, uint, 0444);

static struct sock *sock;
static DECLARE_COMPLETION(answered);

static void receive(struct sk_buff *skb)
{
	complete(&answered);
}

static int send_block(void)
{
	struct sk_buff *skb = nlmsg_new(BLOCK, GFP_KERNEL);
	struct nlmsghdr *header;

	if (!skb)
		return -ENOMEM;
	header = nlmsg_put(skb, 0, 0, NLMSG_DONE, BLOCK, 0);
	memset(nlmsg_data(header), 0x5a, BLOCK);
	return nlmsg_unicast(sock, skb, peer);
}

static int round_trip(void)
{
	int ret = send_block();

	if (ret < 0)
		return ret;
	return wait_for_completion_timeout(&answered, HZ) ? 0 : -ETIMEDOUT;
}

/* The daemon can open its socket only now that there is a protocol. */
static int wait_for_peer(void)
{
	int tries, ret = -ECONNREFUSED;

	for (tries = 0; tries < 500 && ret == -ECONNREFUSED; tries++) {
		msleep(10);
		ret = round_trip();
	}
	return ret;
}

static int __init netlink_blocks_init(void)
{
	struct netlink_kernel_cfg config = { .input = receive };
	u64 start, took;
	unsigned int i;
	int ret;

	sock = netlink_kernel_create(&init_net, PROTOCOL, &config);
	if (!sock)
		return -ENOMEM;
	ret = wait_for_peer();
	start = ktime_get_ns();
	for (i = 0; i < blocks && !ret; i++)
		ret = round_trip();
	took = ktime_get_ns() - start;
	netlink_kernel_release(sock);
	if (ret)
		return ret;
	pr_info("netlink_blocks: %u blocks in %llu ns\n", blocks, took);
	return 0;
}

static void __exit netlink_blocks_exit(void)
{
}

module_init(netlink_blocks_init);
module_exit(netlink_blocks_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Measures one Netlink round trip per 16 bytes");
