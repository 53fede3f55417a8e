#!/bin/sh
# Says hello, over and over.
motd=$(cat "$SWARMKIT_CONFIGS_DIR/motd.txt")
echo "$SWARMKIT_TASK_NAME: $motd"
count=0
while :; do
	count=$((count + 1))
	echo "$GREETING from slot $SWARMKIT_TASK_SLOT, for the ${count}th time"
	sleep "$INTERVAL"
done
