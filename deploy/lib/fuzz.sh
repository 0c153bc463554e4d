# shellcheck shell=bash
# The API fuzzer, schemathesis, against a coordinator with some data.

schemathesis_version=4.32.5

# fuzz SECONDS SEED, with the programs in $MOTIF_PROGRAMS.
fuzz() {
    local seconds=$1 seed=$2 data coordinator fleet url status=0
    ensure_schemathesis
    data=$(mktemp -d)
    # Everything comes from one address, faster than people ask.
    setsid "$MOTIF_PROGRAMS/motif-server" serve --listen 127.0.0.1:0 --data-dir "$data" --rate-limit 0 \
        >"$data/address" 2>"$data/coordinator.log" &
    coordinator=$!
    url=$(wait_for_address "$data/address" "$coordinator") || { cat "$data/coordinator.log" >&2; return 1; }
    MOTIF_SERVER=$url "$MOTIF_PROGRAMS/motif" submit --preset demo --name "before the fleet" >/dev/null
    MOTIF_SERVER=$url setsid "$MOTIF_PROGRAMS/motif" simulate --workers 4 --runs 8 --batches 1000000 \
        >"$data/fleet.log" 2>&1 &
    fleet=$!
    say "fuzzing $url for $seconds s, seed $seed"
    # What no schema can say of a spec or a query is judged by the coordinator: it may refuse what the document allows.
    # Programs of its machine need no token here, so none is missed; who needs which is what the coordinator's tests ask.
    "$cache/schemathesis/bin/schemathesis" run "$url/api/v1/openapi.json" --max-time "$seconds" --seed "$seed" \
        --request-timeout 30 --exclude-checks positive_data_acceptance,ignored_auth --continue-on-failure || status=$?
    kill -TERM "$fleet" 2>/dev/null && wait "$fleet" 2>/dev/null || true
    if grep -q '"level":"ERROR"\|ERROR' "$data/coordinator.log"; then
        grep -m 5 'ERROR' "$data/coordinator.log" >&2
        status=1
    fi
    kill -TERM "$coordinator" && wait "$coordinator" || status=1
    rm -rf "$data"
    return "$status"
}

# schemathesis in an environment of its own, under .cache.
ensure_schemathesis() {
    local home=$cache/schemathesis
    [ "$(cat "$home/.motif-version" 2>/dev/null)" = "$schemathesis_version" ] && return
    say "installing schemathesis (once)"
    python3 -m venv "$home" || fail "python3 cannot make an environment: install python3-venv"
    quietly "$home/bin/pip" install "schemathesis==$schemathesis_version" || fail "schemathesis could not be installed"
    echo "$schemathesis_version" >"$home/.motif-version"
}
