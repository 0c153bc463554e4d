# shellcheck shell=bash
# NVRTC, CUDA's compiler, from PyPI's wheel, pinned by hash: it compiles the kernels for the card that is there, and for
# the tests for cards that are not. It needs neither a card nor a driver itself.

nvrtc_version=13.0.88

# A card whose driver is loaded.
has_card() { [ -e /proc/driver/nvidia/version ]; }

# Installs NVRTC into the folder $1 unless that folder holds the pinned version already, and has programs find it there.
ensure_nvrtc() {
    local target=$1 work
    export MOTIF_NVRTC=${MOTIF_NVRTC:-$target}
    [ "$(cat "$target/.version" 2>/dev/null)" = "$nvrtc_version" ] && return
    say "fetching NVRTC $nvrtc_version (90 MB, once)"
    work=$target.partial
    rm -rf "$work" && mkdir -p "$work/wheels" "$work/unpacked"
    echo "nvidia-cuda-nvrtc==$nvrtc_version" \
        --hash=sha256:ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575 >"$work/requirements.txt"
    python3 -m pip download --quiet --no-cache-dir --no-deps --only-binary=:all: --require-hashes \
        --platform manylinux_2_12_x86_64 --platform manylinux2010_x86_64 \
        --dest "$work/wheels" --requirement "$work/requirements.txt" ||
        fail "NVRTC could not be fetched from PyPI"
    unzip -q -o "$work"/wheels/*.whl 'nvidia/cu13/lib/libnvrtc.so.13' 'nvidia/cu13/lib/libnvrtc-builtins.so.*' \
        -d "$work/unpacked" || fail "NVRTC could not be unpacked: is the disk full?"
    echo "$nvrtc_version" >"$work/unpacked/nvidia/cu13/lib/.version"
    rm -rf "$target" && mv "$work/unpacked/nvidia/cu13/lib" "$target" && rm -rf "$work"
}
