#!/usr/bin/env bash
# First process of the SGX machine: runs the parts named on the kernel's command line, tells the host on the second
# serial line, powers off.
#
#   host sees:  "ok NAME", "not ok NAME", "skip NAME", "# text" and requests
#   request:    "ask WORD ..." and waits for one line of answer
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C TERM=dumb
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts devpts /dev/pts
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
hostname sgx
ulimit -c 0

say() { printf '%s\n' "$*" >&3; }
ask() { say "ask $*"; IFS= read -r REPLY <&3; }
word() { sed -n "s/.*\btresor\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; } # NAME

# The kernel's selftest, and ours in it.
selftest() {
	cd "$(word selftest)" || return
	./test_sgx >/run/selftest 2>&1
	sed -nE 's/^ok [0-9]+ # SKIP (.*)/skip \1/p; s/^ok [0-9]+ ([^ ]+) # SKIP.*/skip \1/p; s/^(ok|not ok) [0-9]+ ([^ ]+)$/\1 \2/p' /run/selftest >&3
	grep -E '^# (.*Expected|.*terminated|Totals)' /run/selftest >&3
	ask counters
}

# check NAME COMMAND...: one line for the host, and what the command said when it failed.
check() {
	local name=$1
	shift
	if "$@" >/run/said 2>&1; then say "ok $name"; else
		say "not ok $name"
		tail -n 20 /run/said | sed 's/^/# /' >&3
	fi
}

# Tresor itself, on the driver.
product() {
	local tresor=$PWD/dist/tresor
	export HOME=/run/home XDG_RUNTIME_DIR=/run/user
	mkdir -p -m 700 $HOME $XDG_RUNTIME_DIR /run/work
	cd /run/work || return
	printf 'correct horse' >key
	ip link set lo up
	check "doctor finds SGX" bash -c "$tresor doctor | tee /dev/stderr | grep -i sgx"
	check "selftest on sgx" $tresor selftest --backend sgx
	check "create on sgx" $tresor create disk.img --size 32M --backend sgx --key-file key --recovery-key-file recovery
	check "open on sgx" $tresor open disk.img work --backend sgx --key-file key
	check "status says sgx" bash -c "$tresor status work | tee /dev/stderr | grep -iw sgx"
	check "lock" $tresor lock work
	check "setkey" $tresor setkey work --key-file key
	check "close" $tresor close work
	ask cpusvn
	check "open after a microcode update" $tresor open disk.img work --backend sgx --key-file key
	check "close after a microcode update" $tresor close work
	ask counters
}

for part in $(word parts | tr , ' '); do "$part"; done
dmesg | grep -E 'BUG|WARNING|Oops|blocked for more|general protection|ENCLS' | sed 's/^/not ok kernel: /' >&3
echo o >/proc/sysrq-trigger
sleep 60
