#!/usr/bin/env bash
# First process of the machine: readies it, runs the parts named on the kernel's
# command line, tells the host on the second serial line, powers off.
#
#   host sees:  "ok NAME", "not ok NAME", "# text", "log TEXT" and requests
#   request:    "ask WORD ..." and waits for one line of answer
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C TERM=dumb
# No udev here: libdevmapper makes the nodes itself.
export DM_DISABLE_UDEV=1
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts devpts /dev/pts
mount -t debugfs debugfs /sys/kernel/debug
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
hostname vm
ulimit -c 0
work=/run/work
mkdir -p "$work" /mnt

say() { printf '%s\n' "$*" >&3; }
ask() { say "ask $*"; IFS= read -r REPLY <&3; }

# A check that hangs ends the machine: which tasks are stuck goes to the console's log.
stuck() { # NAME
	sleep "${check_seconds:-300}" || return
	say "not ok $1"
	say "# stuck"
	tail -n 40 "$work/output" | sed 's/^/# /' >&3
	echo w >/proc/sysrq-trigger
	ps -eo pid,stat,wchan:24,args >/dev/console
	sleep 2
	echo o >/proc/sysrq-trigger
}

# What a failed check may leave in the way of the next.
tidy() {
	mountpoint -q /mnt && umount /mnt
	local left
	for left in tresor x stock; do [ ! -e /dev/mapper/$left ] || dmsetup remove --retry $left; done
	for left in /dev/loop0 /dev/loop1; do losetup -d $left 2>/dev/null; done
}

# check NAME COMMAND...: one line for the host; the command's output when it failed.
check() {
	local name=$1 started=$SECONDS watcher
	shift
	stuck "$name" &
	watcher=$!
	if "$@" >"$work/output" 2>&1; then
		say "ok $name"
	else
		say "not ok $name"
		{
			tail -n 40 "$work/output"
			grep -hm 3 -A 6 "^# Fatal" "$work"/*.log /run/tresor/*/log
			tail -n 8 "$work"/*.log /run/tresor/*/log 2>/dev/null
		} | sed 's/^/# /' >&3
		tidy
	fi
	pkill -P $watcher
	kill $watcher 2>/dev/null
	wait $watcher 2>/dev/null
	say "# took $((SECONDS - started)) s: $name"
}

hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }
random_hex() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; } # BYTES
clean_log() { ! dmesg | grep -E 'BUG|WARNING|Oops|blocked for more|lockdep|general protection|use-after-free|scheduling while atomic|Call Trace'; }

# Keeps all but a little of the memory busy with dirty pages.
stress_memory() {
	exec python3 -c '
import mmap, time
free = int(next(l for l in open("/proc/meminfo") if l.startswith("MemAvailable")).split()[1]) * 1024
m = mmap.mmap(-1, max(free - (60 << 20), 1 << 20))
while True:
    for at in range(0, len(m), 4096): m[at] = (m[at] + 1) % 256
    time.sleep(0.05)
'
}

tresor() { dist/tresor "$@"; }
start_legacy() { # arguments: tresord's
	dist/tresord --legacy "$@" 2>"$work/legacy.log" &
	legacy_pid=$!
	local i
	for i in $(seq 300); do
		grep -q '"message":"ready"' "$work/legacy.log" && return
		kill -0 $legacy_pid || break
		sleep 0.1
	done
	cat "$work/legacy.log"
	return 1
}
stop_legacy() { kill $legacy_pid && wait $legacy_pid; }

# The daemon with known keys.
ringd=build/vm/ringd

start_ringd() { # arguments: ringd's. Sets ringd_pid.
	rm -f "$work/ready"
	mkfifo "$work/ready"
	$ringd "$@" >"$work/ready" 2>"$work/ringd.log" &
	ringd_pid=$!
	read -r -t 30 REPLY <"$work/ready" && [ "$REPLY" = ready ]
}
stop_ringd() { kill "$ringd_pid"; wait "$ringd_pid"; }

# Volumes and what is done to a mapping.
json() { python3 -c "import json,sys; v=json.load(sys.stdin); print(v$1)"; } # EXPRESSION
format() { # DEVICE PASSFILE SECTOR [MORE...]
	local device=$1 pass=$2 sector=$3
	shift 3
	cryptsetup luksFormat -q --type luks2 --cipher aes-xts-plain64 --key-size 512 --sector-size "$sector" \
		--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --luks2-metadata-size 16k --luks2-keyslots-size 4m \
		"$@" "$device" "$pass"
}
open_kernel() { tresor open "$1" "$2" --kernel --key-file "$3" "${@:4}"; } # PATH NAME PASSFILE [MORE...]
pid_of() { tresor status "$1" --json | json '["pid"]'; }
fio_verify() { # NAME
	fio --name=v "--filename=/dev/mapper/$1" --rw=randrw --bsrange=4k-64k --iodepth=32 --numjobs=4 --ioengine=libaio \
		--direct=1 --size=12M --offset_increment=12M --verify=crc32c --verify_fatal=1 --group_reporting \
		--minimal >/dev/null
}
ext4_churn() { # NAME
	mkfs.ext4 -q -F "/dev/mapper/$1" && mount "/dev/mapper/$1" /mnt || return
	python3 - <<'PY'
import os, random
random.seed(5)
path, size = "/mnt/churn", 6 << 20
model = bytearray(size)
f = os.open(path, os.O_RDWR | os.O_CREAT)
os.ftruncate(f, size)
for step in range(1500):
    at = random.randrange(size - 1); n = min(random.randrange(1, 70000), size - at)
    what = random.random()
    if what < 0.5:
        data = random.randbytes(n); os.pwrite(f, data, at); model[at:at + n] = data
    elif what < 0.9:
        assert os.pread(f, n, at) == model[at:at + n], (step, at, n)
    elif what < 0.95:
        os.ftruncate(f, at); os.ftruncate(f, size); model[at:] = bytes(size - at)
    else:
        os.fsync(f); os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
os.fsync(f)
os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
assert os.pread(f, size, 0) == model
PY
	local status=$?
	umount /mnt && e2fsck -fn "/dev/mapper/$1" && return $status
}

echo 60 >/proc/sys/kernel/hung_task_timeout_secs
for module in loop dm_mod dm_crypt brd; do
	case $module in brd) modprobe brd rd_nr=2 rd_size=65536 ;; *) modprobe $module ;; esac
done
insmod kernel/tresor.ko grace_seconds=5 || say "not ok tresor.ko loads"

for part in $(sed -n 's/.*tresor\.parts=\([^ ]*\).*/\1/p' /proc/cmdline | tr , ' '); do
	say "# part $part"
	source "test/vm/checks/$part.sh"
done
say "end"
sync
echo o >/proc/sysrq-trigger
sleep 60
