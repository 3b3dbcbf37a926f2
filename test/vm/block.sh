# What the parts block, cut and recut share. Each `tresor open` costs an emulated machine some ten seconds, so volumes
# stay open from one check to the next: one (memory, sectors of 4096), two (/dev/vda, 512, past the page cache).
modprobe virtio_blk
printf 'block device' >"$work/block-pass"
node() { echo "/dev/tresor/$1"; }
open_block() { tresor open "$1" "$2" --block --key-file "$work/block-pass" "${@:3}"; } # STORE NAME [MORE...]
# The daemon by the name it has in ps: `tresor status` takes seconds.
daemon_of() { pgrep -f "^tresord: $1 "; }

# Who makes what durable: NAME:PATH:SLOTS:BATCH:HOW, as durable.c reads them. The filesystem is stored through the
# guest's page cache.
cut_writers="appended:/mnt/appended:1000000:1:fsync rewritten:/mnt/rewritten:64:8:fsync replaced:/mnt/replaced:1:1:rename
	fua:/dev/tresor/two:256:1:dsync"
cut_open() { open_block /dev/vdb files; }
