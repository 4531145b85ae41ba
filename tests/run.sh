#!/bin/sh
# run.sh [BUILD] - run every test and count.  `make check` calls it.
#
#   BUILD/tests/test_*, BUILD/tests/sim/test_*   cmocka programs
#   BUILD/tests/fuzz_*                           seeded, for one second each
#   tests/e2e/**.sh, tests/*.check.sh            executable ones; those whose
#                        second line says (make check-long) only with ZTNA_LONG
#
# All speak TAP or a little less: lines `ok NAME`, `not ok NAME`,
# `skip NAME reason`.  A program fails as well when it ends by a signal, a
# sanitizer, a non-zero exit code, a time-out, or with fewer results than it
# announced.  What a failing program said is shown in full.  The last line is
#
#   N passed, N failed[, N skipped]
#
# One more at a time than there are processors (ZTNA_JOBS), since most of them
# wait; long ones one by one, since they measure.
#
#   ZTNA_ONLY=WORD      only what has WORD in its path
#   ZTNA_LONG=1         only the long ones, `make check-long`
#   ZTNA_TIMEOUT=120    seconds per program; 900 for long ones
#   VERBOSE=1           show all output
#
# Scripts find the binary in $ZTNA and the build directory in $BUILD.
cd "$(dirname "$0")/.." || exit 1
BUILD=$(cd "${1:-build}" && pwd) || exit 1
ZTNA=$BUILD/ztna
export BUILD ZTNA CMOCKA_MESSAGE_OUTPUT=TAP
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_stack_use_after_return=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
limit=${ZTNA_TIMEOUT:-${ZTNA_LONG:+900}}
limit=${limit:-120}
jobs=${ZTNA_JOBS:-${ZTNA_LONG:+1}}
jobs=${jobs:-$(($(nproc) + 1))}

# Results of the log of one program that ended with code $1, as shell
# assignments: p passed, f failed, s skipped, why it failed beside that.
judge() {
  awk -v rc="$1" -v limit="$limit" '
    /^1\.\.[0-9]+/ { planned += substr($1, 4) }
    /^(not )?ok .*# *[Ss][Kk][Ii][Pp]/ || /^skip / { s++; next }
    /^ok / { p++ }
    /^not ok / { f++ }
    END {
      if (rc == 124 || rc == 137) why = "no end after " limit " s"
      else if (rc > 128) why = "died by signal " rc - 128
      else if (rc != 0 && !f) why = "exit code " rc
      else if (p + f + s < planned)
        why = "only " p + f + s " of " planned " results"
      else if (!(p + f + s)) why = "no results"
      if (why != "") f++
      printf "p=%d f=%d s=%d why=\"%s\"\n", p, f, s, why
    }' "$log"
}

# run NAME COMMAND...: its block of lines, and a line of counts to $COUNTS
run() {
  name=$1
  shift
  log=$(mktemp) || exit 1
  started=$(date +%s)
  timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null
  rc=$?
  case $name in # a fuzz program says nothing in our words: its exit code counts
  *fuzz_*) test $rc != 0 || echo "ok $name" >>"$log" ;;
  esac
  eval "$(judge $rc)"
  echo "$p $f $s" >>"$COUNTS"
  took=$(($(date +%s) - started))
  if [ "$f" = 0 ]; then
    echo "ok   $name: $p passed$(test "$s" = 0 || echo ", $s skipped") (${took} s)"
    if [ -n "$VERBOSE" ]; then
      sed 's/^/     /' "$log"
    else
      grep -E '^skip |^(not )?ok .*# *[Ss][Kk][Ii][Pp]' "$log" | sed 's/^/     /'
    fi
  else
    echo "FAIL $name: $p passed, $f failed${why:+: $why} (${took} s)"
    sed 's/^/     /' "$log"
  fi
}

wanted() { # executable, and asked for
  test -f "$1" && test -x "$1" || return 1
  case $1 in *"$ZTNA_ONLY"*) ;; *) return 1 ;; esac
  case $1 in *.sh) script=$1 ;; *) script=/dev/null ;; esac
  if sed -n 2p "$script" | grep -q '(make check-long)'; then
    test -n "$ZTNA_LONG"
  else
    test -z "$ZTNA_LONG"
  fi
}

# What was asked for, the longest-winded first: scripts, which mostly wait.
tests() {
  for t in tests/*.check.sh tests/e2e/*.sh tests/e2e/nat/*.sh \
    "$BUILD"/tests/sim/test_* "$BUILD"/tests/test_* "$BUILD"/tests/fuzz_*; do
    ! wanted "$t" || echo "$t"
  done
}

run_one() { # PATH
  case $1 in
  *.sh) run "$1" "./$1" ;;
  */fuzz_*) run "${1#"$BUILD"/tests/}" "$1" --seconds 1 ;;
  *) run "${1#"$BUILD"/tests/}" "$1" ;;
  esac >"$COUNTS.$$"
  flock "$COUNTS" cat "$COUNTS.$$"
  rm -f "$log" "$COUNTS.$$"
}

if [ "${2:-}" = --one ]; then
  run_one "$3"
  exit 0
fi

COUNTS=$(mktemp) || exit 1
export COUNTS
trap 'rm -f "$COUNTS" "$COUNTS".*' EXIT
trap 'exit 130' INT TERM HUP
list=$(tests)
echo "$list" | xargs -r -n 1 -P "$jobs" sh tests/run.sh "$BUILD" --one
eval "$(awk -v n="$(echo "$list" | wc -w)" '{ p += $1; f += $2; s += $3 }
  END { printf "passed=%d failed=%d skipped=%d lost=%d", p, f, s, n - NR }' "$COUNTS")"
[ "$lost" = 0 ] || echo "FAIL $lost tests did not say how they ended"
failed=$((failed + lost))

echo
if [ "$skipped" = 0 ]; then
  echo "$passed passed, $failed failed"
else
  echo "$passed passed, $failed failed, $skipped skipped"
fi
test "$failed" = 0 && test "$passed" != 0
