#!/usr/bin/env bash
# First process of the SGX machine: readies it, runs the parts named on the kernel's command line, tells the host on
# the second serial line, powers off.
#
#   host sees:  "ok NAME", "not ok NAME", "skip NAME", "# text" and requests
#   request:    "ask WORD ..." and waits for one line of answer
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C TERM=dumb
# No udev here: libdevmapper makes the nodes itself.
export DM_DISABLE_UDEV=1
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts devpts /dev/pts
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
hostname sgx
ulimit -c 0
ip link set lo up
root=$PWD
work=/run/work
export TRESOR_STATE_DIR=/run/state XDG_CONFIG_HOME=/run/config
mkdir -p $work $TRESOR_STATE_DIR $XDG_CONFIG_HOME /mnt

say() { printf '%s\n' "$*" >&3; }
ask() { say "ask $*"; IFS= read -r REPLY <&3; }
word() { sed -n "s/.*\btresor\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; } # NAME

# A check that hangs ends the machine: which tasks are stuck goes to the console's log.
watch_checks() {
	local until name
	while sleep 5; do
		read -r until name <$work/running
		[ $SECONDS -ge "${until:-999999}" ] || continue
		say "not ok $name"
		say "# stuck"
		tail -n 40 $work/said | sed 's/^/# /' >&3
		echo w >/proc/sysrq-trigger
		ps -eo pid,stat,wchan:24,args >/dev/console
		sleep 2
		echo o >/proc/sysrq-trigger
	done
}

# check NAME COMMAND...: one line for the host, and what the command said when it failed.
check() {
	local name=$1 started=$SECONDS
	shift
	echo "$((SECONDS + ${check_seconds:-600})) $name" >$work/running
	if "$@" >$work/said 2>&1; then say "ok $name"; else
		say "not ok $name"
		tail -n 40 $work/said | sed 's/^/# /' >&3
	fi
	: >$work/running
	say "# took $((SECONDS - started)) s: $name"
}
# The names of checks that a program reports by itself.
reported() { :; }

tresor() { "$root/dist/tresor" "$@"; }
json() { python3 -c "import json,sys; v=json.load(sys.stdin); print(v$1)"; } # EXPRESSION
uri_of() { tresor status "$1" --json | json '["uri"]'; }
state_of() { tresor status "$1" --json | json '["state"]'; }
pid_of() { tresor status "$1" --json | json '["pid"]'; }
refused() { # STATUS PATTERN COMMAND...: ends with that status, and says so in its last line
	local wanted=$1 pattern=$2 status
	shift 2
	"$@" 2>$work/refusal
	status=$?
	cat $work/refusal
	[ $status = "$wanted" ] || { echo "status $status, not $wanted"; return 1; }
	tail -n 1 $work/refusal | grep -Eq -- "$pattern" || { echo "not said: $pattern"; return 1; }
}
says() { # PATTERN COMMAND...
	local pattern=$1
	shift
	"$@" >$work/output
	cat $work/output
	grep -Eq -- "$pattern" $work/output
}
# How often the processor has executed a leaf.
count_of() { ask counter "$1"; echo "$REPLY"; } # LEAF
# The EPC is lost, as after a suspend or a migration.
lose_epc() { ask lose && [ "$REPLY" = lost ]; }
cheap=(--pbkdf pbkdf2 --pbkdf-force-iterations 1000)

# What several parts use, wherever a boot begins: two key files, data, and disk.img with a recovery key.
printf 'correct horse' >$work/key
printf 'battery staple' >$work/key2
head -c 12M /dev/urandom >$work/data
create_disk() { tresor create disk.img --size 32M --backend sgx --key-file key --recovery-key-file recovery "$@"; }
have_disk() { [ -e disk.img ] || create_disk "${cheap[@]}" || say "not ok no disk.img"; }
open_work() { tresor open disk.img work --backend sgx --key-file "${1:-key}"; }
put() { nbdcopy data "$(uri_of work)"; }
same() { # what clients read is what they wrote
	nbdcopy "$(uri_of work)" back && cmp -n "$(stat -c %s data)" data back
}

say "# kernel $(uname -srv)"
: >$work/running
watch_checks &
for part in $(word parts | tr , ' '); do
	cd "$root" || break
	say "# part $part"
	source "test/sgx/checks/$part.sh"
done
dmesg | grep -E 'BUG|WARNING|Oops|blocked for more|general protection|ENCLS' | sed 's/^/not ok kernel: /' >&3
say end
echo o >/proc/sysrq-trigger
sleep 60
