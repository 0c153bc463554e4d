# shellcheck shell=bash
# How fast runs come to workers: claims a second with a long queue, the way from a submission to an idle worker, and
# what a thousand workers that heartbeat and stream cost the coordinator and its Postgres.

bench_dispatch() {
    local arguments=()
    while [ $# -gt 0 ]; do
        case $1 in
            --workers | --queued | --seconds | --claim-seconds | --pace | --submissions | --fleet | --fleet-seconds | --every)
                arguments+=("$1" "${2:?$1 needs a number}") && shift ;;
            *) fail "\`$1\` is not an option of dispatch" ;;
        esac
        shift
    done
    start_coordinator
    "$programs/motif" bench dispatch --json --leave --coordinator "$coordinator" ${arguments[@]+"${arguments[@]}"} \
        | tee "$work/dispatch.measured"
    stop_coordinator
    python3 -c '
import json, sys
measured = json.load(sys.stdin)
phases = [(key, measured.pop(key)) for key in ("with_ends", "paced", "alone")]
fleet = measured.pop("fleet", None)
ways = {key: value for key, value in measured.items() if key.startswith("submit_to_worker")}
with open(sys.argv[1], "w") as rows:
    json.dump([{"phase": key, **values} for key, values in phases], rows)
with open(sys.argv[2], "w") as rows:
    json.dump([{**ways, **{f"fleet_{key}": value for key, value in (fleet or {}).items()}}], rows)
' "$work/dispatch.claims" "$work/dispatch.fleet" <"$work/dispatch.measured"
    show_table phase claims_per_s claim_ms_p50 claim_ms_p99 cpu client_cpu <"$work/dispatch.claims"
    show_table submit_to_worker_ms_p50 submit_to_worker_ms_p99 fleet_workers fleet_batches_per_s fleet_metrics_ms_p50 \
        fleet_metrics_ms_p99 fleet_cpu fleet_client_cpu <"$work/dispatch.fleet"
}
