# shellcheck shell=bash disable=SC2034,SC2154
# What `make bench` measures of the history of a table. Sourced by bench/run, which sets what is not set here.

# Updates and a report, each on a plain table and on one with a history, in turns.
histories() {
  step=histories clients=1 distribution='' batch='' history=$history_rows
  local accounts='' measure subject value
  run_sql -d postgres -c 'create database histories_0'
  run_sql -d histories_0 -c 'create extension neobank'
  while IFS='|' read -r measure subject round value; do
    record "$subject" "$measure" "$value"
  done < <(run_sql -At -F '|' -d histories_0 -v rows="$history_rows" -v rounds="$((5 * rounds))" -f bench/temporal_tables.sql)
  history='' round=''
}
