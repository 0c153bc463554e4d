# shellcheck shell=bash
# libtorch for the worker: taken from PyPI's torch wheel, pinned by hash, unpacked into .cache/libtorch.
#
# The wheel's CPU library also names two CUDA runtime libraries, which come from wheels of their own.
# Everything is unpacked beside its final place and renamed at the end, so an interrupted set-up leaves
# nothing half-made behind.

libtorch_version=2.11.0

libtorch_requirements() {
    cat <<'EOT'
torch==2.11.0 --hash=sha256:0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cupti==13.0.85 --hash=sha256:4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
EOT
}

# Installs libtorch into the folder $1 unless that folder holds the pinned version already.
ensure_libtorch() {
    local target=$1 work
    [ "$(cat "$target/.version" 2>/dev/null)" = "$libtorch_version" ] && return
    say "fetching libtorch $libtorch_version (500 MB, once)"
    work=$target.partial
    rm -rf "$work" && mkdir -p "$work/wheels" "$work/unpacked"
    libtorch_requirements >"$work/requirements.txt"
    python3 -m pip download --quiet --no-cache-dir --no-deps --only-binary=:all: --require-hashes \
        --python-version 3.12 --implementation cp --abi cp312 --abi none \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 \
        --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        --dest "$work/wheels" --requirement "$work/requirements.txt" ||
        fail "libtorch could not be fetched from PyPI"
    local wheel
    for wheel in "$work"/wheels/*.whl; do
        unzip -q -o "$wheel" 'torch/include/*' torch/lib/libtorch_cpu.so torch/lib/libc10.so 'torch/lib/libgomp*' \
            'nvidia/cu13/lib/libcudart.so.13' 'nvidia/cu13/lib/libcupti.so.13' -d "$work/unpacked" 2>/dev/null ||
            [ $? -eq 11 ] || fail "$(basename "$wheel") could not be unpacked: is the disk full?"
    done
    mkdir -p "$work/libtorch/lib"
    mv "$work/unpacked/torch/include" "$work/libtorch/include"
    mv "$work"/unpacked/torch/lib/* "$work"/unpacked/nvidia/cu13/lib/* "$work/libtorch/lib/"
    # One name to link against; the real libraries are the two inside.
    echo 'INPUT(-ltorch_cpu -lc10)' >"$work/libtorch/lib/libtorch.so"
    echo "$libtorch_version" >"$work/libtorch/build-version"
    echo "$libtorch_version" >"$work/libtorch/.version"
    rm -rf "$target" && mv "$work/libtorch" "$target" && rm -rf "$work"
}
