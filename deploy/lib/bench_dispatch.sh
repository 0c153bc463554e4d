# shellcheck shell=bash
# How fast runs come to workers: claims a second with a long queue, the way from a submission to an idle worker, and
# what a thousand workers that heartbeat and stream cost the coordinator and its Postgres.

bench_dispatch() {
    local arguments=()
    while [ $# -gt 0 ]; do
        case $1 in
            --workers | --queued | --seconds | --submissions | --fleet | --fleet-seconds | --every)
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
fleet = measured.pop("fleet", None)
json.dump([{**measured, **{f"fleet_{key}": value for key, value in (fleet or {}).items()}}], sys.stdout)
' <"$work/dispatch.measured" >"$work/dispatch.rows"
    show_table queued claims_per_s claim_ms_p50 claim_ms_p99 submit_to_worker_ms_p50 submit_to_worker_ms_p99 \
        fleet_workers fleet_batches_per_s fleet_cpu <"$work/dispatch.rows"
}
