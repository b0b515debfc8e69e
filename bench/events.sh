# shellcheck shell=bash disable=SC2034,SC2154
# What `make bench` measures of the event store. Sourced by bench/run, which sets what is not set here.

# make_events NAME: a database with $streams streams of one event each.
make_events() {
  say "database $1: $streams streams"
  run_sql -d postgres -c "create database $1"
  run_sql -d "$1" -c 'create extension neobank'
  run_sql -d "$1" -o /dev/null -v streams="$streams" -f bench/events.sql
  run_sql -d "$1" -c 'vacuum analyze'
}

# Events on streams drawn at random, beside a plain table with the same columns and indexes (the floor), in turns: one
# per call, with tags, on a condition, and in batches of 1,000.
events() {
  step=events distribution=uniform batch=''
  local accounts=$streams database=events_0
  make_events "$database"
  for ((round = 1; round <= 2 * rounds; round++)); do
    for clients in "${client_numbers[@]}"; do
      measure neobank "$database" event
      measure floor "$database" plain-event
    done
    if ((round > rounds)); then continue; fi
    clients=$most_clients
    measure tagged "$database" event-tagged
    measure conditional "$database" event-if
    batch=1000
    for clients in 1 2; do
      measure neobank "$database" events-many
      measure floor "$database" plain-events-many
    done
    batch=''
  done
}

# The same on stores of different length, in turns. The floor's table has no history: it shows what the machine does.
events_growth() {
  step=events_growth distribution=uniform
  local accounts=$streams before=events_base had=0 database
  make_events "$before"
  for history in "${event_histories[@]}"; do
    say "a store of $history events"
    copy_ledger "$before" "stored_$history"
    run_sql -d "stored_$history" -c "call bench.grow_events($((history - had)), $streams)" -c 'vacuum analyze'
    before=stored_$history had=$history
  done
  for ((round = 1; round <= rounds; round++)); do
    for history in "${event_histories[@]}"; do
      database=stored_$history clients=$most_clients batch=''
      # The shortest stays short; the first load after a checkpoint does not count, its pages have no image yet.
      if ((history < had)); then
        database=stored_copy
        copy_ledger "stored_$history" "$database"
      fi
      measure first "$database" event
      measure_on neobank "$database" event
      measure_on floor "$database" plain-event
      batch=1000 clients=1
      measure_on neobank "$database" events-many
    done
  done
  history=''
}

# The state that an aggregate's events lead to.
event_state() {
  step=event_state clients=1 distribution='' batch='' history=100000
  local accounts='' kind milliseconds
  make_events event_state
  while IFS='|' read -r kind round milliseconds; do
    record "$kind" milliseconds "$milliseconds"
  done < <(run_sql -At -F '|' -d event_state -v rounds="$((5 * rounds))" -f bench/event_state.sql)
  history='' round=''
}
