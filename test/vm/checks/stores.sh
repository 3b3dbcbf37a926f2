# Volumes over stores that fail: a filesystem that is frozen or full, a disk that hangs, has only errors, or is pulled out.
# `two` (/dev/vda, of the part block) stands for all other volumes.
source test/vm/block.sh
[ -b "$(node two)" ] || { format /dev/vda "$work/block-pass" 512 && open_block /dev/vda two --direct; }
state() { tresor status "$1" --json | json '["state"]'; }
drop_caches() { echo 3 >/proc/sys/vm/drop_caches; }
others_go_on() { put "$(node two)" && same "$(node two)"; }
# On /mnt, past its page cache and in the background; $writer is its process.
write_file() { # FILE
	dd if="$work/data" of="$1" bs=64k oflag=direct conv=fsync status=none 2>"$work/writer" &
	writer=$!
}
still_waits() { kill -0 "$writer" || { echo "the writer did not wait"; return 1; }; }
under_way() { # NAME: a request of it waits for the store
	local i
	for i in $(seq 100); do
		[ "$(tresor status "$1" --json | json '["disk"]["underWay"]')" = 0 ] || return 0
		sleep 0.5
	done
	echo "nothing waits for the store"
	return 1
}
# A filesystem on /mnt, with a file that was made durable.
mount_new() { # DEVICE
	mkfs.ext4 -q -F "$1" && mount -o noatime "$1" /mnt && cp "$work/data" /mnt/before && sync -f /mnt/before
}
both_files() { drop_caches && cmp /mnt/before "$work/data" && cmp /mnt/after "$work/data"; }
refused_with() { # WORDS COMMAND...
	if "${@:2}" >"$work/refused" 2>&1; then echo "not refused: ${*:2}"; return 1; fi
	cat "$work/refused"
	grep -qE "$1" "$work/refused"
}

# ---- a filesystem, full, then frozen ----

write_room() { # of which the sparse file has none yet
	dd if="$work/data" of="$(node small)" bs=1M seek=32 oflag=direct status=none
}
store_full() {
	mkfs.ext4 -q -F /dev/ram1 && mkdir -p "$work/small" && mount -o noatime /dev/ram1 "$work/small" &&
		truncate -s 48M "$work/small/image" && format "$work/small/image" "$work/block-pass" 4096 &&
		open_block "$work/small/image" small && put "$(node small)" || return
	refused_with 'No space left' dd if=/dev/zero of="$work/small/filler" bs=4k status=none &&
		refused_with 'No space left' write_room && put "$(node small)" && sync "$(node small)" && same "$(node small)" &&
		[ "$(state small)" = unlocked ] && rm "$work/small/filler" && write_room &&
		dd if="$(node small)" bs=1M skip=32 count=8 iflag=direct status=none | cmp - "$work/data"
}
frozen_answers() {
	under_way small && others_go_on && tresor lock small && [ "$(state small)" = locked ] &&
		tresor setkey small --key-file "$work/block-pass" && [ "$(state small)" = unlocked ] || return
	tresor close small
	[ $? = 5 ] && still_waits
}
store_frozen() {
	mount_new "$(node small)" && fsfreeze --freeze "$work/small" || return
	write_file /mnt/after
	frozen_answers
	local status=$?
	fsfreeze --unfreeze "$work/small" && wait "$writer" && both_files && umount /mnt && tresor close small &&
		umount "$work/small" && return $status
}
# ---- a disk that hangs, then has only errors ----

# Memory alone takes no flush, and nothing would wait for one.
linear="0 131072 linear /dev/loop2 0"
disk_is() { # TABLE
	dmsetup suspend --nolockfs disk && dmsetup reload disk --table "$1" && dmsetup resume disk
}
store_hangs() {
	losetup /dev/loop2 /dev/ram1 && format /dev/loop2 "$work/block-pass" 4096 && dmsetup create disk --table "$linear" &&
		open_block /dev/mapper/disk hung && mount_new "$(node hung)" && dmsetup suspend --nolockfs disk || return
	write_file /mnt/after
	under_way hung && others_go_on && tresor lock hung && [ "$(state hung)" = locked ] && still_waits
	local status=$?
	dmsetup resume disk && tresor setkey hung --key-file "$work/block-pass" && wait "$writer" && both_files && return $status
}
# On the device itself, past every cache.
write_raw() {
	dd if="$work/data" of="$(node hung)" bs=64k oflag=direct status=none 2>"$work/writer" &
	writer=$!
}
close_refused() { # CODE WORDS MORE...: in a time that is limited; it stays open
	timeout 300 dist/tresor close hung "${@:3}" 2>"$work/refused"
	local code=$?
	cat "$work/refused"
	[ $code = "$1" ] && grep -q "$2" "$work/refused" && [ "$(state hung)" = unlocked ]
}
ended() { until [ ! -e "/proc/$1" ]; do sleep 0.1; done; } # PID
store_hangs_raw() { # below somebody who writes to the device itself
	local pid status
	umount /mnt && dmsetup suspend --nolockfs disk || return
	pid=$(daemon_of hung)
	write_raw
	under_way hung && close_refused 5 'is in use; unmount it, or end what has it open' && close_refused 5 'is in use' --force &&
		kill -TERM "$pid" && until grep -q 'goes on' /run/tresor/hung/log; do sleep 0.1; done && still_waits
	status=$?
	dmsetup resume disk && wait "$writer" && same "$(node hung)" && [ $status = 0 ] || return
	# And the same with a kill, which ends when the disk lets it.
	dmsetup suspend --nolockfs disk && write_raw
	under_way hung && kill -9 "$pid" && still_waits
	status=$?
	dmsetup resume disk && ended "$pid" && open_block /dev/mapper/disk hung && wait "$writer" && same "$(node hung)" && return $status
}
store_hangs_close() { # with nobody on the device
	local pid
	upgrade_by_successor hung impatient '' && pid=$(daemon_of hung) && mount_new "$(node hung)" && umount /mnt &&
		dmsetup suspend --nolockfs disk || return
	close_refused 4 'has not answered .*; it stays open, and nothing is lost' && close_refused 4 'has not answered' || return
	timeout 300 dist/tresor close hung --force 2>"$work/closed"
	[ $? = 4 ] && cat "$work/closed" && grep 'stays, with what waits on it, until the volume is opened again' "$work/closed" || return
	dmsetup resume disk && ended "$pid" && open_block /dev/mapper/disk hung && mount -o noatime "$(node hung)" /mnt && drop_caches &&
		cmp /mnt/before "$work/data" && cp "$work/data" /mnt/after && sync -f /mnt/after
}
write_durably() { dd if="$work/data" of="$(node hung)" bs=4096 count=1 oflag=direct,dsync status=none; }
store_errors() {
	disk_is "0 131072 error" || return
	write_file /mnt/more
	! wait "$writer" && grep 'Input/output error' "$work/writer" && others_go_on && umount /mnt &&
		[ "$(state hung)" = unlocked ] && refused_with 'Input/output error' write_durably || return
	tresor close hung 2>"$work/closed"
	[ ! -e "$(node hung)" ] && disk_is "$linear" && open_block /dev/mapper/disk hung && mount "$(node hung)" /mnt && both_files &&
		umount /mnt && e2fsck -fn "$(node hung)" && tresor close hung && dmsetup remove disk && losetup -d /dev/loop2
}

# ---- a disk that is pulled out ----

pulled_write() {
	if [ -b "$(node pulled)" ]; then put "$(node pulled)" && sync "$(node pulled)"
	else qemu-io -f raw -c 'write -P 7 0 8M' -c flush "$pulled"; fi
}
pulled_read() {
	if [ -b "$(node pulled)" ]; then dd if="$(node pulled)" of=/dev/null bs=1M count=4 iflag=direct status=none
	else qemu-io -f raw -c 'read 0 4M' "$pulled"; fi
}
store_pulled() { # MORE...: of `tresor open`
	local disk
	{ [ ! -d /sys/module/scsi_debug ] || rmmod scsi_debug; } && modprobe sd_mod && modprobe scsi_debug dev_size_mb=64 || return
	for _ in $(seq 100); do
		disk=$(ls /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*:*/block) && [ -b "/dev/$disk" ] && break
		sleep 0.2
	done
	format "/dev/$disk" "$work/block-pass" 512 &&
		pulled=$(tresor open "/dev/$disk" pulled --key-file "$work/block-pass" --json "$@" | json '["uri"]') &&
		pulled_write && pulled_read && echo 1 >"/sys/block/$disk/device/delete" || return
	# A device that has gone has no sectors: what is written is past its end.
	refused_with 'Input/output error' pulled_read && refused_with 'Input/output error|No space left' pulled_write && others_go_on &&
		state pulled || return
	tresor close pulled 2>"$work/closed"
	[ ! -e "$(node pulled)" ] && rmmod scsi_debug
}
check "stores: below a block device a full filesystem: ENOSPC for what needs room, all else goes on" store_full
check "stores: below a block device a frozen filesystem: writes wait, all else answers; thawed, nothing is lost" store_frozen
check "stores: below a block device a disk that hangs: all else answers; back again, nothing is lost" store_hangs
check "stores: a disk hangs below who writes to the block device: close and SIGTERM refuse, after a kill open goes on; nothing is lost" store_hangs_raw
check "stores: a disk hangs below a block device that nobody uses: close refuses, --force leaves the device, open goes on" store_hangs_close
check "stores: below a block device a disk with only errors: a volume closes, what was durable is there" store_errors
check "stores: a disk is pulled out below a block device" store_pulled --block
check "stores: a disk is pulled out below an NBD export" store_pulled
