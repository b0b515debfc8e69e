# shellcheck shell=bash disable=SC2154
# How one thing is measured and recorded. Sourced by bench/run, which sets what is not set here.
# The dimensions of what is being measured are variables: an empty one is null in the results.
step='' clients='' accounts='' distribution='' batch='' history='' round=''

run_sql() { "$NEOBANK_BINDIR/psql" -X -q -v ON_ERROR_STOP=1 -P pager=off "$@"; }
ask() { run_sql -At -F ' ' -d bench -c "$1"; }

# record SUBJECT MEASURE VALUE
record() {
  run_sql -d bench -v step="$step" -v subject="$1" -v measure="$2" -v value="$3" -v clients="$clients" \
    -v accounts="$accounts" -v distribution="$distribution" -v batch="$batch" -v history="$history" -v round="$round" \
    <<'SQL'
insert into bench.results
values (:'step', :'subject', :'measure', nullif(:'clients', '')::int, nullif(:'accounts', '')::int,
        nullif(:'distribution', ''), nullif(:'batch', '')::int, nullif(:'history', '')::bigint,
        nullif(:'round', '')::int, :'value');
SQL
}

# Reads the output of pgbench with its progress lines; prints transactions per second after the warm-up, and how many
# there were in all. A transaction that failed makes the whole a failure.
read_pgbench() {
  awk -v warm_up="$warm_up" '
    /^progress:/ && $2 < warm_up + 0.5 { before += $4 * ($2 - upto); upto = $2 }
    /^number of transactions actually processed:/ { sub(/\/.*/, "", $6); all = $6 }
    /^number of failed transactions:/ { failed = $5 > 0 }
    /^tps = / && $3 > 0 { took = all / $3 }
    END { if (failed || took <= upto || all <= before) exit 1; print (all - before) / (took - upto), all }'
}

# load DATABASE CALL [PGBENCH OPTION...]: puts load on for warm_up + seconds with calls/CALL.pgbench and prints what
# read_pgbench reads of it. Single calls take their accounts from accounts/DISTRIBUTION.pgbench.
load() {
  local database=$1 call=$2 output=$work/pgbench.log draw=/dev/null batches=0
  shift 2
  if [[ $call == *-batch ]]; then
    batches=$(run_sql -At -d "$database" \
      -c "select max(no) from bench.batches where (distribution, size) = ('$distribution', $batch)")
  else
    draw=bench/accounts/$distribution.pgbench
  fi
  cat "$draw" "bench/calls/$call.pgbench" >"$work/script.pgbench"
  "$NEOBANK_BINDIR/pgbench" -n -M prepared -c "$clients" -j "$((clients < 2 ? 1 : 2))" -P 1 \
    -T "$((warm_up + seconds))" -D accounts="$accounts" -D distribution="$distribution" -D size="${batch:-1}" \
    -D batches="$batches" "$@" -f "$work/script.pgbench" "$database" >"$output" 2>&1 || {
    cat "$output" >&2
    die "pgbench failed with $call"
  }
  read_pgbench <"$output" || {
    cat "$output" >&2
    die "some calls failed, or none was counted, with $call"
  }
}

# Prints how many microseconds one flush of 8 kB takes just now, by 50 of them.
flush_us() {
  local began=${EPOCHREALTIME/./}
  dd if=/dev/zero of="$NEOBANK_PGDATA/../flush" bs=8k count=50 oflag=dsync conv=notrunc status=none
  echo $(((${EPOCHREALTIME/./} - began) / 50))
}

# Waits, but not for long, until a flush takes no more than thrice what it took at first: a disk is slow for some
# seconds after much has been written, and the load that comes next would pay for the one before.
settle() {
  local tries
  for ((tries = 0; tries < 20; tries++)); do
    if (($(flush_us) <= 3 * quiet_flush_us)); then return; fi
    sleep 0.5
  done
}

# measure SUBJECT DATABASE CALL [PGBENCH OPTION...]: a checkpoint, so that none pays for the pages of the one before,
# then rate, write-ahead log and buffers of such a load.
measure() {
  ask checkpoint
  measure_on "$@"
}

# The same without the checkpoint.
measure_on() {
  local subject=$1 database=$2 size=${batch:-1} lsn buffers tps transactions rate
  shift
  settle
  read -r lsn buffers < <(ask "select * from bench.counters('$database')")
  read -r tps transactions < <(load "$@")
  [[ -n ${transactions:-} ]] || exit 1
  rate=$(awk "BEGIN { print $tps * $size }")
  record "$subject" rate "$rate"
  ask "select '$subject', measure, value / ($transactions * $size)
         from bench.wal_since('$lsn') w, bench.counters('$database') c,
              lateral (values ('wal', w.records), ('images', w.images), ('buffers', c.buffers - $buffers)) m (measure, value)
        where value is not null" |
    while read -r _ name value; do record "$subject" "$name" "$value"; done
  printf '%-7s round %s  %2d clients  %7d accounts  %-7s  batch %4d  %-12s %9.0f/s\n' \
    "$step" "${round:--}" "$clients" "$accounts" "$distribution" "$size" "$subject" "$rate"
}
