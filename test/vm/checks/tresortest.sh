# The one-file test of 2016: docs/example-output.md is what it prints.
tresortest() {
	# It loads the module itself, and takes it away again.
	[ ! -d /sys/module/tresor ] || rmmod tresor || return
	TERM=dumb scripts/run-tresortest >"$work/transcript" 2>&1
	local status=$?
	sed 's/^/log /' "$work/transcript" >&3
	[ $status = 0 ] || return
	grep -q 'ext2' "$work/transcript" && ! scripts/run-tresortest 2>"$work/again" && grep -q "it runs already" "$work/again" || return
	say "log "
	scripts/shutdown-tresortest >"$work/down" 2>&1
	status=$?
	sed 's/^/log /' "$work/down" >&3
	[ $status = 0 ] && [ ! -e /run/tresortest ] && [ ! -e /sys/module/tresor ] && [ -z "$(losetup -a)" ] &&
		! scripts/shutdown-tresortest
}
check "scripts/run-tresortest and scripts/shutdown-tresortest" tresortest
