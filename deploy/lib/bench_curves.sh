# shellcheck shell=bash
# Reading a curve of a million points at a thousand pixels: the whole of it, and a tenth somewhere.

bench_curves() {
    [ -z "${1:-}" ] || [ "$1" = --peer ] || fail "\`$1\` is not an option of curves"
    start_coordinator
    "$programs/motif" bench curves --json | tee "$work/curves.measured"
    stop_coordinator
    show_table points pixels whole_ms_p50 whole_ms_p99 part_ms_p50 part_ms_p99 <"$work/curves.measured"
}
