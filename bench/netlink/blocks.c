/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon of 2016, without its cryptography: every message goes back as it came. */
#include <linux/netlink.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_nl own = { .nl_family = AF_NETLINK, .nl_pid = (unsigned)getpid() };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW, 31);
	char message[256];

	/* The protocol is there once the module is; the bind waits for it. */
	while (fd < 0) {
		usleep(1000);
		fd = socket(AF_NETLINK, SOCK_RAW, 31);
	}
	if (bind(fd, (struct sockaddr *)&own, sizeof(own)))
		return 1;
	for (;;) {
		ssize_t size = recv(fd, message, sizeof(message), 0);

		if (size < 0)
			return 1;
		((struct nlmsghdr *)message)->nlmsg_pid = own.nl_pid;
		if (sendto(fd, message, (size_t)size, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
			return 1;
	}
}
