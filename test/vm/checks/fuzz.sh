# Random use of the device while a mapping is under load.
fresh_module
fuzz_handle=$(random_hex 32)
fuzz_key=$(random_hex 64)
echo 1 >/sys/module/tresor/parameters/grace_seconds

fuzz() {
	start_ringd --unchecked --key "$fuzz_handle:$fuzz_key" || return
	echo "0 131072 crypt capi:xts(tresor)-plain64 $fuzz_handle 0 /dev/ram0 0" | dmsetup create fuzz &&
		kill -9 "$ringd_pid"
	wait "$ringd_pid"
	while :; do dd if=/dev/mapper/fuzz of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null; done &
	local load=$!
	local seed
	seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
	echo "seed $seed"
	timeout 240 build/vm/kfuzz 1000000 "$seed" "$fuzz_handle"
	local status=$?
	kill $load
	wait $load
	echo 1 >/sys/class/misc/tresor/fail_now
	sleep 1
	[ "$(cat /sys/class/misc/tresor/counters/rejected)" -gt 1000 ] || { echo "nothing was rejected"; status=1; }
	dmsetup remove --retry fuzz && return $status
}
usable_after() {
	start_ringd --unchecked --key "$fuzz_handle:$fuzz_key" &&
		echo "0 131072 crypt capi:xts(tresor)-plain64 $fuzz_handle 0 /dev/ram0 0" | dmsetup create fuzz &&
		dd if=/dev/urandom of=/dev/mapper/fuzz bs=1M count=4 oflag=direct status=none &&
		dmsetup remove fuzz && stop_ringd && rmmod tresor
}
check "fuzz: 10^6 random operations" fuzz
check "fuzz: the module works and unloads afterwards" usable_after
check "fuzz: the log is clean" clean_log
