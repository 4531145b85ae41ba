#!/bin/bash
# threats.check.sh - every test that SECURITY.md names is there: in the file
# that it names, as one of its cases.
cd "$(dirname "$0")/.." || exit 1
n=0 missing=
while IFS= read -r item; do
  file=tests/${item%%:*}
  [ -f "$file" ] || { missing+="# no $file"$'\n'; continue; }
  case $item in *:*) names=${item#*:} ;; *) names= ;; esac
  for name in ${names//,/ }; do
    n=$((n + 1))
    # A test that is written and not run is none.
    case $file in
    *.c) grep -qE "(T|TEST|TEST_WITH|WITH|ALONE|unit_test)\($name[,)]" "$file" ;;
    *) grep -qE "(check|ok|gets|thrown_out|hostile|refused|refused_as|stays|tries|counted|lives) $name( |\$)" "$file" ;;
    esac || missing+="# $file: $name"$'\n'
  done
done < <(grep '^|' SECURITY.md | grep -oE '`(unit|sim|e2e)/[^`]+`' | tr -d '`')
if [ $n -ge 100 ] && [ -z "$missing" ]; then
  echo "ok every_threat_has_its_tests"
else
  echo "not ok every_threat_has_its_tests"
  printf '# %s tests named\n%s' $n "$missing"
  exit 1
fi
