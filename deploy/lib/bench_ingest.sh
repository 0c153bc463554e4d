# shellcheck shell=bash
# Points of metrics a second, durable when answered: eight workers with ten series each, with requests as large as
# the peer's and larger ones. With --peer, MLflow's tracking server takes the same load on the same Postgres.

mlflow_versions=(mlflow==3.17.2 psycopg2-binary==2.9.13)

bench_ingest() {
    local peer=no size argument
    for argument in "$@"; do
        case $argument in
            --peer) peer=yes ;;
            *) fail "\`$argument\` is not an option of ingest" ;;
        esac
    done
    [ "$peer" = no ] || ensure_mlflow
    start_coordinator
    : >"$work/ingest.measured"
    for size in 100 1000; do
        best_of 3 "$programs/motif" bench ingest --json --workers 8 --series 10 --steps "$size" --seconds 8 \
            >>"$work/ingest.measured"
    done
    [ "$peer" = no ] || best_of 3 mlflow_ingest >>"$work/ingest.measured"
    stop_coordinator
    python3 -c '
import json, sys
decoder, text, rows = json.JSONDecoder(), sys.stdin.read().strip(), []
while text:
    row, end = decoder.raw_decode(text)
    rows.append({"server": "motif", **row})
    text = text[end:].strip()
for row in rows:
    if rows[-1]["server"] != "motif":
        row["times_peer"] = row["points_per_s"] / rows[-1]["points_per_s"]
json.dump(rows, sys.stdout, indent=2)
' <"$work/ingest.measured" | tee "$work/ingest.rows"
    show_table server points_per_request points_per_s requests_per_s request_ms_p50 request_ms_p99 times_peer \
        <"$work/ingest.rows"
}

# Runs a command that prints a measurement $1 times, and prints the one with the most points a second: whatever
# else the machine does can only slow it down.
best_of() {
    local times=$1 i
    shift
    for ((i = 0; i < times; i++)); do "$@"; done | python3 -c '
import json, sys
decoder, text, best = json.JSONDecoder(), sys.stdin.read().strip(), None
while text:
    row, end = decoder.raw_decode(text)
    text = text[end:].strip()
    if best is None or row["points_per_s"] > best["points_per_s"]:
        best = row
print(json.dumps(best))
'
}

# MLflow in an environment of its own, under .cache.
ensure_mlflow() {
    local home=$cache/mlflow
    [ "$(cat "$home/.motif-versions" 2>/dev/null)" = "${mlflow_versions[*]}" ] && return
    say "installing MLflow, the peer (once)"
    python3 -m venv "$home" || fail "python3 cannot make an environment: install python3-venv"
    quietly "$home/bin/pip" install "${mlflow_versions[@]}" || fail "MLflow could not be installed"
    echo "${mlflow_versions[*]}" >"$home/.motif-versions"
}

# One measurement of MLflow, with a process for each of two cores, on a new database of the Postgres that the coordinator has started.
mlflow_ingest() {
    local python=$cache/mlflow/bin/python socket database server address status=0
    socket=$(readlink -f "$work/coordinator/postgres")
    database=mlflow_$RANDOM$RANDOM
    "$python" -c '
import psycopg2, sys
connection = psycopg2.connect(host=sys.argv[1], user="motif", dbname="postgres")
connection.autocommit = True
connection.cursor().execute(f"create database {sys.argv[2]}")
' "$socket" "$database" || fail "the peer got no database"
    address=127.0.0.1:$(free_port)
    setsid "$cache/mlflow/bin/mlflow" server --host 127.0.0.1 --port "${address#*:}" --workers 2 \
        --backend-store-uri "postgresql+psycopg2://motif@/$database?host=$socket" \
        --default-artifact-root "$work/mlflow" >"$work/mlflow.log" 2>&1 &
    server=$!
    "$python" "$repository/deploy/lib/mlflow_ingest.py" "http://$address" 8 8 || status=$?
    kill -TERM -- "-$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    [ "$status" -eq 0 ] || { tail -n 20 "$work/mlflow.log" >&2; fail "the peer could not be measured"; }
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
