# shellcheck shell=bash
# Debian packages: only those whose programs are missing, so a machine that is set up needs no root.

wanted_packages() {
    have cc && have c++ || echo build-essential
    have mold || echo mold
    have python3 && python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
    have unzip || echo unzip
    have node && have npm || echo nodejs npm
    have_postgres || echo postgresql-15
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    # Debian keeps a current Rust for building browsers, beside its own older one.
    have_rust || echo rustc-web cargo-web rustfmt-web rust-web-clippy
    if [ "${1:-}" = --tests ]; then
        have chromium || echo chromium fonts-dejavu-core
        python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
    fi
}

have() { command -v "$1" >/dev/null 2>&1; }
have_postgres() { have postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }

# cargo on the path or where rustup puts it, and not older than the workspace asks for.
have_rust() {
    [ -x "$HOME/.cargo/bin/cargo" ] && PATH=$HOME/.cargo/bin:$PATH
    have cargo && have rustc || return 1
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$repository/Cargo.toml")
    found=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ]
}

# Installs what is missing. With --tests also what only the tests need.
ensure_packages() {
    local packages
    packages=$(wanted_packages "$@" | tr '\n' ' ')
    packages=${packages% }
    [ -z "$packages" ] && return
    say "installing Debian packages: $packages"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        { have sudo && sudo -n true 2>/dev/null; } ||
            fail "these packages are missing; install them as root and start again: apt-get install $packages"
        as_root=(sudo)
    fi
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends)
    quietly "${apt[@]}" update || fail "the lists of Debian packages could not be fetched"
    if [[ " $packages " == *" postgresql-15 "* ]]; then
        # Only the programs are wanted: without this Debian would start a database server of its own.
        quietly "${apt[@]}" install postgresql-common || fail "postgresql-common could not be installed"
        "${as_root[@]}" sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' \
            /etc/postgresql-common/createcluster.conf
    fi
    # shellcheck disable=SC2086
    quietly "${apt[@]}" install $packages || fail "these packages could not be installed: $packages"
    have_rust || fail "Rust is older than Cargo.toml asks for: update it (rustup update) and start again"
}
