# One check for each fault that a daemon, or its end, was able to make.
[ ! -d /sys/module/tresor ] || rmmod tresor
load() { insmod kernel/tresor.ko grace_seconds="${1:-5}"; }
kfault=build/vm/kfault
start_kfault() { # arguments: kfault's. Sets kfault_pid; its lines go to $work/kfault
	rm -f "$work/kfault" # which says ready, of the one before
	$kfault "$@" >"$work/kfault" 2>&1 &
	kfault_pid=$!
	local i
	for i in $(seq 100); do grep -qs ready "$work/kfault" && return; sleep 0.05; done
	return 1
}
stop_kfault() { kill "$kfault_pid"; wait "$kfault_pid"; }
head -c 64 /dev/urandom >"$work/fault-key"
fault_key=$(hex "$work/fault-key")
fault_handle=$(random_hex 32)
[ -e "$work/data" ] || head -c 8M /dev/urandom >"$work/data"
raw_map() { cryptsetup -q open --type plain --cipher tresor-xts-plain64 --key-size 512 --key-file "$work/fault-key" /dev/ram0 x; }
handle_map() { # NAME HANDLE DEVICE [OPTIONS...]
	echo "0 65536 crypt capi:xts(tresor)-plain64 $2 0 $3 0 $(($# - 3)) ${*:4}" | dmsetup create "$1"
}
read_one() { timeout "${2:-60}" dd if=/dev/mapper/"$1" of=/dev/null bs=4096 count=1 iflag=direct status=none; }

# ---- nothing outlives the module: each would have been a timer in freed memory ----

# A deadline of one second, no module any more, two seconds.
unload_in_time() { rmmod tresor && sleep 2 && load 1; }
unload_after_held() {
	load 1 && start_kfault hold && raw_map && cryptsetup close x && stop_kfault
	unload_in_time
}
unload_after_waiting() {
	start_kfault mute || return
	raw_map 2>"$work/waiting" &
	local map=$! i
	for i in $(seq 100); do grep -qs '\[tresor\]' "/proc/$(pgrep -x cryptsetup)/stack" && break; sleep 0.1; done
	grep -qs '\[tresor\]' "/proc/$(pgrep -x cryptsetup)/stack" || { echo "setkey did not wait"; return 1; }
	stop_kfault
	! wait $map || return
	unload_in_time
}
unload_after_offer() {
	start_ringd --raw && raw_map && kill -9 "$ringd_pid"
	wait "$ringd_pid"
	start_kfault mute && cryptsetup close x && stop_kfault
	unload_in_time
}
unload_after_fail_now() { # a key that no list shows: its cipher has another, its request waits
	start_ringd --key "$fault_handle:$fault_key" && handle_map f "$fault_handle" /dev/ram0 && kill -9 "$ringd_pid"
	wait "$ringd_pid"
	read_one f &
	local read=$!
	sleep 0.3
	echo 1 >/sys/class/misc/tresor/fail_now
	! wait $read && dmsetup remove --retry f && unload_in_time
}
check "unload: a key that was held" unload_after_held
check "unload: a setkey that waited when its daemon ended" unload_after_waiting
check "unload: an orphan, offered and not answered" unload_after_offer
check "unload: requests that failed before their time" unload_after_fail_now

load_with_open_device() {
	rmmod tresor && start_kfault grab && insmod kernel/tresor.ko daemon=/no/such/program grace_seconds=5 || return
	local i
	for i in $(seq 50); do dmesg | grep -q 'cannot start "/no/such/program"' && break; sleep 0.1; done
	dmesg | grep -q 'cannot start "/no/such/program"' || { echo "the failure is not said"; return 1; }
	stop_kfault && rmmod tresor && load
}
check "daemon= names no program, the device is open: the module stays, and says so" load_with_open_device

# ---- STOP against ATTACH ----

stop_race() { # a key with a request that waits, one without
	echo 600 >/sys/module/tresor/parameters/grace_seconds
	# Without check values, for which an answer would be refused before it did harm.
	start_ringd --raw --unchecked && raw_map &&
		cryptsetup -q open --type plain --cipher tresor-cbc-plain --key-size 128 --key-file "$work/fault-key" /dev/ram1 y || return
	kill -9 "$ringd_pid"
	wait "$ringd_pid"
	read_one x &
	local read=$! status
	sleep 0.3
	timeout 120 $kfault stoprace 300
	status=$?
	echo 1 >/sys/class/misc/tresor/fail_now
	! wait $read && cryptsetup close x && cryptsetup close y && echo 5 >/sys/module/tresor/parameters/grace_seconds && return $status
}
check "STOP while ATTACH offers orphans: none goes to the dead queues" stop_race

# ---- the watchdog ----

lost_slot() { # others go on, so the daemon looks alive
	echo 2 >/sys/module/tresor/parameters/hang_seconds
	start_ringd --key "$fault_handle:$fault_key" --lose && handle_map f "$fault_handle" /dev/ram0 || return
	read_one f &
	local read=$! load i
	sleep 0.2
	while sleep 0.1; do dd if=/dev/mapper/f of=/dev/null bs=4096 skip=100 count=1 iflag=direct status=none; done &
	load=$!
	for i in $(seq 80); do grep -q stopped /sys/class/misc/tresor/daemons && break; sleep 0.1; done
	grep stopped /sys/class/misc/tresor/daemons
	local found=$? old=$ringd_pid
	start_ringd --key "$fault_handle:$fault_key" && wait $read
	local status=$?
	kill $load $old
	wait $load $old
	echo 60 >/sys/module/tresor/parameters/hang_seconds
	sleep 0.3
	dmsetup remove --retry f && stop_ringd && [ $found = 0 ] && return $status
}
no_false_alarm() { # rests longer than the limit, then has a request for less than that, with the watchdog's look midway
	echo 4 >/sys/module/tresor/parameters/hang_seconds
	start_ringd --key "$fault_handle:$fault_key" --delay 2000 && handle_map f "$fault_handle" /dev/ram0 || return
	local i status=0
	for i in 1 2 3; do read_one f || status=1; sleep 4.5; done
	! grep stopped /sys/class/misc/tresor/daemons || status=1
	echo 60 >/sys/module/tresor/parameters/hang_seconds
	dmsetup remove f && stop_ringd && return $status
}
forked_child() { # kill -9 leaves a child that has the file open
	start_ringd --key "$fault_handle:$fault_key" --child && handle_map f "$fault_handle" /dev/ram0 && kill -9 "$ringd_pid"
	wait "$ringd_pid"
	[ "$(cat /sys/module/tresor/parameters/hang_seconds)" = 60 ] && pgrep -x ringd >"$work/child" || { echo "no child is left"; return 1; }
	start_ringd --key "$fault_handle:$fault_key" && read_one f 20
	local status=$?
	kill -9 $(cat "$work/child")
	dmsetup remove f && stop_ringd && return $status
}
check "a lost slot: the daemon counts as dead though others come back" lost_slot
check "a daemon that rests is not dead" no_false_alarm
check "kill -9 and a child that has the file open: the next daemon takes over" forked_child

# ---- keys ----

other_key() { # the same handle, another key: refused, and nothing was answered with it
	start_ringd --key "$fault_handle:$fault_key" && handle_map f "$fault_handle" /dev/ram0 &&
		dd if="$work/data" of=/dev/mapper/f bs=4096 count=1 oflag=direct status=none && kill -9 "$ringd_pid"
	wait "$ringd_pid"
	dd if=/dev/mapper/f bs=4096 count=1 iflag=direct status=none >"$work/read" &
	local read=$!
	timeout 20 $ringd --key "$fault_handle:$(random_hex 64)" 2>"$work/refused" && return 1
	grep -q 'Key was rejected' "$work/refused" && kill -0 $read || return
	start_ringd --key "$fault_handle:$fault_key" && wait $read && cmp "$work/read" <(head -c 4096 "$work/data") &&
		dmsetup remove f && stop_ringd
}
wipes_make_no_keys() { # neither a wipe of a handle nor a handle that was dropped reaches the legacy daemon
	start_kfault hold && start_ringd --key "$fault_handle:$fault_key" && handle_map f "$fault_handle" /dev/ram0 || return
	dmsetup suspend f && dmsetup message f 0 key wipe && dmsetup message f 0 key set "$(random_hex 32)" &&
		dmsetup resume f && ! read_one f 10 2>&1 &&
		dmsetup suspend f && dmsetup message f 0 key set "$fault_handle" && dmsetup resume f && read_one f 10 &&
		dmsetup remove f && stop_ringd || return
	handle_map f "$fault_handle" /dev/ram0 && ! read_one f 10 2>&1 && dmsetup remove f || return
	! grep setkey "$work/kfault" || { echo "it came as a key"; return 1; }
	# What is no handle does come, and its end too, at once.
	raw_map && cryptsetup close x && sleep 0.5 && grep -q forget "$work/kfault" && stop_kfault
}
check "another key under the same handle is refused, what waits goes on waiting" other_key
check "wiped and dropped handles make no legacy keys; a held key is forgotten at once" wipes_make_no_keys

# ---- completion ----

stacked() { # one daemon below both, no workqueue in between
	start_ringd --key "$fault_handle:$fault_key" --key "$(printf '%064d' 8):$(random_hex 64)" --depth 2 &&
		handle_map lower "$fault_handle" /dev/ram0 no_read_workqueue no_write_workqueue &&
		echo "0 32768 crypt capi:xts(tresor)-plain64 $(printf '%064d' 8) 0 /dev/mapper/lower 0 2 no_read_workqueue no_write_workqueue" |
		dmsetup create upper || return
	timeout 200 fio --name=v --filename=/dev/mapper/upper --rw=randrw --bsrange=4k-64k --iodepth=32 --ioengine=libaio --direct=1 \
		--size=8M --verify=crc32c --verify_fatal=1 --minimal >/dev/null
	local status=$?
	[ $status = 0 ] || echo 1 >/sys/class/misc/tresor/fail_now
	dmsetup remove --retry upper && dmsetup remove --retry lower && stop_ringd && return $status
}
check "tresor on tresor without workqueues" stacked

# ---- parameters and mappings ----

long_grace() { # in jiffies it is more than 32 bits hold
	start_ringd --key "$fault_handle:$fault_key" && handle_map f "$fault_handle" /dev/ram0 && kill -9 "$ringd_pid"
	wait "$ringd_pid"
	echo 17179870 >/sys/module/tresor/parameters/grace_seconds
	read_one f &
	local read=$!
	sleep 3
	kill -0 $read || { echo "it did not wait"; return 1; }
	echo 1 >/sys/class/misc/tresor/fail_now
	! wait $read && echo 5 >/sys/module/tresor/parameters/grace_seconds && dmsetup remove --retry f
}
check "grace_seconds beyond what 32 bits hold" long_grace
check "the rings are no code" $kfault exec
faults_unload() { rmmod tresor || { dmsetup ls; ps -eo pid,stat,args | grep -E 'ringd|kfault|tresord'; cat /sys/class/misc/tresor/daemons; return 1; }; }
check "faults: unload" faults_unload
check "faults: the log is clean" clean_log
