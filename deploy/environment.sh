# Sourced by demo, test, check and bench: makes the virtual environment .venv at the root, and finds the programs of the system.
# shellcheck shell=bash
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

# Hundreds of programs are started, each of which would compile all of its modules anew.
unset PYTHONDONTWRITEBYTECODE

say() { printf '%s\n' "$*" >&2; }

# Install Debian packages when this runs as root on a system that has apt; otherwise name the line that does it. 0 when installed.
install_packages() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing $* … 正在安装 $* …"
        if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } >/tmp/village-apt.$$ 2>&1; then
            tail -n 5 /tmp/village-apt.$$ >&2
            rm -f /tmp/village-apt.$$
            return 1
        fi
        rm -f /tmp/village-apt.$$
    else
        say "Missing: $*. Install with: sudo apt-get install $*"
        say "缺少：$*。请执行：sudo apt-get install $*"
        return 1
    fi
}

# find_python: prints a Python of version 3.11 or newer.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# prepare_environment: makes or brings up to date .venv. Interrupted at any point, the next call starts over.
prepare_environment() {
    local python wanted stamp="$root/.venv/installed"
    wanted=$(cat "$root/deploy/requirements.lock" "$root/pyproject.toml" | sha256sum | cut -d' ' -f1)
    if [ -x "$root/.venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    if ! python=$(find_python); then
        install_packages python3 python3-venv || return 1
        python=$(find_python) || { say "Python 3.11 or newer is needed. 需要 Python 3.11 或更新版本。"; return 1; }
    fi
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        install_packages python3-venv || return 1
    fi
    say "Preparing .venv (once, about a minute) … 正在准备 .venv（仅一次，约一分钟）…"
    # A second start in the same checkout waits for the first.
    exec 9>"$root/.venv.lock"
    flock 9
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        rm -f "$stamp"
        [ -x "$root/.venv/bin/python" ] || "$python" -m venv --clear "$root/.venv" || return 1
        "$root/.venv/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r "$root/deploy/requirements.lock" || return 1
        "$root/.venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e "$root" || return 1
        printf '%s\n' "$wanted" >"$stamp"
    fi
    exec 9>&-
}

# need_program NAME PACKAGE…: installs the packages if the program is absent.
need_program() {
    command -v "$1" >/dev/null || install_packages "${@:2}"
}
