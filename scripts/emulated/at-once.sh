# shellcheck shell=bash
# at_once LOG STEP...: functions of the script that sources this, at once, for they take one core
# each. What they say goes into LOG, whole step by whole step. Where one fails its end is shown and
# the script exits, but not before the others are done. Not for a condition (|| or if): bash would
# then ignore what fails inside a step.
at_once() {
  local log=$1 step failed=0
  local -A pids=()
  shift
  for step in "$@"; do
    "$step" >"$log.$step" 2>&1 &
    pids[$step]=$!
  done
  for step in "$@"; do
    if ! wait "${pids[$step]}"; then
      failed=1
      tail -n 20 "$log.$step" >&2
    fi
    cat "$log.$step" >>"$log"
    rm "$log.$step"
  done
  [[ $failed == 0 ]] || exit 1
}
