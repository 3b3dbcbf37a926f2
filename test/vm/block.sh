# What the parts on kernels with ublk_drv share. Each `tresor open` costs an emulated machine some ten seconds, so volumes
# stay open from one check to the next: one (memory, sectors of 4096), two (/dev/vda, 512, past the page cache).
modprobe virtio_blk
printf 'block device' >"$work/block-pass"
node() { echo "/dev/tresor/$1"; }
open_block() { tresor open "$1" "$2" --block --key-file "$work/block-pass" "${@:3}"; } # STORE NAME [MORE...]
# The daemon by the name it has in ps: `tresor status` takes seconds.
daemon_of() { pgrep -f "^tresord: $1 "; }

# Flows that each kernel with ublk_drv is to have.
[ -e "$work/data" ] || head -c 8M /dev/urandom >"$work/data"
put() { dd if="$work/data" of="$1" bs=1M oflag=direct status=none; }
same() { dd if="$1" bs=1M count=8 iflag=direct status=none | cmp - "$work/data"; }
stock() { cryptsetup open --key-file "$work/block-pass" "$1" stock; }
block_open() { # SECTOR STORE NAME [MORE...]: what cryptsetup wrote is read
	format "$2" "$work/block-pass" "$1" && stock "$2" && put /dev/mapper/stock && cryptsetup close stock &&
		open_block "$2" "${@:3}" && [ "$(blockdev --getss "$(node "$3")")" = "$1" ] && same "$(node "$3")"
}
verified_load() { # MORE...
	fio --name=v --filename=/mnt/load --rw=randwrite --bs=4k --iodepth=32 --ioengine=libaio --direct=1 --size=24M \
		--verify=crc32c --randseed=7 --minimal "$@"
}
written_load() { verified_load --do_verify=0 --rate_iops=300 >"$work/fio" 2>&1; }
block_killed() { # STORE: twice in a row; the filesystem on it stays mounted
	written_load &
	local load=$!
	for _ in 1 2; do
		sleep 2
		kill -9 "$(daemon_of one)"
		sleep 1
		kill -0 $load || { echo "the load ended too early"; return 1; }
		open_block "$1" one || return
	done
	wait $load && cp "$work/data" /mnt/after && sync /mnt/after && echo 3 >/proc/sys/vm/drop_caches &&
		verified_load --verify_only --verify_fatal=1 >/dev/null && cmp /mnt/data "$work/data" && cmp /mnt/after "$work/data"
}
block_resize() { # with its filesystem mounted and written to
	mkfs.ext4 -q -F "$(node thin)" && mount "$(node thin)" /mnt && cp "$work/data" /mnt/data || return
	local before load status
	before=$(blockdev --getsize64 "$(node thin)")
	rm -f "$work/load"
	while sleep 0.1; do dd if="$work/data" of=/mnt/more bs=64k count=16 conv=fsync status=none || echo failed >>"$work/load"; done &
	load=$!
	truncate -s 72M "$work/thin" && tresor resize thin
	status=$?
	sleep 1
	kill $load
	wait $load
	[ $status = 0 ] && [ ! -e "$work/load" ] && [ "$(blockdev --getsize64 "$(node thin)")" = $((before + (32 << 20))) ] &&
		resize2fs "$(node thin)" && dd if=/dev/urandom of=/mnt/fill bs=1M count=40 conv=fsync status=none &&
		umount /mnt && e2fsck -fn "$(node thin)" && tresor close thin && [ ! -e "$(node thin)" ]
}

# Who makes what durable: NAME:PATH:SLOTS:BATCH:HOW, as durable.c reads them. The filesystem is stored through the
# guest's page cache.
cut_writers="appended:/mnt/appended:1000000:1:fsync rewritten:/mnt/rewritten:64:8:fsync replaced:/mnt/replaced:1:1:rename
	fua:/dev/tresor/two:256:1:dsync"
cut_open() { open_block /dev/vdb files; }
