# A block device on a kernel whose ublk changes the size of a device in use (UPDATE_SIZE): no dm-linear mapping lies over it.
source test/vm/block.sh
newest_store="$work/store"
newest_open() {
	truncate -s 64M "$newest_store" && block_open 4096 "$newest_store" one && mkfs.ext4 -q -F "$(node one)" &&
		is_bare one && mount "$(node one)" /mnt && cp "$work/data" /mnt/data && sync -f /mnt/data
}
is_bare() { # NAME
	[[ $(readlink "$(node "$1")") == /dev/ublkb* ]] && [ ! -e "/dev/mapper/$1" ]
}
newest_resized() {
	umount /mnt && truncate -s 40M "$work/thin" && format "$work/thin" "$work/block-pass" 4096 && open_block "$work/thin" thin &&
		is_bare thin && block_resize
}
newest_killed_after_resize() { # the device that is taken over has the size that it was given
	local size
	size=$(blockdev --getsize64 "$(node one)")
	mount "$(node one)" /mnt && truncate -s 80M "$newest_store" && tresor resize one && kill -9 "$(daemon_of one)" &&
		open_block "$newest_store" one && is_bare one && [ "$(blockdev --getsize64 "$(node one)")" = $((size + (16 << 20))) ] &&
		resize2fs "$(node one)" && cp "$work/data" /mnt/more && umount /mnt && e2fsck -fn "$(node one)"
}
newest_closed() {
	put "$(node one)" && tresor close one && [ ! -e "$(node one)" ] && [ -z "$(ls /dev/ublk[bc]* 2>/dev/null)" ] &&
		stock "$newest_store" && same /dev/mapper/stock && cryptsetup close stock
}
check "newest: a volume is ublk's device, without dm-linear" newest_open
check "newest: kill -9 of tresord under load, open again, twice: the mount lives, fio verify is clean" block_killed "$newest_store"
check "newest: resize by UPDATE_SIZE with the filesystem mounted and written to" newest_resized
check "newest: kill -9 of tresord after a resize, open again" newest_killed_after_resize
check "newest: close leaves nothing, cryptsetup reads what was written" newest_closed
check "newest: the log is clean" clean_log
