# shellcheck shell=bash
# Waits for a coordinator.

# The address that the coordinator with process id $2 prints into file $1 once it is ready.
wait_for_address() {
    local url
    for _ in $(seq 300); do
        url=$(sed -n 's/^Motif listens on //p' "$1")
        [ -n "$url" ] && { echo "$url"; return; }
        kill -0 "$2" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}
