#!/bin/sh
# Fourteen bugs, one at a time, in a copy of this crate: each must turn the named test red. A bug that no test sees is an
# error, and so is one that no longer applies to the code. Prints a table: bug -> the test that caught it.
#
#   gateway/journal/mutants/run.sh            all
#   gateway/journal/mutants/run.sh 3          only the one whose name begins with 3
#
# A bug is a file NAME.mutant beside this script: first line "test: BINARY FILTER", then a Python expression per line,
# "FILE: old -> new" in the form of replace(FILE, OLD, NEW) calls. The old text must be there exactly once.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
crate=$(dirname "$here")
root=$(cd "$crate/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
target=${JOURNAL_MUTANTS_TARGET:-/tmp/target-journal-mutants}

# A workspace of its own with this one crate, and the versions that the real one has resolved.
mkdir -p "$work/gateway"
cp "$root/Cargo.lock" "$work/" 2>/dev/null || true
sed '/^members = \[/,/^\]/c members = ["gateway/journal"]' "$root/Cargo.toml" |
    grep -Ev '^(schemas|cesql|settings|codecs|transports|journal|backends|conformance|gateway) +=' > "$work/Cargo.toml"

failed=0
printf '%-34s %-10s %s\n' 'seeded bug' 'result' 'caught by'
for mutant in "$here/${1:-}"*.mutant; do
    name=$(basename "$mutant" .mutant)
    rm -rf "$work/gateway/journal"
    mkdir "$work/gateway/journal"
    (cd "$crate" && cp -R Cargo.toml src tests benches "$work/gateway/journal/")
    python3 - "$mutant" "$work/gateway/journal/src" <<'PY'
import pathlib, sys
mutant, src = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
def replace(file, old, new):
    path = src / file
    text = path.read_text()
    if text.count(old) != 1:
        sys.exit(f"{mutant.name}: {file} has the text to replace {text.count(old)} times, want once:\n{old}")
    path.write_text(text.replace(old, new))
exec(mutant.read_text().split("\n", 1)[1], {"replace": replace})
PY
    set -- $(head -n 1 "$mutant" | sed 's/^# *test: *//')
    log="$work/$name.log"
    if ! (cd "$work" && CARGO_TARGET_DIR=$target cargo test -q -p journal --test "$1" --no-run) > "$log" 2>&1; then
        printf '%-34s %-10s %s\n' "$name" 'NOT BUILT' "see below"
        tail -n 30 "$log"
        failed=1
        continue
    fi
    if (cd "$work" && CARGO_TARGET_DIR=$target RUST_BACKTRACE=0 timeout 120 cargo test -q -p journal --test "$1" -- ${2:-}) > "$log" 2>&1; then
        printf '%-34s %-10s %s\n' "$name" 'MISSED' "by $1 ${2:-}"
        failed=1
    else
        # The test that went red, and its words.
        test=$(grep -m 1 -E '^test .* FAILED|^    [a-z_:]+$' "$log" | sed 's/^test //; s/ \.\.\. FAILED//; s/^ *//')
        says=$(grep -A 1 -m 1 'panicked at' "$log" | tail -n 1 | cut -c 1-90)
        if [ -z "$says" ]; then
            printf '%-34s %-10s %s\n' "$name" 'UNCLEAR' "$1 failed without a failed assertion"
            tail -n 20 "$log"
            failed=1
        else
            printf '%-34s %-10s %s\n' "$name" 'caught' "$1::$test: $says"
        fi
    fi
done
exit $failed
