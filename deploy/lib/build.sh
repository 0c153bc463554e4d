# shellcheck shell=bash
# The set-up: packages, libtorch, the dashboard, the programs. Silent about what is already there.

. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"
. "$(dirname "${BASH_SOURCE[0]}")/libtorch.sh"
. "$(dirname "${BASH_SOURCE[0]}")/moto.sh"
. "$(dirname "${BASH_SOURCE[0]}")/nvrtc.sh"

# Packages and libtorch; with a card, its compiler. With --tests also what only the tests need.
set_up() {
    mkdir -p "$cache"
    # One set-up at a time: a second one waits for the first and then finds its work done.
    exec 9>"$cache/set-up.lock"
    flock 9
    ensure_packages "$@"
    [ -n "${LIBTORCH:-}" ] || ensure_libtorch "$cache/libtorch"
    if [ "${1:-}" = --tests ] || has_card; then ensure_nvrtc "$cache/nvrtc"; fi
    ensure_node_packages
    [ "${1:-}" != --tests ] || ensure_moto
    flock -u 9
}

# Node packages exactly as the lock file has them.
ensure_node_packages() {
    local wanted
    wanted=$(fingerprint web/package.json web/package-lock.json)
    [ "$(cat web/node_modules/.motif-lock 2>/dev/null)" = "$wanted" ] && return
    say "installing the dashboard's Node packages"
    (cd web && quietly npm ci --no-audit --no-fund) || fail "the Node packages could not be installed"
    echo "$wanted" >web/node_modules/.motif-lock
}

# The dashboard, which the coordinator's program carries inside.
build_dashboard() {
    local wanted
    wanted=$(fingerprint web/src web/index.html web/package.json web/package-lock.json web/*.config.* web/tsconfig*.json)
    [ "$(cat web/dist/.motif-built 2>/dev/null)" = "$wanted" ] && return
    say "building the dashboard"
    (cd web && quietly npm run build) || fail "the dashboard could not be built"
    echo "$wanted" >web/dist/.motif-built
}

# motif-server, motif-worker (a launcher and its engine) and motif, into target/release.
build_programs() {
    local programs=(--bin motif-server --bin motif-worker --bin motif-worker-engine --bin motif)
    if [ ! -x target/release/motif-server ] || [ ! -x target/release/motif-worker ] || [ ! -x target/release/motif ]; then
        say "building the programs (some minutes, once)"
    fi
    if [ -t 2 ]; then
        cargo build --release --locked "${programs[@]}" || fail "the programs could not be built"
    else
        quietly cargo build --release --locked "${programs[@]}" || fail "the programs could not be built"
    fi
}
