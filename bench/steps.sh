# shellcheck shell=bash disable=SC2034,SC2154
# What `make bench` measures, one function for each part. Sourced by bench/run, which sets what is not set here.

# make_ledger NAME ACCOUNTS: a database with that many accounts and no posting.
make_ledger() {
  say "database $1: $2 accounts"
  run_sql -d postgres -c "create database $1"
  run_sql -d "$1" -c 'create extension neobank'
  run_sql -d "$1" -f bench/peer.sql
  run_sql -d "$1" -o /dev/null -v accounts="$2" -f bench/ledger.sql
  run_sql -d "$1" -c 'vacuum analyze'
}

# copy_ledger FROM TO: makes TO anew.
copy_ledger() {
  PGOPTIONS='-c client_min_messages=warning' run_sql -d postgres -c "drop database if exists $2 with (force)" \
    -c "create database $2 template $1 strategy file_copy"
}

# drop_ledgers CONDITION: drops the databases that it holds for, which together take gigabytes.
drop_ledgers() {
  local database
  for database in $(run_sql -At -d postgres -c "select datname from pg_database where not datistemplate and ($1)"); do
    run_sql -d postgres -c "drop database $database with (force)"
  done
}

# fresh_ledger NAME: sets database to a copy of the ledger of $accounts accounts, and to that ledger itself where it is
# large: the disk would be busy with a copy for long after it is made.
fresh_ledger() {
  if ((accounts > few_accounts)); then
    database=ledger_$accounts
  else
    database=$1_$accounts
    copy_ledger "ledger_$accounts" "$database"
  fi
}

# One transfer per call: each number of clients and way to draw accounts, the three in turns. What the bars are about
# is measured twice as often.
single_calls() {
  step=single batch=''
  local database subject
  fresh_ledger single
  for ((round = 1; round <= 2 * rounds; round++)); do
    for distribution in uniform zipf; do
      if ((round > rounds)) && { ((accounts > few_accounts)) || [[ $distribution == zipf ]]; }; then continue; fi
      for clients in "${client_numbers[@]}"; do
        for subject in neobank peer floor; do measure "$subject" "$database" "$subject"; done
      done
    done
  done
}

# Every payer pays the same account: a slotted one, an exclusive one, the peer's. Beside it payees drawn at random.
one_payee() {
  step=payee clients=$most_clients batch=''
  local database
  fresh_ledger payee
  for ((round = 1; round <= rounds; round++)); do
    distribution=uniform
    measure neobank "$database" neobank
    measure peer "$database" peer
    distribution=one
    measure slotted "$database" neobank -D payee=0
    measure exclusive "$database" neobank -D payee=$((accounts + 1))
    measure peer "$database" peer -D payee=0
  done
}

# 20,000 transfers in one statement: what one costs in the server, and which buffers it touches.
in_server_cost() {
  step=cost clients=1 distribution=uniform batch=''
  local database subject schema cost
  fresh_ledger cost
  # Round 0 is not counted: it has the library loaded and the pages read.
  for ((round = 0; round <= 2 * rounds; round++)); do
    for subject in neobank peer; do
      schema=${subject/neobank/txn_processing}
      run_sql -d "$database" -c "vacuum banking.accounts, peer.accounts" -c checkpoint
      cost=$(run_sql -At -d "$database" \
        -c "select bench.cost_us('select count($schema.transfer(source, destination, 1)) from bench.pairs')")
      ((round == 0)) || record "$subject" cost_us "$cost"
      printf '%-7s round %s  %-8s %6.1f us\n' "$step" "$round" "$subject" "$cost"
    done
  done
}

# Transfers that wait in the queue, carried out by one caller, 1,000 in a transaction.
queue() {
  step=queue clients=1 distribution=uniform batch=''
  local database requests done began rate
  fresh_ledger queue
  for ((round = 1; round <= rounds; round++)); do
    requests=$(run_sql -At -d "$database" \
      -c "select count(txn_processing.enqueue('transfer', source, destination, 1)) from bench.pairs")
    ask checkpoint
    began=${EPOCHREALTIME/./}
    for ((done = 0; done < requests; done += 1000)); do
      echo 'select count(*) from txn_processing.process_queue(1000);'
    done | run_sql -At -d "$database" -o /dev/null
    rate=$((requests * 1000000 / (${EPOCHREALTIME/./} - began)))
    [[ $(run_sql -At -d "$database" -c "select count(*) from txn_processing.queue_status where status <> 'completed'") == 0 ]] ||
      die "some requests of the queue were not carried out"
    record neobank rate "$rate"
    printf '%-7s round %s  %8s requests/s\n' "$step" "$round" "$rate"
  done
}

# Bytes of write-ahead log and of disk for one transfer. For the log the second load after a checkpoint counts: after
# one each page has its image written once, however many transfers follow.
bytes() {
  step=bytes clients=$most_clients distribution=uniform batch=''
  local database subject
  fresh_ledger bytes
  for ((round = 1; round <= rounds; round++)); do
    ask checkpoint
    for subject in neobank peer floor; do
      load "$database" "$subject" >/dev/null
      measure_on "$subject" "$database" "$subject"
    done
  done
  round=''
  record_disk neobank "$database" txn_processing.movements 1
  record_disk peer "$database" peer.ledger 2
}

# record_disk SUBJECT DATABASE TABLE ROWS_PER_TRANSFER: what the table and each of its indexes take for one transfer.
record_disk() {
  local name bytes
  run_sql -At -F ' ' -d "$2" -c "
    with transfers as (select count(*) / $4.0 as n from $3)
    select what, bytes / n from transfers, lateral (
        select 'total' as what, pg_total_relation_size('$3') as bytes
        union all select 'heap', pg_table_size('$3')
        union all select indexrelid::regclass::text, pg_relation_size(indexrelid) from pg_index where indrelid = '$3'::regclass) s
     where n > 0" |
    while read -r name bytes; do record "$1" "disk ${name#*.}" "$bytes"; done
}

# Many transfers in one call, by number of clients. What serves a size best among few accounts drawn evenly is taken
# for the others. The peer has one client: its transfers lock accounts as they come, so two batches would deadlock.
batches() {
  step=batches
  local database
  fresh_ledger batches
  for ((round = 1; round <= rounds; round++)); do
    distribution=uniform clients=$most_clients batch=''
    measure floor "$database" floor
    for distribution in uniform zipf; do
      for batch in "${batch_sizes[@]}"; do
        if ((accounts > few_accounts)) || [[ $distribution == zipf ]]; then
          clients=$(best_clients "$batch")
          measure neobank "$database" neobank-batch
        else
          for clients in "${batch_client_numbers[@]}"; do measure neobank "$database" neobank-batch; done
          clients=1
          measure peer "$database" peer-batch
          measure floor "$database" floor-batch
        fi
      done
    done
  done
}

# best_clients SIZE: the number of clients that has posted batches of that size fastest.
best_clients() {
  local best
  best=$(ask "select clients from bench.results
               where (step, subject, measure, batch, distribution) = ('batches', 'neobank', 'rate', $1, 'uniform')
               order by accounts, sum(value) over (partition by accounts, clients) desc limit 1")
  echo "${best:-2}"
}

# The same load on ledgers of different length, in turns. Each begins with a load that is recorded by itself: it meets
# pages that are not in memory yet and have no image since the checkpoint.
growth() {
  step=growth distribution=uniform
  local database before=ledger_$accounts had=0
  for history in "${histories[@]}"; do
    say "a ledger of $history postings"
    copy_ledger "$before" "built_$history"
    run_sql -d "built_$history" -c "call bench.grow($((history - had)))" -c 'vacuum analyze'
    clients='' batch='' round=''
    record_disk neobank "built_$history" txn_processing.movements 1
    before=built_$history had=$history
  done
  for ((round = 1; round <= rounds; round++)); do
    for history in "${histories[@]}"; do
      database=built_$history
      # The longest grows by what is measured; a copy of it would take long and change little.
      if ((history < had)); then
        database=growth_copy
        copy_ledger "built_$history" "$database"
      fi
      clients=$most_clients batch=''
      measure first "$database" neobank
      measure_on neobank "$database" neobank
      measure_on floor "$database" floor
      for batch in 100 8190; do
        clients=$(best_clients "$batch")
        measure_on neobank "$database" neobank-batch
      done
    done
  done
  history=''
}

# rss PID: kilobytes of its own that the system has given to a process.
rss() {
  local key value _
  while read -r key value _; do
    if [[ $key == RssAnon: ]]; then echo "$value"; fi
  done <"/proc/$1/status"
}

# Memory of a session: over 100,000 single calls, and while it posts batches of 10,000.
memory() {
  step=memory clients=1 distribution=uniform batch='' round=''
  local database when contexts resident
  fresh_ledger memory
  say "memory of a session over 100,000 calls"
  run_sql -d "$database" -f bench/memory.sql | run_sql -At -F ' ' -d "$database" | sed '/^$/d' |
    while read -r when contexts resident; do
      record "allocated $when" kilobytes "$((contexts / 1024))"
      record "resident $when" kilobytes "$((resident / 1024))"
    done
  say "memory of a session that posts batches of 10,000"
  batch=10000
  batch_memory "$database"
}

# batch_memory DATABASE: resident memory of one session, idle after single calls and then at its peak over 20 batches.
batch_memory() {
  local session_in session_out session_pid backend line='' now peak=0
  coproc session { run_sql -At -d "$1"; }
  session_pid=$!
  session_out=${session[0]} session_in=${session[1]}
  cat >&"$session_in" <<'SQL'
select txn_processing.transfer(source, destination, 1) from bench.pairs where no <= 100 \g /dev/null
select pg_backend_pid();
SQL
  read -r backend <&"$session_out"
  record idle kilobytes "$(rss "$backend")"
  cat >&"$session_in" <<'SQL'
select format('select bench.post(%s)', no) from generate_series(1, 20) no \gexec
\echo finished
SQL
  while [[ $line != finished ]]; do
    now=$(rss "$backend")
    ((now <= peak)) || peak=$now
    read -r -t 0.002 -u "$session_out" line || true
  done
  record peak kilobytes "$peak"
  exec {session_in}>&-
  wait "$session_pid"
}

# Reads on an account with many postings.
reads() {
  step=reads clients=1 distribution='' batch='' round='' history=$big_postings
  local database name milliseconds
  fresh_ledger reads
  say "$big_postings postings on one account"
  run_sql -At -F '|' -d "$database" -v postings="$big_postings" -f bench/big_account.sql |
    while IFS='|' read -r name milliseconds; do record "$name" milliseconds "$milliseconds"; done
  history=''
}

# What a reader needs to place the figures: the machine, the server, and what a durable write costs here.
machine() {
  step=machine
  local fsync
  # It has more tests, but ends when nobody reads on.
  fsync=$(as_server "$NEOBANK_BINDIR/pg_test_fsync" -s 1 -f "$NEOBANK_PGDATA/fsync.test" 2>/dev/null |
    awk '/^ *fdatasync .*ops\/sec/ { print $(NF - 1); exit }' || true)
  rm -f "$NEOBANK_PGDATA/fsync.test"
  record fdatasync microseconds "${fsync:-0}"
  record cores number "$(nproc)"
  flush_us >/dev/null
  quiet_flush_us=$(flush_us)
}
