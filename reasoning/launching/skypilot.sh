# --- From here on nothing depends on the recipe. The first machine runs it, the others only serve.
# Exit codes: the run's own; 70 no server came up, 71 not in time.
set -u
POLL=${POLL:-5}  # seconds between looks
HEAD=${SKYPILOT_NODE_IPS%%$'\n'*}
URLS=() ENGINES=() UP=() KEEPERS=() DRIVER='' DOOR_KEEPER='' HEARD=''

keep() {  # ENGINE GPUS PORT: a server that is started again when it dies
  local try server=''
  trap 'kill -TERM $server; wait $server; exit' TERM
  for ((try = 0; try <= RESTARTS; try++)); do
    CUDA_VISIBLE_DEVICES=$2 "$1" "$3" >> "$LOGS/$1-$3.log" 2>&1 &
    server=$!
    wait "$server"
    say "$1 on port $3 ended with code $?, started $((try + 1)) times of $((RESTARTS + 1)) at most; see $LOGS/$1-$3.log"
    pause "$POLL"
  done
}

kept() {  # whether anybody still sees to servers
  local pid
  for pid in "${KEEPERS[@]}"; do kill -0 "$pid" 2> /dev/null && return; done
  return 1
}

place() {  # where the servers of all machines are
  local address i
  for address in $SKYPILOT_NODE_IPS; do
    for i in "${!SERVERS[@]}"; do
      URLS+=("http://$address:$((PORT + i))") ENGINES+=("${SERVERS[i]}")
    done
  done
}

start() {  # those of this machine
  local i gpu=0 gpus
  for i in "${!SERVERS[@]}"; do
    gpus=$(seq -s, "$gpu" $((gpu + GPUS[${SERVERS[i]}] - 1)))
    keep "${SERVERS[i]}" "$gpus" $((PORT + i)) &
    KEEPERS+=($!)
    gpu=$((gpu + GPUS[${SERVERS[i]}]))
  done
}

leave() {  # CODE WHY: servers get TERM, and 20 s
  say "$2"
  [ -z "$DOOR_KEEPER" ] || kill "$DOOR_KEEPER"
  kill "${KEEPERS[@]}" 2> /dev/null
  for _ in {1..20}; do
    kept || break
    sleep 1
  done
  exit "$1"
}

serve_only() {  # as long as the first machine has its door open
  local missed=0 waited=$SECONDS
  until curl -fs -m 3 -o /dev/null "http://$HEAD:$DOOR/"; do
    ((SECONDS - waited < START)) || leave 71 "the first machine has not said anything in $START s"
    [ -z "$HEARD" ] || leave 143 "told to end"
    pause "$POLL"
  done
  while ((missed < 5)); do
    if curl -fs -m 3 -o /dev/null "http://$HEAD:$DOOR/"; then missed=0; else missed=$((missed + 1)); fi
    [ -z "$HEARD" ] || leave 143 "told to end"
    pause "$POLL"
  done
  leave 0 "the first machine is done"
}

trap 'HEARD=TERM' TERM INT
mkdir -p "$FILES" "$LOGS"
place
start
[ "$SKYPILOT_NODE_RANK" = 0 ] || serve_only
python3 -m http.server "$DOOR" --bind "$HEAD" --directory "$FILES" > /dev/null 2>&1 &
DOOR_KEEPER=$!
publish
until ready; do
  [ -z "$HEARD" ] || leave 143 "told to end before a server was up"
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
[ -z "$HEARD" ] || kill -TERM "$DRIVER" 2> /dev/null
while kill -0 "$DRIVER" 2> /dev/null; do wait "$DRIVER"; done
wait "$DRIVER"
code=$?
leave "$code" "the run ended with code $code"
