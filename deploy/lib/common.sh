# shellcheck shell=bash
# What every script in deploy/ shares: where things are, and how to speak.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$repository/.cache
cd "$repository" || exit 1

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' red=$'\e[31m' dim=$'\e[2m' plain=$'\e[0m'
else
    bold='' red='' dim='' plain=''
fi

# Says what is being done.
say() { printf '%s\n' "${dim}motif:${plain} ${bold}$*${plain}" >&2; }

# Says why it cannot go on, and ends.
fail() {
    printf '%s\n' "${red}motif: $*${plain}" >&2
    exit 1
}

# Runs a command quietly; shows what it printed only if it fails.
quietly() {
    local log
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

# A hash of the files named or below the folders named, to tell whether something must be made again.
fingerprint() { find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1; }

# Shows JSON (an object or a list of them) from the standard input as a table of the keys named, on the terminal.
show_table() {
    python3 -c '
import json, sys
rows = json.load(sys.stdin)
rows = rows if isinstance(rows, list) else [rows]
keys = [key for key in sys.argv[1:] if any(key in row for row in rows)]
def text(value):
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
lines = [keys] + [[text(row.get(key, "")) for key in keys] for row in rows]
widths = [max(len(line[i]) for line in lines) for i in range(len(keys))]
for line in lines:
    print("  ".join(cell.rjust(width) for cell, width in zip(line, widths)))
' "$@" >&2
}
