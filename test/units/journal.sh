#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs tresord with a journald of its own, in a /run of its own (unshare -m), from its start to its end, and prints its
# entries as JSON. Arguments: the checkout, a volume, its key file, a state directory.
set -eu
root=$1 volume=$2 key=$3
mount -t tmpfs -o mode=0755 none /run
mkdir -p /run/systemd/journald.conf.d /run/log/journal
printf '[Journal]\nReadKMsg=no\n' > /run/systemd/journald.conf.d/test.conf
mkdir -m 0700 /run/tresor
export TRESOR_RUNTIME_DIR=/run/tresor TRESOR_STATE_DIR="$4" XDG_CONFIG_HOME=/run/config
/lib/systemd/systemd-journald 2> /run/journald.log &
journald=$!
trap 'kill $journald' EXIT
while ! [ -S /run/systemd/journal/socket ]; do sleep 0.1; done
# As systemd starts a service: standard error is a stream to the journal, and a variable names it.
systemd-cat -t other sh -c 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$0" "$@"' \
	"$root/dist/tresord" -- "$volume" work &
while ! [ -S /run/tresor/work/control.sock ]; do sleep 0.1; done
"$root/tresor" setkey work --key-file "$key"
"$root/tresor" close work
wait $!
journalctl --sync
journalctl -D /run/log/journal -o json --no-pager TRESOR_VOLUME=work
