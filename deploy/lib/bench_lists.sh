# shellcheck shell=bash
# Lists of runs, filtered and sorted, among 100,000 that SQL makes as years of work would leave them.

bench_lists() {
    [ -z "${1:-}" ] || [ "$1" = --peer ] || fail "\`$1\` is not an option of lists"
    start_coordinator
    # The spec that all of them have.
    "$programs/motif" submit --preset demo >"$work/lists.log"
    say "making 100,000 runs (some minutes)"
    {
        echo "set motif.runs = 100000; set motif.series = 10;"
        cat "$repository/deploy/lib/many_runs.sql"
    } | "$(postgres_program psql)" --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username motif --dbname motif \
        --host "$(readlink -f "$work/coordinator/postgres")" >>"$work/lists.log" 2>&1 ||
        { tail -n 5 "$work/lists.log" >&2; fail "the runs could not be made"; }
    "$programs/motif" bench lists --json | tee "$work/lists.measured"
    stop_coordinator
    show_table list runs among page_ms_p50 page_ms_p99 <"$work/lists.measured"
}

# A program of Postgres, which Debian keeps off the path.
postgres_program() { command -v "$1" || compgen -G "/usr/lib/postgresql/*/bin/$1" | tail -n 1; }
