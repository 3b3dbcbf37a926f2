# The boot after: tresor.durable=NAME:NUMBER,... is what the host was told before the power went.
source test/vm/block.sh
recut_open() { cut_open && open_block /dev/vda two --direct; }
recut_mounts() { mount "$(node files)" /mnt; }
recut_durable() {
	local writer said name path slots rest status=0
	for writer in $cut_writers; do
		IFS=: read -r name path slots rest <<<"$writer"
		said=$(sed -n "s/.*[=,]$name:\([0-9]*\).*/\1/p" /proc/cmdline)
		echo "$name: record $said was durable"
		[ -n "$said" ] && build/vm/durable check "$path" "$slots" "$said" || status=1
	done
	return $status
}
recut_end() { umount /mnt && e2fsck -fn "$(node files)" && tresor close files && tresor close two; }
check "cut: both volumes open again" recut_open
check "cut: the filesystem mounts" recut_mounts
check "cut: what fsync, O_DSYNC and rename had made durable is there" recut_durable
check "cut: the filesystem is clean, both volumes close" recut_end
check "cut: the log is clean" clean_log
