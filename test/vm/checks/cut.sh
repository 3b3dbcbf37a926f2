# Writes that are made durable until the host cuts the power. A program may rely on each line "durable NAME NUMBER".
source test/vm/block.sh
cut_begin() {
	[ -b "$(node two)" ] || { format /dev/vda "$work/block-pass" 512 && open_block /dev/vda two --direct; } || return
	format /dev/vdb "$work/block-pass" 4096 && cut_open && mkfs.ext4 -q -F "$(node files)" && mount "$(node files)" /mnt && sync
}
cut_write() {
	local writer name path slots batch how pids=()
	for writer in $cut_writers; do
		IFS=: read -r name path slots batch how <<<"$writer"
		build/vm/durable write "$name" "$path" "$slots" "$batch" "$how" >&3 &
		pids+=($!)
	done
	# None of them ends by itself.
	wait -n "${pids[@]}"
	kill "${pids[@]}"
	return 1
}
check "cut: a filesystem and a bare device" cut_begin
mountpoint -q /mnt && {
	cut_name="cut: the writers go on until the power is cut"
	echo "$((SECONDS + 180)) $cut_name" >"$work/running"
	cut_write >"$work/output" 2>&1
	say "not ok $cut_name"
	sed 's/^/# /' "$work/output" >&3
}
