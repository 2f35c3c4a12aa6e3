#!/bin/bash
# A process on each machine, by plain ssh: docs/launch/ssh.sh node1,node2,node3 --coco ann.json --batch-size 48
# All see the working folder under the same path. The first machine writes the run and prints; port 1234 of it must be open to the
# others, as must ports of the machines' own choice. Ctrl-C saves and ends all.
set -euo pipefail

IFS=, read -r -a nodes <<<"$1"
shift
printf -v flags ' %q' "$@"
printf -v place '%q' "$PWD"
for id in "${!nodes[@]}"; do
  ssh -tt "${nodes[$id]}" "cd $place && KERAS_BACKEND=jax python train.py$flags \
    --hosts ${nodes[0]}:1234 --num-hosts ${#nodes[@]} --host-id $id" </dev/null &
done
trap 'kill -TERM $(jobs -p) 2>/dev/null' INT TERM
failed=0
for job in $(jobs -p); do
  wait "$job" || failed=$?
done
exit "$failed"
