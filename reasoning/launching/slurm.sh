# --- From here on nothing depends on the recipe.
# Exit codes: the run's own; 70 no server came up, 71 not in time, 73 a port is taken,
# 75 the time was up and the job may not be requeued again.
set -u
ID=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
ID=${ID:-$SLURM_JOB_ID}       # a task's own SLURM_JOB_ID may be that of its whole array
export REASONING_ENGINES=$ID  # marks every process that is started here
POLL=${POLL:-5}               # seconds between looks
: "${PORT:=$((12000 + SLURM_JOB_ID % 300 * 64))}"
URLS=() ENGINES=() NODES=() UP=() KEEPERS=() DRIVER='' HEARD=''

on() {  # NODE GPUS COMMAND...: a step with GPUs and cores of its own, in the memory of the job
  local node=$1 gpus=$2
  shift 2
  # shellcheck disable=SC2046
  srun --export=ALL --nodes=1 --ntasks=1 --ntasks-per-node=1 --cpus-per-task="$CPUS" --mem=0 --exact \
    $([ "$gpus" = 0 ] || echo "--gres=gpu:$gpus") --nodelist="$node" "$@"
}

keep() {  # ENGINE NODE PORT: a server that is started again when it dies
  local try
  for ((try = 0; try <= RESTARTS; try++)); do
    "$1" "$2" "$3" >> "$LOGS/$1-$2-$3.log" 2>&1
    say "$1 on $2:$3 ended with code $?, started $((try + 1)) times of $((RESTARTS + 1)) at most; see $LOGS/$1-$2-$3.log"
    sleep "$POLL"
  done
}

kept() {  # whether anybody still sees to servers
  local pid
  for pid in "${KEEPERS[@]}"; do kill -0 "$pid" 2> /dev/null && return; done
  return 1
}

place() {  # a port for every server, counted through all machines
  local node engine
  for node in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
    for engine in "${SERVERS[@]}"; do
      URLS+=("http://${ADDRESS:-$node}:$((PORT + ${#URLS[@]}))")
      ENGINES+=("$engine") NODES+=("$node")
    done
  done
}

start() {
  local i
  for i in "${!URLS[@]}"; do
    keep "${ENGINES[i]}" "${NODES[i]}" "${URLS[i]##*:}" &
    KEEPERS+=($!)
  done
}

clear_leftovers() {  # of an earlier start of this job, on a machine that Slurm had lost sight of
  srun --export=ALL --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --overlap bash -c '
    unset REASONING_ENGINES
    for process in /proc/[0-9]*; do
      if tr "\0" "\n" < "$process/environ" | grep -qx "REASONING_ENGINES=$1" &&
         ! tr "\0" "\n" < "$process/environ" | grep -qx "SLURM_RESTART_COUNT=$2"; then
        group=$(sed "s/.*) //" "$process/stat" | cut -d" " -f3)
        kill -KILL -- "-$group" && echo "killed the group $group of an earlier start"
      fi
    done 2> /dev/null; true' bash "$ID" "$SLURM_RESTART_COUNT"
}

stop() {  # servers get TERM, and 20 s; plain scancel, or a signal to srun, would kill them
  kill "${KEEPERS[@]}" 2> /dev/null  # nobody starts them again
  scancel --signal=TERM "$ID" 2> /dev/null
  for _ in {1..20}; do
    squeue --noheader --steps --jobs="$ID" --format=%i | grep -q '\.[0-9]*$' || break
    pause 1
  done
}

leave() {  # CODE WHY
  say "$2"
  stop
  exit "$1"
}

end_driver() {  # it writes down what it had; after 60 s it has to go
  local left=60
  [ "$HEARD" = TERM ] && pause 2  # Slurm has told it, too
  kill -TERM "$DRIVER" 2> /dev/null
  while kill -0 "$DRIVER" 2> /dev/null; do
    ((left-- > 0)) || kill -KILL "$DRIVER"
    pause 1
  done
}

again() {  # the time is up: the same job later, which goes on with the run
  ((${SLURM_RESTART_COUNT:-0} < REQUEUE)) || leave 75 "the time is up; sbatch this script again to go on"
  say "the time is up; requeued"
  stop
  scontrol requeue "$ID"
  exit 75
}

trap 'HEARD=USR1' USR1  # some time before the limit
trap 'HEARD=TERM' TERM  # scancel, preemption; not CONT, with which bash loses TERM
mkdir -p "$FILES" "$LOGS"
command -v curl > /dev/null || leave 70 "curl is needed here to see whether servers are healthy"
[ "${SLURM_RESTART_COUNT:-0}" = 0 ] || clear_leftovers
place
look
[[ ${UP[*]} != *1* ]] || leave 73 "somebody else answers at a port of ours; say port=... for another first one"
publish
start
until ready; do
  case $HEARD in
    TERM) leave 143 "ended before a server was up" ;;
    USR1) again ;;
  esac
  kept || leave 70 "no server has come up; $LOGS says why"
  ((SECONDS < START)) || leave 71 "not every engine has a healthy server after $START s; say start=... if they need longer"
  pause "$POLL"
  look
  publish
done
say "the run begins; servers that come later join it"
driver &
DRIVER=$!
while [ -z "$HEARD" ] && kill -0 "$DRIVER" 2> /dev/null; do
  pause "$POLL"
  look
  publish
done
[ -z "$HEARD" ] || end_driver
wait "$DRIVER"
code=$?
[ "$HEARD" = USR1 ] && [ "$code" = 143 ] && again
leave "$code" "the run ended with code $code"
