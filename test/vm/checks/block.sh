# A block device without a module of ours: `tresor open --block`, on a kernel that has ublk_drv.
source test/vm/block.sh
flushes_of() { awk '{ print $16 }' "/sys/block/$1/stat"; } # DRIVE: how many it has completed
what_is_left() { { ls -d /dev/tresor/* /run/tresor/* /dev/mapper/* /dev/ublk[bc]*; pgrep -af '^tresord'; losetup -a; } 2>/dev/null; }

block_wrong_passphrase() {
	local before
	format /dev/ram1 "$work/block-pass" 512 && printf another >"$work/other-pass" || return
	before=$(what_is_left)
	tresor open /dev/ram1 other --block --key-file "$work/other-pass"
	[ $? = 2 ] && diff <(echo "$before") <(what_is_left)
}
block_two() {
	dd if=/dev/zero of="$(node two)" bs=1M count=8 oflag=direct status=none && same "$(node one)" && ! same "$(node two)" &&
		[ "$(daemon_of one)" != "$(daemon_of two)" ] && put "$(node two)" && same "$(node two)"
}
block_flush() { # what the kernel asks for by itself, and FUA, reach the drive; a plain write does not ask
	local before after
	before=$(flushes_of vda)
	dd if="$work/data" of="$(node two)" bs=4096 count=8 oflag=direct status=none
	[ "$(flushes_of vda)" = "$before" ] || { echo "a plain write flushes"; return 1; }
	sync "$(node two)"
	after=$(flushes_of vda)
	[ "$after" -gt "$before" ] || { echo "FLUSH does not reach the drive"; return 1; }
	dd if="$work/data" of="$(node two)" bs=4096 count=4 oflag=direct,dsync status=none
	[ "$(flushes_of vda)" -ge $((after + 4)) ] || { echo "FUA does not reach the drive"; return 1; }
}
block_no_discards() { ! blkdiscard "$(node one)" 2>"$work/refused" && cat "$work/refused" && same "$(node one)"; }
block_close_refused() { # the device is mounted
	mkfs.ext4 -q -F "$(node one)" && mount "$(node one)" /mnt || return
	tresor close one
	[ $? = 5 ] && cp "$work/data" /mnt/data && sync /mnt/data && cmp /mnt/data "$work/data"
}
block_lock() {
	tresor lock one || return
	(echo more >/mnt/more && sync /mnt/more) &
	local writer=$!
	sleep 2
	kill -0 $writer || { echo "did not wait"; return 1; }
	tresor setkey one --key-file "$work/block-pass" && wait $writer && [ "$(cat /mnt/more)" = more ] &&
		echo 3 >/proc/sys/vm/drop_caches && cmp /mnt/data "$work/data"
}
shown() { # what a takeover changes nothing of
	ls /dev/ublk[bc]* /dev/mapper /run/tresor/.block 2>&1
	readlink "$(node one)"
	dmsetup table
	grep ' /mnt ' /proc/mounts
}
block_upgraded() { # the filesystem stays mounted
	local load before pid
	rm -f /mnt/load
	before=$(shown)
	pid=$(daemon_of one)
	endless_load /mnt/endless &
	load=$!
	for _ in 1 2 3 4; do
		pid=$(upgraded one "$pid") && kill -0 $load || return
	done
	end_load $load && diff <(echo "$before") <(shown) && tresor status one --json >"$work/status" &&
		[ "$(json '["state"]' <"$work/status")" = unlocked ] && [ "$(json '["pid"]' <"$work/status")" = "$pid" ] &&
		[ "$(json '["counters"]["bytesWritten"]' <"$work/status")" -gt 1000000 ] && cmp /mnt/data "$work/data"
}
block_upgrade_fails() { # at each step; the old one serves on
	local load pid
	pid=$(daemon_of one)
	endless_load /mnt/endless &
	load=$!
	for step in 'die ready' 'die go' 'die endUserRecovery' 'die recovered' 'cut done'; do
		upgrade_wrongly one $step && [ "$(daemon_of one)" = "$pid" ] && kill -0 $load &&
			echo "$step" >/mnt/step && sync /mnt/step || return
	done
	end_load $load && echo 3 >/proc/sys/vm/drop_caches && cmp /mnt/data "$work/data" && [ "$(cat /mnt/step)" = 'cut done' ]
}
block_upgrade_orphans() { # from "ready" on, the successor serves; each but the first kills, or ends, the one before
	local load pid old
	pid=$(daemon_of one)
	endless_load /mnt/endless &
	load=$!
	for step in 'orphan go' 'orphan endUserRecovery' 'orphan recovered' 'retire ready' 'retire go' 'retire done' product; do
		echo "$step"
		old=$pid
		if [ "$step" = product ]; then upgrade_with one dist/tresord; else upgrade_by_successor one $step; fi >"$work/answer"
		cat "$work/answer"
		until [ ! -e "/proc/$old" ]; do sleep 0.1; done
		pid=$(daemon_of one)
		# Only the one that is to die in the next takeover ends by itself, and answers.
		[ -n "$pid" ] && [ "$(grep -c '"pid"' "$work/answer")" = "$([ "$step" = 'retire ready' ]; echo $((1 - $?)))" ] &&
			kill -0 $load && echo "$step" >/mnt/step && sync /mnt/step || return
	done
	end_load $load && echo 3 >/proc/sys/vm/drop_caches && cmp /mnt/data "$work/data" && [ "$(cat /mnt/step)" = product ] &&
		tresor status one --json >"$work/status" && [ "$(json '["pid"]' <"$work/status")" = "$pid" ]
}
block_upgrade_kills_both() { # STORE: `tresor open` goes on with what they leave
	local load step
	endless_load /mnt/endless &
	load=$!
	for step in endUserRecovery recovered; do
		upgrade_by_successor one both $step
		until [ -z "$(daemon_of one)" ]; do sleep 0.1; done
		kill -0 $load && open_block "$1" one && echo "$step" >/mnt/step && sync /mnt/step || return
	done
	end_load $load && echo 3 >/proc/sys/vm/drop_caches && cmp /mnt/data "$work/data" && [ "$(cat /mnt/step)" = recovered ]
}
block_upgrade_refused() { # another enclave, which the owner has not approved
	local pid
	pid=$(daemon_of one)
	build/vm/other/dist/tresor upgrade one
	[ $? = 2 ] && [ "$(daemon_of one)" = "$pid" ] && echo more >/mnt/step && sync /mnt/step && rm /mnt/step /mnt/endless
}
in_pass() { tresor status one --json | json '["reencryption"]["state"]' 2>/dev/null | grep -q running; }
block_reencrypted() { # mounted and written to; killed in the pass
	local load first
	rm -f /mnt/load
	written_load &
	load=$!
	tresor reencrypt one -q --key-file "$work/block-pass" --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --throttle 1 \
		--hotzone-size 4M &
	first=$!
	until in_pass; do kill -0 $first || { echo "it ended too early"; return 1; }; done
	kill -9 "$(daemon_of one)"
	wait $first
	open_block /dev/ram0 one 2>"$work/pending" && grep 'is pending' "$work/pending" && wait $load &&
		tresor reencrypt --resume one --key-file "$work/block-pass" && echo 3 >/proc/sys/vm/drop_caches &&
		verified_load --verify_only --verify_fatal=1 >/dev/null && cmp /mnt/data "$work/data" &&
		[ "$(cryptsetup luksDump /dev/ram0 | grep -c 'luks2$')" = 1 ] && ! cryptsetup luksDump /dev/ram0 | grep Requirements
}
completed() { awk '{ print $1 + $5 }' "/sys/class/block/$(basename "$(readlink -f "$(node one)")")/stat"; }
block_frozen() { # in the cgroup freezer for seconds, under load
	local group=/sys/fs/cgroup/frozen load pid before
	pid=$(daemon_of one)
	mountpoint -q /sys/fs/cgroup || mount -t cgroup2 none /sys/fs/cgroup
	mkdir -p $group && echo "$pid" >$group/cgroup.procs || return
	written_load &
	load=$!
	sleep 2
	echo 1 >$group/cgroup.freeze
	until grep -q '^frozen 1' $group/cgroup.events; do sleep 0.1; done
	sleep 1
	before=$(completed)
	sleep 5
	[ "$(completed)" = "$before" ] && kill -0 $load || { echo "it was not frozen"; return 1; }
	echo 0 >$group/cgroup.freeze
	wait $load && echo "$pid" >/sys/fs/cgroup/cgroup.procs && rmdir $group && echo 3 >/proc/sys/vm/drop_caches &&
		verified_load --verify_only --verify_fatal=1 >/dev/null && cmp /mnt/data "$work/data"
}
block_pressure() { # nearly all memory is dirty; then the writer has a small memory cgroup
	local group=/sys/fs/cgroup/pressed stress status pid
	pid=$(daemon_of one)
	grep -q 'VmLck:.*[1-9]' "/proc/$pid/status" && [ "$(cat "/proc/$pid/oom_score_adj")" = -1000 ] || return
	rm /mnt/load /mnt/after
	stress_memory & stress=$!
	dd if=/dev/zero of=/mnt/fill bs=1M count=24 conv=fsync status=none
	status=$?
	kill $stress
	wait $stress
	mountpoint -q /sys/fs/cgroup || mount -t cgroup2 none /sys/fs/cgroup
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control && mkdir -p $group && echo 16M >$group/memory.max || return
	(echo $BASHPID >$group/cgroup.procs && exec dd if=/dev/zero of=/mnt/fill bs=1M count=32 conv=fsync status=none) || status=1
	grep -q '^oom_kill 0' $group/memory.events || status=1
	umount /mnt && rmdir $group && e2fsck -fn "$(node one)" && return $status
}
block_discards() {
	truncate -s 40M "$work/thin" && format "$work/thin" "$work/block-pass" 4096 &&
		open_block "$work/thin" thin --allow-discards && put "$(node thin)" || return
	local before
	before=$(stat -c %b "$work/thin")
	blkdiscard -l 8M "$(node thin)" && [ "$(stat -c %b "$work/thin")" -lt $((before - 12000)) ] && put "$(node thin)" &&
		blkdiscard -z -l 4M "$(node thin)" && cmp -n 4194304 "$(node thin)" /dev/zero
}
block_mount() { # read-only
	tresor mount "$work/thin" /mnt --name thin --readonly --key-file "$work/block-pass" >"$work/mounted" && cat "$work/mounted" &&
		grep -q 'by ublk' "$work/mounted" && [ "$(blockdev --getro "$(node thin)")" = 1 ] && cmp /mnt/data "$work/data" &&
		! dd if=/dev/zero of="$(node thin)" bs=4096 count=1 oflag=direct status=none && tresor umount /mnt && [ ! -e "$(node thin)" ]
}
fat() { # arguments: a type, owner and mode of a file as expected, options of the mount
	SUDO_UID=1234 SUDO_GID=4321 tresor mount "$work/thin" /mnt --name thin --mkfs "$1" --force --key-file "$work/block-pass" "${@:3}" &&
		grep -q "^/dev/[^ ]* /mnt $1 " /proc/mounts && cp "$work/data" /mnt/data && cmp /mnt/data "$work/data" &&
		[ "$(stat -c '%u %g %a' /mnt/data)" = "$2" ] && tresor umount /mnt
}
block_fat() {
	fat vfat '1234 4321 755' && fat exfat '7 4321 700' --options uid=7,umask=077
}
block_closed() { # and what was written is what cryptsetup reads
	put "$(node one)" && tresor close one && stock /dev/ram0 && same /dev/mapper/stock && cryptsetup close stock &&
		[ "$(what_is_left | grep -cE 'one|thin|ublkb')" = 1 ]
}

check "block: sectors of 4096, written by cryptsetup" block_open 4096 /dev/ram0 one
check "block: sectors of 512 and --direct, written by cryptsetup" block_open 512 /dev/vda two --direct
check "block: two volumes, two devices, two daemons" block_two
check "block: a wrong passphrase leaves nothing, exit 2" block_wrong_passphrase
check "block: FLUSH and FUA reach the drive, a plain write does not flush" block_flush
check "block: discards are refused without --allow-discards" block_no_discards
check "block: fio verify, random sizes, depth 32, 4 jobs" fio_verify "$(node one)"
check "block: fio verify, sectors of 512, --direct" fio_verify "$(node two)"
check "block: ext4, random churn against a model, fsck clean" ext4_churn "$(node one)"
check "block: close of a mounted device is refused, exit 5" block_close_refused
check "block: lock lets I/O wait, setkey resumes it" block_lock
check "block: kill -9 of tresord under load, open again, twice: the mount lives, fio verify is clean" block_killed /dev/ram0
check "block: taken over four times under load: the mount lives, fio verify is clean" block_upgraded
check "block: a takeover that fails at any step leaves the old tresord serving" block_upgrade_fails
check "block: a tresord that dies in a takeover, from the moment that all is handed over, is followed by its successor" block_upgrade_orphans
check "block: both die in a takeover: open takes the device over, the mount lives" block_upgrade_kills_both /dev/ram0
check "block: a takeover by an enclave that the owner did not approve is refused" block_upgrade_refused
check "block: reencrypted while mounted and written to, tresord killed in the pass" block_reencrypted
check "block: frozen by its cgroup under load, and thawed" block_frozen
check "block: writeback under memory pressure and in a memory cgroup" block_pressure
check "block: discards and zeroes reach the store" block_discards
check "block: resize with the filesystem mounted and written to" block_resize
check "block: tresor mount takes ublk; a read-only device" block_mount
check "block: vfat and exfat are made, and belong to the caller" block_fat
check "block: close leaves nothing, cryptsetup reads what was written" block_closed
drive_reencrypted() { # closed, then open and written to; the host cuts the power at many of its writes
	local writer status
	printf portable >"$work/portable"
	tresor reencrypt /dev/vdc -q --key-file "$work/portable" --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --hotzone-size 2M &&
		tresor open /dev/vdc drive --block --key-file "$work/portable" || return
	build/vm/durable write drive "$(node drive)" $(($(blockdev --getsize64 "$(node drive)") / 4096)) 1 scattered >&3 &
	writer=$!
	tresor reencrypt drive -q --key-file "$work/portable" --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --hotzone-size 2M
	status=$?
	# It ends by itself only when a write fails.
	kill $writer || status=1
	wait $writer
	[ $status = 0 ] && tresor close drive
}
check "block: a drive is reencrypted, closed and open" drive_reencrypted
check "block: the log is clean" clean_log
