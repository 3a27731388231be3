# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Shared by the stand-ins: the switches of /etc/dh-standin.conf (KEY=value lines) and failing
# on demand.

STANDIN_CONF=/etc/dh-standin.conf
ETC_DH=/etc/etcd/dh
VAR_DH=/var/lib/etcd/dh
DH_CONFIG=/etc/sysconfig/deephaven/etcd
PACKAGE=dh_etcd_config.tgz
# Used by the scripts that read this file.
export ETC_DH VAR_DH DH_CONFIG PACKAGE

# switch NAME DEFAULT: the last value that the file gives NAME.
switch() {
    local value
    value=$(awk -F= -v name="$1" '$1 == name { v = substr($0, length(name) + 2); seen = 1 }
        END { if (seen) print v; else exit 1 }' "$STANDIN_CONF" 2>/dev/null) || value=$2
    printf '%s' "$value"
}

fail() {
    printf 'ERROR: %s: %s\n' "${0##*/}" "$1" >&2
    exit "${2:-1}"
}

# broken SCRIPT: fails, hangs, waits or does nothing when told so. half_done ends a script in the
# middle of its work in the modes half (exit 0), half-fail (exit 3) and half-hang (never).
broken() {
    BREAK_MODE=$(switch "break_$1" '')
    case $BREAK_MODE in
        '' | half | half-fail | half-hang) ;;
        fail) fail "$1 is broken for a test" 3 ;;
        hang) exec sleep 2147483647 ;;
        slow) sleep 5 ;;
        slow-*) sleep "${BREAK_MODE#slow-}" ;;
        stderr)
            printf 'ERROR: %s: Permission denied\n' "$1" >&2
            exit 0
            ;;
        *) fail "no mode named '$BREAK_MODE' in $STANDIN_CONF" 2 ;;
    esac
}

# As the vendor's installer, which is seldom run by root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

half_done() {
    case ${BREAK_MODE-} in
        half) exit 0 ;;
        half-fail) fail 'stopped in the middle of its work for a test' 3 ;;
        half-hang) exec sleep 2147483647 ;;
    esac
}
