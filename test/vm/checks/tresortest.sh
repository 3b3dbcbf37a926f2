# The one-file test of 2016; its output goes to docs/example-output.md by `npm run example`.
tresortest() {
	rmmod tresor && TERM=dumb scripts/run-tresortest >"$work/transcript" 2>&1
	local status=$?
	sed 's/^/log /' "$work/transcript" >&3
	[ $status = 0 ] || return
	grep -q 'ext2' "$work/transcript" && ! scripts/run-tresortest 2>"$work/again" && grep -q "it runs already" "$work/again" || return
	say "log "
	scripts/shutdown-tresortest >"$work/down" 2>&1
	status=$?
	sed 's/^/log /' "$work/down" >&3
	[ $status = 0 ] && [ ! -e /run/tresortest ] && [ ! -e /sys/module/tresor ] && [ -z "$(losetup -a)" ] &&
		! scripts/shutdown-tresortest && insmod kernel/tresor.ko grace_seconds=5
}
check "scripts/run-tresortest and scripts/shutdown-tresortest" tresortest
