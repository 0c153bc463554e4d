# shellcheck shell=bash
# The dashboard in Chromium, against a coordinator and a worker that really train.

test_in_browser() {
    local data coordinator worker status=0
    data=$(mktemp -d)
    setsid "$MOTIF_PROGRAMS/motif-server" serve --listen 127.0.0.1:0 --data-dir "$data" \
        >"$data/address" 2>"$data/coordinator.log" &
    coordinator=$!
    MOTIF_SERVER=$(wait_for_address "$data/address" "$coordinator") || { cat "$data/coordinator.log" >&2; return 1; }
    export MOTIF_SERVER
    setsid "$MOTIF_PROGRAMS/motif-worker" run --server "$MOTIF_SERVER" --slots 1 --work-dir "$data/worker" \
        >"$data/worker.log" 2>&1 &
    worker=$!
    "$MOTIF_PROGRAMS/motif" submit --preset demo --name "browser test" --set network.hidden=16 \
        --set training.batches=400 --set training.save_every=20
    (cd web && npm run --silent test:browser) || status=$?
    [ "$status" -eq 0 ] || tail -n 20 "$data/coordinator.log" "$data/worker.log" >&2
    kill -TERM "$worker" "$coordinator"
    wait "$worker" "$coordinator" || status=1
    rm -rf "$data"
    return "$status"
}
