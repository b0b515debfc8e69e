# shellcheck shell=bash disable=SC2034,SC2154
# What `make bench` measures of sagas. Sourced by bench/run, which sets what is not set here.

# Three-step sagas through one worker in batches of 1,000, in a table of few finished sagas and of a million.
sagas() {
  step=sagas distribution='' clients=1 batch=1000
  local accounts='' database=sagas_0 finished rate
  for ((round = 1; round <= rounds; round++)); do
    run_sql -d postgres -c "drop database if exists $database" -c "create database $database"
    run_sql -d "$database" -c 'create extension neobank'
    run_sql -d "$database" -v finished=1000000 -f bench/sagas.sql
    while read -r finished rate; do
      history=$finished
      record neobank sagas_rate "$rate"
    done < <(run_sql -At -F ' ' -d "$database" \
      -c "select finished, max(value) from bench_saga.rates where measure = 'completed' and finished >= 0 group by 1")
  done
  history=''
}
