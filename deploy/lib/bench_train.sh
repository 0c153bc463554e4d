# shellcheck shell=bash
# Training: how long a batch takes by each engine, beside the products in it alone and beside PyTorch with motornet.

# bench_train [--peer] [--hidden 128,256,512] [--rounds N]: a table on the standard error, JSON on the standard output.
bench_train() {
    local arguments=(--worker "$repository/target/release/motif-worker")
    while [ $# -gt 0 ]; do
        case $1 in
            --peer)
                ensure_peer "$cache/peer"
                arguments+=(--peer "$cache/peer/bin/python")
                ;;
            *) arguments+=("$1") ;;
        esac
        shift
    done
    python3 "$repository/deploy/lib/bench_train.py" "${arguments[@]}"
}

# PyTorch and motornet in an environment of their own, $1.
ensure_peer() {
    local target=$1
    has_peer "$target" && return
    say "fetching PyTorch and motornet for the comparison (once)"
    rm -rf "$target"
    python3 -m venv "$target" || fail "python3-venv is missing: apt-get install python3-venv"
    quietly "$target/bin/python" -m pip install --quiet --no-cache-dir torch==2.11.0 motornet==0.2.0 ||
        fail "PyTorch and motornet could not be fetched from PyPI"
    has_peer "$target" || fail "PyTorch and motornet were fetched but do not start"
}

has_peer() {
    [ -x "$1/bin/python" ] && "$1/bin/python" -c "
import motornet, torch
assert torch.__version__.startswith('2.11.0') and motornet.__version__ == '0.2.0'" 2>/dev/null
}
