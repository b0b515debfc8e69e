# shellcheck shell=bash
# Shared by the scripts beside it: where things are, who runs the server, which PostgreSQL is meant.
# Source it; it prints nothing and installs nothing.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root" || exit 1
# What root makes here must be readable to the user who runs the server.
umask 022

target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$root/$target ;; esac
export CARGO_TARGET_DIR=$target

# One place says which versions are meant: Cargo.toml.
# shellcheck disable=SC2034 # read by the scripts that source this file
{
  pgrx_version=$(sed -n 's/^pgrx = "=\([0-9.]*\)"$/\1/p' Cargo.toml)
  rust_version=$(sed -n 's/^rust-version = "\([0-9.]*\)"$/\1/p' Cargo.toml)
  supported_majors=$(sed -n 's/^pg\([0-9]*\) = \[.*/\1/p' Cargo.toml | tr '\n' ' ' | sed 's/ $//')
}

# pgrx keeps its list of servers in the build folder, so that a developer's own ~/.pgrx stays as it is.
export PGRX_HOME=$target/pgrx
PATH=$target/tools/bin:$PATH
[[ -n ${HOME:-} ]] && PATH=$PATH:$HOME/.cargo/bin
export PATH
# What scripts/setup --tests fetches for the client in Node.js.
export NODE_PATH=$target/tools/node/node_modules

say() { printf '== %s\n' "$*"; }
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

is_root() { [[ $(id -u) == 0 ]]; }

# PostgreSQL refuses to run as root: then its own user runs the server.
server_user() { if is_root; then echo postgres; else id -un; fi; }

# From / because the server's user may not be allowed into the caller's folder.
as_server() {
  if is_root; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

as_root() {
  if is_root; then "$@"; return; fi
  command -v sudo >/dev/null || die "needs root for: $*; run it as root or install sudo"
  sudo "$@"
}

# Prints the folder where the server's user can keep files: the build folder if that user can reach it (a checkout
# below a closed home cannot be), else one under /var/tmp that belongs to this checkout alone.
# $1: subfolder. $2: longest path that may be made below it (a socket's path is limited to 107 bytes).
server_folder() {
  local folder=$target/$1 longest=${2:-0} hash
  mkdir -p "$folder"
  if ! as_server test -x "$folder" || ((${#folder} + longest > 99)); then
    hash=$(printf %s "$root" | sha256sum | cut -c1-8)
    folder=/var/tmp/neobank-$hash
    mkdir -p "$folder"
    [[ -O $folder ]] || die "$folder belongs to somebody else; remove it"
    folder=$folder/$1
    mkdir -p "$folder"
  fi
  echo "$folder"
}

# Prints the folder in memory where a cluster can keep its data, if it is there already or there is room: prints nothing
# otherwise. $1: the cluster.
memory_folder() {
  local hash folder room_kb
  hash=$(printf %s "$root" | sha256sum | cut -c1-8)
  folder=/dev/shm/neobank-$hash-$1
  if [[ -d $folder ]]; then
    echo "$folder"
    return
  fi
  [[ $(stat -f -c %T /dev/shm 2>/dev/null) == tmpfs ]] || return 0
  room_kb=$( (awk '/^MemAvailable:/ { print $2 }' /proc/meminfo; df --output=avail /dev/shm | tail -n 1) | sort -n | head -n 1)
  ((room_kb < 8 * 1024 * 1024)) || echo "$folder"
}

# Prints the pg_config to build for: PG_CONFIG if given, else the highest supported server of the system.
pick_pg_config() {
  if [[ -n ${PG_CONFIG:-} ]]; then
    command -v "$PG_CONFIG" || die "PG_CONFIG=$PG_CONFIG is not a program"
    return
  fi
  local major best=
  for major in $supported_majors; do
    [[ -x /usr/lib/postgresql/$major/bin/postgres ]] && best=/usr/lib/postgresql/$major/bin/pg_config
  done
  [[ -n $best ]] || best=$(command -v pg_config) || die "no PostgreSQL found; run scripts/setup or set PG_CONFIG"
  [[ -x $best ]] || die "$best is missing; run scripts/setup"
  echo "$best"
}

# $1: a pg_config. Prints the major version, which must be one that Cargo.toml has a feature for.
major_of() {
  local major
  major=$("$1" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
  [[ " $supported_majors " == *" $major "* ]] || die "PostgreSQL $major ($1) is not supported; supported: $supported_majors"
  echo "$major"
}

# Prints the cargo-pgrx of exactly the version that Cargo.toml pins; fails when there is none.
find_cargo_pgrx() {
  local candidate
  for candidate in "$target/tools/bin/cargo-pgrx" "$(command -v cargo-pgrx || true)"; do
    if [[ -x $candidate && $("$candidate" pgrx --version 2>/dev/null) == "cargo-pgrx $pgrx_version" ]]; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

# Sets and exports CARGO_PGRX, which pgrx's own test framework reads too.
use_cargo_pgrx() {
  CARGO_PGRX=$(find_cargo_pgrx) || die "cargo-pgrx $pgrx_version is missing; run scripts/setup"
  export CARGO_PGRX
}

# $1: a pg_config. Whether the caller may write where extensions are installed.
can_install() {
  [[ -w $("$1" --pkglibdir) && -w $("$1" --sharedir)/extension ]]
}

# $1: a pg_config. A library that is overwritten in place crashes the sessions that have it mapped, and pgrx
# installs with `cp` when it goes through sudo; with the old file unlinked first they keep their copy.
unlink_library() {
  local library
  library=$("$1" --pkglibdir)/neobank.so
  [[ -e $library ]] || return 0
  if [[ -w ${library%/*} ]]; then rm -f "$library"; else as_root rm -f "$library"; fi
}

# timed NAME COMMAND...: runs it and appends its time to step_times, for print_times.
step_times=()
timed() {
  local name=$1 began=$SECONDS status=0
  shift
  say "$name"
  "$@" || status=$?
  step_times+=("$(printf '%5d s  %s%s' $((SECONDS - began)) "$name" "$( ((status == 0)) || echo '  FAILED')")")
  return "$status"
}
print_times() {
  say "time"
  printf '%s\n' "${step_times[@]}"
}

# Reads a test run's output and prints each runner's own summary line below the name of what ran, what it skipped
# and what it proved in figures.
runner_summaries() {
  awk '/^(SKIPPED|FIGURE): / && !seen[$0]++
       /^ +(Running|Doc-tests) / { name = $0; sub(/^ +/, "", name); sub(/ \(.*/, "", name) }
       /^test result: / && !/ 0 passed; 0 failed; 0 ignored;/ { print "   " name; print }'
}

# Reads the same output and prints what failed: the compiler's errors, each test's name, and how its panic began.
runner_failures() {
  awk '/^error/ { print }
       /^failures:$/ { inside = 1 }
       /^test result: / { inside = 0 }
       inside && /^---- / { print; left = 0 }
       inside && / panicked at / { left = 4 }
       inside && left-- > 0 { print "   " substr($0, 1, 400) }'
}
