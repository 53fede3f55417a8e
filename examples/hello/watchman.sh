#!/bin/sh
# Looks after its machine.
while :; do
	echo "$(uname -n): $(date -u +%H:%M:%S), load $(cut -d' ' -f1 /proc/loadavg)"
	sleep 5
done
