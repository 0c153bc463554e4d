# shellcheck shell=bash
# A real S3 server for the tests: moto's, from PyPI, in an environment of its own under .cache.

moto_packages=(
    moto==5.2.1 flask==3.1.3 flask-cors==6.0.5
    blinker==1.9.0 boto3==1.44.8 botocore==1.44.8 certifi==2026.10.19.post1 cffi==2.1.1 charset-normalizer==3.5.3
    click==8.5.1 cryptography==50.0.2 idna==3.20 itsdangerous==2.2.0 jinja2==3.1.6 jmespath==1.1.0 markupsafe==3.0.4
    py-partiql-parser==0.6.3 pycparser==3.12 python-dateutil==2.9.0.post0 pyyaml==6.0.4 requests==2.34.2
    responses==0.26.3 s3transfer==0.19.3 six==1.17.0 urllib3==2.8.0 werkzeug==3.1.9 xmltodict==1.0.4
)

ensure_moto() {
    local home=$cache/moto
    [ "$(cat "$home/.motif-versions" 2>/dev/null)" = "${moto_packages[*]}" ] && return
    say "installing an S3 server for the tests (once)"
    rm -rf "$home"
    python3 -m venv "$home" || fail "python3 cannot make an environment: install python3-venv"
    quietly "$home/bin/pip" install --no-deps "${moto_packages[@]}" || fail "the S3 server could not be installed"
    echo "${moto_packages[*]}" >"$home/.motif-versions"
}
