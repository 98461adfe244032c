# --- Replicas: the addresses of the servers that answer, in a file which the run reads as it goes.
# URLS and ENGINES say where each server is and of which engine, PATHS what follows an engine's
# address, FILES is the folder of the files.

look() {  # who answers? One that refuses is gone, one that is slow may only be busy.
  local i
  for i in "${!URLS[@]}"; do
    curl -fs -m 3 -o /dev/null "${URLS[i]}/health"
    case $? in
      0) [ "${UP[i]:-}" ] || say "${URLS[i]} is up"; UP[i]=1 ;;
      6 | 7 | 22 | 52 | 56) [ "${UP[i]:-}" ] && say "${URLS[i]} is gone"; UP[i]= ;;
    esac
  done
}

publish() {  # one file an engine: replaced as a whole, and only if it has changed
  local engine i
  for engine in "${!PATHS[@]}"; do
    for i in "${!URLS[@]}"; do
      if [ "${ENGINES[i]}" = "$engine" ] && [ "${UP[i]:-}" ]; then echo "${URLS[i]}${PATHS[$engine]}"; fi
    done > "$FILES/.$engine.new"
    cmp -s "$FILES/.$engine.new" "$FILES/$engine.txt" || mv "$FILES/.$engine.new" "$FILES/$engine.txt"
  done
}

ready() {  # whether each engine has a server
  local engine
  for engine in "${!PATHS[@]}"; do [ -s "$FILES/$engine.txt" ] || return 1; done
}

say() { echo "$(date +%T) $*"; }

pause() { sleep "$1" & wait $!; }  # a signal ends it
