#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Unpacks this node's part of the package in the working directory:
#   config_packager.sh etcd unpackage-server NUMBER | unpackage-client
set -euo pipefail
umask 027
# shellcheck source=/dev/null
. /usr/illumon/latest/lib/standin.sh
# shellcheck source=/dev/null
. /usr/illumon/latest/bin/dh_users

[ "${1-}" = etcd ] || fail "usage: config_packager.sh etcd unpackage-server NUMBER | unpackage-client" 2
action=${2-}
case $action in
    unpackage-server | unpackage-client) broken "config_packager.$action" ;;
    *) fail "unknown action '$action'" 2 ;;
esac
[ "$(id -u)" -eq 0 ] || fail 'must be run as root'
[ -r "$PACKAGE" ] || fail "there is no $PACKAGE in $PWD"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$PACKAGE" -C "$work" || fail "cannot unpack $PWD/$PACKAGE"
top=$work/dh-etcd

unpackage_server() {
    local from=$top/server/$1 id to link
    [ -f "$from/config.yaml" ] || fail "$PACKAGE holds no server '$1'"
    id=$(sed -n 's/^initial-cluster-token:[[:space:]]*//p' "$from/config.yaml")
    [ -n "$id" ] || fail "server $1: no initial-cluster-token in config.yaml"
    to=$ETC_DH/$id
    install -d -m 0755 /etc/etcd
    install -d -m 0750 -o etcd -g "$DH_ADMIN_GROUP" "$ETC_DH" "$to" "$to/ssl"
    if [ -n "$BREAK_MODE" ]; then
        head -c 900 "$from/config.yaml" >"$to/config.yaml"
        half_done
    fi
    install -m 0640 -o etcd -g "$DH_ADMIN_GROUP" "$from/config.yaml" "$to/"
    install -m 0640 -o etcd -g "$DH_ADMIN_GROUP" "$from/ssl/"* "$to/ssl/"
    link=$id
    [ "$(switch latest relative)" = relative ] || link=$to
    ln -sfn "$link" "$ETC_DH/latest"
    case $(switch data_dir parent) in
        none) ;;
        parent) install -d -m 0750 -o etcd -g "$DH_ADMIN_GROUP" "$VAR_DH" ;;
        full)
            install -d -m 0750 -o etcd -g "$DH_ADMIN_GROUP" "$VAR_DH"
            install -d -m 0700 -o etcd -g "$DH_ADMIN_GROUP" "$VAR_DH/$id"
            ;;
        wrong-owner) install -d -m 0755 -o root -g root "$VAR_DH" "$VAR_DH/$id" ;;
    esac
    echo "Unpacked the etcd server configuration $1 to $to"
}

# Which hosts get the root client is the vendor's choice: a switch.
wants_root() {
    case $(switch root_client members) in
        all) return 0 ;;
        none) return 1 ;;
        *) [ -e "$ETC_DH/latest" ] ;;
    esac
}

unpackage_client() {
    local from user to done_count=0
    install -d -m 0755 /etc/sysconfig/deephaven
    install -d -m 0755 -o "$DH_ADMIN_USER" -g "$DH_ADMIN_GROUP" "$DH_CONFIG" "$DH_CONFIG/client"
    for from in "$top"/client/*/; do
        user=$(basename "$from")
        [ "$user" != root ] || wants_root || continue
        to=$DH_CONFIG/client/$user
        install -d -m 0750 -o "$DH_ADMIN_USER" -g "$DH_ADMIN_GROUP" "$to"
        install -m 0640 -o "$DH_ADMIN_USER" -g "$DH_ADMIN_GROUP" "$from"/* "$to/"
        if [ "$user" = root ] && [ ! -e "$from/.dhadmin" ]; then
            chown -R root:root "$to"
        fi
        done_count=$((done_count + 1))
        if [ -n "$BREAK_MODE" ] && [ "$done_count" -eq 2 ]; then
            : >"$to/password"
            half_done
        fi
    done
    # Every host keeps the package it was given.
    [ "$PWD" = "$DH_CONFIG" ] || install -m 0600 "$PACKAGE" "$DH_CONFIG/$PACKAGE"
    echo "Unpacked $done_count etcd client configuration(s) to $DH_CONFIG/client"
}

if [ "$action" = unpackage-server ]; then
    [[ ${3-} =~ ^[1-9][0-9]*$ ]] || fail 'unpackage-server needs a node number' 2
    unpackage_server "$3"
else
    unpackage_client
fi
