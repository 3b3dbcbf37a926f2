# The product itself: tresord with its enclave behind the module.
fresh_module grace_seconds=60
[ -e "$work/data" ] || head -c 8M /dev/urandom >"$work/data"
printf 'first passphrase' >"$work/pass"
printf 'second passphrase' >"$work/pass-b"
record=/var/lib/tresor/legacy.json

blank() { dd if=/dev/zero of="$1" bs=1M count=48 status=none; } # DEVICE
put() { dd if="$work/data" of="/dev/mapper/$1" bs=1M oflag=direct status=none; }
same() { dd if="/dev/mapper/$1" bs=1M count=8 iflag=direct status=none | cmp - "$work/data"; }

# ---- the flows of 2016, in the words of that README but for its two errors ----

readme_container() {
	dd if=/dev/zero of="$work/container" bs=1M count=24 status=none &&
		losetup /dev/loop0 "$work/container" &&
		cryptsetup create tresor /dev/loop0 --cipher tresor --key-size 128 <"$work/pass" &&
		mkfs.ext2 -q /dev/mapper/tresor && mount /dev/mapper/tresor /mnt &&
		cp "$work/data" /mnt/data && umount /mnt && cryptsetup remove tresor && losetup -d /dev/loop0 || return
	[ -z "$(blkid -p -o value -s TYPE "$work/container")" ] || { echo "a filesystem shows on the raw device"; return 1; }
	readme_container_again
}
readme_container_again() {
	losetup /dev/loop0 "$work/container" &&
		cryptsetup create tresor /dev/loop0 --cipher tresor --key-size 128 <"$work/pass" &&
		mount /dev/mapper/tresor /mnt && cmp /mnt/data "$work/data" && umount /mnt &&
		cryptsetup remove tresor && losetup -d /dev/loop0
}
readme_partition() {
	truncate -s 48M "$work/stick" && echo 'start=2048, type=83' | sfdisk -q "$work/stick" &&
		losetup -P /dev/loop1 "$work/stick" && wait_for /dev/loop1p1 &&
		cryptsetup create tresor /dev/loop1p1 --cipher tresor --key-size 128 <"$work/pass" &&
		mkfs.ext2 -q /dev/mapper/tresor && mount /dev/mapper/tresor /mnt && cp "$work/data" /mnt/data &&
		umount /mnt && cryptsetup remove tresor &&
		cryptsetup create tresor /dev/loop1p1 --cipher tresor --key-size 128 <"$work/pass" &&
		mount /dev/mapper/tresor /mnt && cmp /mnt/data "$work/data" && umount /mnt &&
		cryptsetup remove tresor && losetup -d /dev/loop1
}
wait_for() { local i; for i in $(seq 50); do [ -e "$1" ] && return; sleep 0.1; done; return 1; }
legacy_wrong_passphrase() {
	readme_container && losetup /dev/loop0 "$work/container" &&
		cryptsetup create tresor /dev/loop0 --cipher tresor --key-size 128 <"$work/pass-b" || return
	! mount -o ro /dev/mapper/tresor /mnt 2>&1
	local status=$?
	cryptsetup remove tresor && losetup -d /dev/loop0 && return $status
}
legacy_close_refused() {
	losetup /dev/loop0 "$work/container" &&
		cryptsetup create tresor /dev/loop0 --cipher tresor --key-size 128 <"$work/pass" || return
	tresor close legacy
	[ $? = 5 ] && cryptsetup remove tresor && losetup -d /dev/loop0
}
legacy_modes_equal() { # every mode a plain mapping can ask for, through the enclave and back
	local cipher bits
	blank /dev/ram0
	for cipher in tresor-xts-plain64:512 tresor-xts-plain64:256 tresor-cbc-essiv:sha256:256 tresor-ctr-plain64:256; do
		bits=${cipher##*:}
		cryptsetup open --type plain --cipher "${cipher%:*}" --key-size "$bits" --key-file "$work/pass.key" /dev/ram0 x &&
			put x && cryptsetup close x &&
			cryptsetup open --type plain --cipher "${cipher%:*}" --key-size "$bits" --key-file "$work/pass.key" /dev/ram0 x &&
			same x && cryptsetup close x && ! cmp -s -n 8388608 /dev/ram0 "$work/data" || return
	done
}
record_kept() { # a salt, sealed; nothing that a passphrase or a key shows in
	[ "$(stat -c %a "$record")" = 600 ] && [ "$(json '["version"]' <"$record")" = 1 ]
}
# As test/vm/legacy-state.ts made it, with a cheap KDF.
cheap_record() { rm -r /var/lib/tresor && cp -r build/vm/legacy /var/lib/tresor; }
setkey_first() {
	tresor setkey legacy --legacy --key-file "$work/pass" && losetup /dev/loop0 "$work/sealed" || return
	printf dummy | cryptsetup create tresor /dev/loop0 --cipher tresor --key-size 128 &&
		mkfs.ext2 -q /dev/mapper/tresor && mount /dev/mapper/tresor /mnt && cp "$work/data" /mnt/data &&
		umount /mnt && cryptsetup remove tresor
}
setkey_later() {
	printf 'another dummy' | cryptsetup create tresor /dev/loop0 --cipher tresor --key-size 128 || return
	mount -o ro /dev/mapper/tresor /mnt &
	local mount=$!
	sleep 1
	kill -0 $mount || { echo "did not wait"; return 1; }
	[ "$(tresor status legacy --json | json '["state"]')" = locked ] &&
		tresor setkey legacy --legacy --key-file "$work/pass" && wait $mount && cmp /mnt/data "$work/data" && umount /mnt &&
		cryptsetup remove tresor
}
legacy_kernel_tests() { # what it derives is not known outside: parts against wholes
	insmod kernel/tresor_test.ko opaque=1
	local status=$?
	dmesg | grep 'tresor_test: not ok'
	cat /sys/module/tresor_test/parameters/result && rmmod tresor_test && [ $status = 0 ]
}
legacy_reads() { dd if=/dev/mapper/tresor of=/dev/null bs=4096 count=1 iflag=direct status=none; }
legacy_other_passphrase() { # after a death, a passphrase the mapping was not made with
	printf dummy | cryptsetup create tresor /dev/loop0 --cipher tresor --key-size 128 &&
		tresor setkey legacy --legacy --key-file "$work/pass" && legacy_reads && kill -9 $legacy_pid
	wait $legacy_pid
	legacy_reads &
	local read=$!
	start_legacy --setkey || return
	tresor setkey legacy --legacy --key-file "$work/pass-b"
	[ $? = 2 ] && kill -0 $read && tresor setkey legacy --legacy --key-file "$work/pass" && wait $read && mount -o ro /dev/mapper/tresor /mnt &&
		cmp /mnt/data "$work/data" && umount /mnt
}
legacy_taken_for_dead() {
	taken_for_dead $legacy_pid tresor && mount -o ro /dev/mapper/tresor /mnt && cmp /mnt/data "$work/data" && umount /mnt &&
		cryptsetup remove tresor
}
legacy_forgets() { # a mapping that is removed before its passphrase came holds up nothing
	printf dummy | cryptsetup create tresor /dev/loop0 --cipher tresor --key-size 128 && cryptsetup remove tresor &&
		losetup -d /dev/loop0 && sleep 1 && tresor close legacy && wait $legacy_pid
}
# taken_for_dead PID MAPPING: stopped for longer than hang_seconds, then continued.
taken_for_dead() {
	echo 2 >/sys/module/tresor/parameters/hang_seconds
	kill -STOP "$1"
	dd if="/dev/mapper/$2" of=/dev/null bs=4096 count=8 iflag=direct status=none &
	local read=$! i
	for i in $(seq 100); do grep "^$1 .* stopped" /sys/class/misc/tresor/daemons && break; sleep 0.1; done
	grep -q "^$1 .* stopped" /sys/class/misc/tresor/daemons || { echo "the watchdog is silent"; return 1; }
	echo 60 >/sys/module/tresor/parameters/hang_seconds
	kill -CONT "$1"
	wait $read && ! grep -q "^$1 .* stopped" /sys/class/misc/tresor/daemons
}

# ---- LUKS2 volumes ----

luks_equal() { # SECTOR: written by cryptsetup, read by us, and the other way round in one open
	blank /dev/ram0
	format /dev/ram0 "$work/pass" "$1" && cryptsetup open --key-file "$work/pass" /dev/ram0 stock && put stock && cryptsetup close stock &&
		open_kernel /dev/ram0 work "$work/pass" && same work && dd if=/dev/zero of=/dev/mapper/work bs=1M count=8 oflag=direct status=none &&
		dd if="$work/data" of=/dev/mapper/work bs=1M seek=8 oflag=direct status=none && tresor close work && [ ! -e /dev/mapper/work ] &&
		cryptsetup open --key-file "$work/pass" /dev/ram0 stock && cmp -n 8388608 /dev/mapper/stock /dev/zero &&
		dd if=/dev/mapper/stock bs=1M skip=8 count=8 iflag=direct status=none | cmp - "$work/data" && cryptsetup close stock
}
luks_wrong_passphrase() {
	open_kernel /dev/ram0 work "$work/pass-b"
	[ $? = 2 ] && [ ! -e /dev/mapper/work ]
}
luks_file() { # a file gets a loop device that goes with the mapping
	truncate -s 24M "$work/disk.img" && format "$work/disk.img" "$work/pass" 4096 &&
		[ "$(open_kernel "$work/disk.img" disk "$work/pass" --json | json '["uri"]')" = /dev/mapper/disk ] &&
		put disk && same disk && tresor close disk && [ -z "$(losetup -j "$work/disk.img")" ]
}
luks_two() {
	blank /dev/ram1
	format /dev/ram1 "$work/pass-b" 512 && open_kernel /dev/ram0 one "$work/pass" && open_kernel /dev/ram1 two "$work/pass-b" &&
		put one && put two && same one && same two && [ "$(wc -l </sys/class/misc/tresor/daemons)" = 2 ] &&
		tresor close two && same one && ! [ -e /dev/mapper/two ]
}
close_refused() {
	mkfs.ext4 -q -F /dev/mapper/one && mount /dev/mapper/one /mnt || return
	tresor close one
	[ $? = 5 ] && cp "$work/data" /mnt/data && sync && kill "$(pid_of one)" && sleep 8 && # dmsetup remove --retry tries for 5 s
		cmp /mnt/data "$work/data" && tresor status one >/dev/null && umount /mnt
}
lock_resume() {
	mount /dev/mapper/one /mnt && cp "$work/data" /mnt/locked && tresor lock one || return
	# The handle is gone from the kernel, I/O waits.
	! dmsetup table --showkeys one | grep -q "$(dmsetup table --showkeys one | cut -d' ' -f5 | grep -v '^0*$')" 2>/dev/null
	(echo more >/mnt/more && sync) &
	local writer=$!
	sleep 1
	kill -0 $writer || { echo "did not wait"; return 1; }
	[ "$(tresor status one --json | json '["state"]')" = locked ] &&
		tresor setkey one --key-file "$work/pass" && wait $writer && [ "$(cat /mnt/more)" = more ] &&
		echo 3 >/proc/sys/vm/drop_caches && cmp /mnt/locked "$work/data" && umount /mnt
}
killed_and_reopened() {
	local pid
	pid=$(pid_of one)
	fio --name=v --filename=/dev/mapper/one --rw=randwrite --bs=4k --iodepth=32 --ioengine=libaio --direct=1 --size=24M \
		--verify=crc32c --do_verify=0 --randseed=7 --rate_iops=1500 --minimal >"$work/fio" 2>&1 &
	local load=$!
	sleep 1
	kill -9 "$pid"
	sleep 1
	kill -0 $load || { echo "the load ended too early"; return 1; }
	open_kernel /dev/ram0 one "$work/pass" && wait $load &&
		fio --name=v --filename=/dev/mapper/one --rw=randwrite --bs=4k --iodepth=32 --ioengine=libaio --direct=1 \
			--size=24M --verify=crc32c --verify_only --randseed=7 --verify_fatal=1 --minimal >/dev/null
}
killed_for_good() {
	local begin=$SECONDS
	echo 3 >/sys/module/tresor/parameters/grace_seconds
	kill -9 "$(pid_of one)"
	! dd if=/dev/mapper/one of=/dev/null bs=4096 count=1 iflag=direct 2>&1 || return
	echo 60 >/sys/module/tresor/parameters/grace_seconds
	[ $((SECONDS - begin)) -lt 20 ] && open_kernel /dev/ram0 one "$work/pass" &&
		dd if=/dev/mapper/one of=/dev/null bs=4096 count=1 iflag=direct status=none
}
volume_taken_for_dead() {
	taken_for_dead "$(pid_of one)" one && [ "$(tresor status one --json | json '["state"]')" = unlocked ] &&
		grep -q "took this daemon for dead, it serves again" /run/tresor/one/log && tresor lock one &&
		tresor setkey one --key-file "$work/pass" && put one && same one
}
handle_of() { dmsetup table --showkeys "$1" | cut -d' ' -f5; }
mapping_upgraded() {
	local load pid handle
	handle=$(handle_of one)
	pid=$(pid_of one)
	mkfs.ext4 -q -F /dev/mapper/one && mount /dev/mapper/one /mnt || return
	endless_load /mnt/endless &
	load=$!
	for _ in 1 2 3; do
		pid=$(upgraded one "$pid") && kill -0 $load || return
	done
	end_load $load && [ "$(handle_of one)" = "$handle" ] && [ "$(pid_of one)" = "$pid" ] &&
		[ "$(wc -l </sys/class/misc/tresor/daemons)" = 1 ]
}
mapping_upgrade_fails() { # at each step; the old one serves on
	local load pid
	pid=$(pid_of one)
	endless_load /mnt/endless &
	load=$!
	for step in 'die ready' 'die go' 'cut done'; do
		upgrade_wrongly one $step && [ "$(pid_of one)" = "$pid" ] && kill -0 $load &&
			echo "$step" >/mnt/step && sync /mnt/step || return
	done
	end_load $load && echo 3 >/proc/sys/vm/drop_caches && [ "$(cat /mnt/step)" = 'cut done' ]
}
mapping_upgrade_refused() { # the module would not keep what waits
	echo 0 >/sys/module/tresor/parameters/grace_seconds
	tresor upgrade one 2>"$work/refused"
	[ $? = 4 ] && grep "grace_seconds is 0" "$work/refused" && echo 60 >/sys/module/tresor/parameters/grace_seconds &&
		echo more >/mnt/step && sync /mnt/step && rm /mnt/step /mnt/endless && umount /mnt
}
stacks_locked() { # each queue's thread: all of its stack is there, and stays
	awk '/^Size:/ { size = $2; rss = locked = 0 } /^Rss:/ { rss = $2 } /^Locked:/ {
		if (size >= 240 && size <= 256 && rss == size && $2 == size) n++ } END { print n + 0; exit n < 2 }' "/proc/$(pid_of one)/smaps"
}
freezer() { # the first step of each suspend: every task stands still, those that wait for the disk too
	fio --name=v --filename=/dev/mapper/one --rw=randrw --bs=4k --numjobs=8 --ioengine=psync --direct=1 --size=16M \
		--time_based --runtime=120 --minimal >/dev/null 2>&1 &
	local load=$! i bad=0
	sleep 2
	echo 5000 >/sys/power/pm_freeze_timeout
	echo 1 >/sys/module/suspend/parameters/pm_test_delay
	echo freezer >/sys/power/pm_test
	for i in 1 2 3 4 5; do echo freeze >/sys/power/state || bad=$((bad + 1)); sleep 0.5; done
	echo none >/sys/power/pm_test
	kill -0 $load || { echo "the load ended too early"; bad=9; }
	kill $load
	wait $load
	[ $bad = 0 ] || { echo "$bad of 5 aborted"; dmesg | grep -i freez | tail -n 20; return 1; }
	[ "$(tresor status one --json | json '["state"]')" = unlocked ]
}
product_pressure() {
	local pid
	pid=$(pid_of one)
	mkfs.ext4 -q -F /dev/mapper/one && mount /dev/mapper/one /mnt || return
	grep -q 'VmLck:.*[1-9]' "/proc/$pid/status" && [ "$(cat "/proc/$pid/oom_score_adj")" = -1000 ] || return
	stress_memory & local stress=$!
	dd if=/dev/zero of=/mnt/fill bs=1M count=24 conv=fsync status=none
	local status=$?
	kill $stress; wait $stress
	umount /mnt && return $status
}
product_discards() {
	truncate -s 40M "$work/thin" && format "$work/thin" "$work/pass" 4096 &&
		open_kernel "$work/thin" thin "$work/pass" --allow-discards && put thin && sync &&
		local before && before=$(stat -c %b "$work/thin") && blkdiscard /dev/mapper/thin &&
		[ "$(stat -c %b "$work/thin")" -lt "$before" ] && tresor close thin
}
readonly_mapping() {
	open_kernel "$work/disk.img" ro "$work/pass" --readonly && same ro &&
		! dd if=/dev/zero of=/dev/mapper/ro bs=4096 count=1 oflag=direct status=none 2>&1 && tresor close ro
}
usr1_and_status() {
	local pid
	pid=$(pid_of one)
	kill -USR1 "$pid" && sleep 1 && grep -q '"counters".*"module.encrypt"' /run/tresor/one/log &&
		[ "$(tresor status one --json | json '["counters"]["blocks"]')" -gt 0 ] &&
		[ "$(tresor kernel status --json | json '["daemons"][0]["pid"]')" = "$pid" ]
}
unload_refused() { tresor kernel unload; [ $? = 5 ]; }
nothing_logged_by_us() {
	local text
	for text in "first passphrase" "second passphrase" "$(hex "$work/pass")" "$(hex "$work/pass.key" | head -c 32)"; do
		if grep -rqF "$text" /run/tresor/*/log "$work"/*.log "$record" || dmesg | grep -qF "$text"; then
			echo "a secret is in a log"
			return 1
		fi
	done
}
all_closed() { tresor close one && tresor kernel unload && ! [ -e /dev/tresor/control ]; }
# What a daemon of version 2 of abi/kmod.h would do; and ours, where a module of version 2 has made its node.
former_daemon() {
	! python3 -c 'import os; os.open("/dev/tresor", os.O_RDWR)' 2>"$work/former" && grep -q IsADirectoryError "$work/former"
}
former_module() {
	local status
	mknod -m 600 /dev/tresor c 10 127 || return
	open_kernel /dev/ram0 one "$work/pass" 2>"$work/former"
	status=$?
	dist/tresord --legacy 2>>"$work/former"
	[ $? = 4 ] && [ $status = 4 ] && rm /dev/tresor && cat "$work/former" &&
		[ "$(grep -c 'the loaded tresor.ko is of another version' "$work/former")" = 2 ]
}

head -c 64 /dev/urandom >"$work/pass.key"
truncate -s 24M "$work/sealed"
check "tresord --legacy starts" start_legacy
check "2016: README, container file" readme_container
check "2016: the record is private" record_kept
check "2016: the daemon ends" stop_legacy
check "2016: the daemon starts again" start_legacy
check "2016: the container opens again" readme_container_again
check "2016: the daemon ends again" stop_legacy
check "2016: another record, with a cheap KDF" cheap_record
check "2016: the daemon starts with it" start_legacy
check "2016: README, partition" readme_partition
check "2016: tresor_test.ko passes over tresord" legacy_kernel_tests
check "2016: another passphrase shows no filesystem" legacy_wrong_passphrase
check "2016: xts, cbc-essiv and ctr mappings read back what they wrote" legacy_modes_equal
check "2016: the daemon stays while a mapping needs it" legacy_close_refused
check "2016: the daemon ends once more" stop_legacy
check "2016 hardened: tresord --legacy --setkey starts" start_legacy --setkey
check "2016 hardened: tresor setkey, then cryptsetup with a dummy" setkey_first
check "2016 hardened: cryptsetup with a dummy, then tresor setkey" setkey_later
check "2016 hardened: another passphrase after a death is refused, what waits goes on waiting" legacy_other_passphrase
check "2016 hardened: a daemon taken for dead serves again" legacy_taken_for_dead
check "2016 hardened: a mapping removed before its passphrase came is forgotten, close works" legacy_forgets
for sector in 512 4096; do
	check "open --kernel equals cryptsetup both ways, sector $sector" luks_equal $sector
done
check "open --kernel: a wrong passphrase leaves nothing, exit 2" luks_wrong_passphrase
check "open --kernel on a file" luks_file
check "open --kernel: two volumes, two daemons" luks_two
check "close of a mounted volume is refused, SIGTERM too" close_refused
check "lock wipes the key, setkey resumes" lock_resume
check "a tresord taken for dead serves again; lock and setkey work" volume_taken_for_dead
check "taken over three times under load: the mount lives, fio verify is clean" mapping_upgraded
check "a takeover that fails at any step leaves the old tresord serving" mapping_upgrade_fails
check "a takeover without grace_seconds is refused" mapping_upgrade_refused
check "the queues' stacks are locked whole" stacks_locked
check "SIGUSR1 and status count" usr1_and_status
check "kill -9 of tresord under load, open again: nothing is lost" killed_and_reopened
check "kill -9 of tresord, nobody comes: EIO, and usable after" killed_for_good
check "suspend: all tasks freeze under load, five times" freezer
check "writeback through tresord under memory pressure" product_pressure
check "open --kernel: fio verify, random sizes, depth 32, 4 jobs" fio_verify /dev/mapper/one
check "open --kernel: ext4, random churn against a model, fsck clean" ext4_churn /dev/mapper/one
check "discards pass through open --kernel" product_discards
check "a read-only mapping" readonly_mapping
check "unload is refused while in use" unload_refused
check "a daemon that looks for the module at /dev/tresor finds a directory" former_daemon
check "no passphrase in any log" nothing_logged_by_us
check "close and unload" all_closed
check "a module whose node is /dev/tresor: open --kernel and tresord --legacy name its version" former_module
check "product: the log is clean" clean_log
