#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Makes the configuration package of the whole etcd cluster: for each server its config.yaml and
# certificates, for each account its endpoints and a new password.
set -euo pipefail
umask 077
# shellcheck source=/dev/null
. /usr/illumon/latest/lib/standin.sh
# shellcheck source=/dev/null
. /usr/illumon/latest/install/etcd/templates.sh
broken config_generator

ACCOUNTS='root schema schema-ro datarouting-ro datarouting-rw acl-ro acl-rw'
servers=()
cluster_id='' self_signed=no root_user_dhadmin=no
while [ $# -gt 0 ]; do
    case $1 in
        --self-signed) self_signed=yes ;;
        --root-user-dhadmin) root_user_dhadmin=yes ;;
        --cluster-id)
            cluster_id=${2-}
            shift
            ;;
        --servers)
            while [ $# -gt 1 ] && [[ $2 != --* ]]; do
                servers+=("$2")
                shift
            done
            ;;
        *) fail "unknown argument '$1'" 2 ;;
    esac
    shift
done
[ "$(id -u)" -eq 0 ] || fail 'must be run as root'
[ "$self_signed" = yes ] || fail 'only --self-signed is supported' 2
[ "${#servers[@]}" -gt 0 ] || fail '--servers needs at least one IP address' 2
if [ -z "$cluster_id" ]; then
    digits=$(($(switch id_length 9) - 1))
    cluster_id=c$(openssl rand -hex 8 | head -c "$digits")
fi
[[ $cluster_id =~ ^[A-Za-z0-9]+$ ]] || fail "bad cluster ID '$cluster_id'" 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
top=$work/dh-etcd
mkdir -p "$top/client" "$top/server" "$top/ca"
client_auth=$(switch client_auth password)

if [ "$(switch ca new)" = same ] && [ -r "$DH_CONFIG/ca/ca.key" ]; then
    cp -p "$DH_CONFIG/ca/ca.crt" "$DH_CONFIG/ca/ca.key" "$top/ca/"
else
    make_ca "$top/ca"
fi

initial_cluster='' endpoints='' n=0
for ip in "${servers[@]}"; do
    n=$((n + 1))
    initial_cluster+=${initial_cluster:+,}etcd-$n=https://$ip:2380
    endpoints+=${endpoints:+,}https://$ip:2379
done

n=0
for ip in "${servers[@]}"; do
    n=$((n + 1))
    server=$top/server/$n
    mkdir -p "$server/ssl"
    config_yaml "$n" "$ip" "$cluster_id" "$initial_cluster" "$client_auth" \
        "$(switch generator_state new)" >"$server/config.yaml"
    cp "$top/ca/ca.crt" "$server/ssl/ca.crt"
    make_cert "$top/ca" "$server/ssl/server" "etcd-$n" "IP:$ip,IP:127.0.0.1,DNS:localhost"
    make_cert "$top/ca" "$server/ssl/peer" "etcd-$n" "IP:$ip,IP:127.0.0.1,DNS:localhost"
    [ "${BREAK_MODE#half}" = "$BREAK_MODE" ] || break
done

for user in $ACCOUNTS; do
    client=$top/client/$user
    mkdir -p "$client"
    printf '%s\n' "$endpoints" >"$client/endpoints"
    printf '%s\n' "$user" >"$client/user"
    openssl rand -hex 16 >"$client/password"
    cp "$top/ca/ca.crt" "$client/cacert.pem"
    [ "$client_auth" != cert ] || {
        make_cert "$top/ca" "$client/cert" "$user" "DNS:$user"
        mv "$client/cert.crt" "$client/cert.pem"
        mv "$client/cert.key" "$client/key.pem"
    }
done
[ "$root_user_dhadmin" = no ] || touch "$top/client/root/.dhadmin"

# The CA stays on this host: it signs the next run's certificates where ca=same.
install -d -m 0755 /etc/sysconfig/deephaven "$DH_CONFIG"
install -d -m 0700 "$DH_CONFIG/ca"
install -m 0600 "$top/ca/ca.crt" "$top/ca/ca.key" "$DH_CONFIG/ca/"
rm -f "$top/ca/ca.key"
find "$top" -type d -exec chmod 0750 {} +
find "$top" -type f -exec chmod 0640 {} +
tar -czf "$DH_CONFIG/$PACKAGE" -C "$work" dh-etcd
chmod 0600 "$DH_CONFIG/$PACKAGE"
half_done
echo "Created $DH_CONFIG/$PACKAGE for cluster $cluster_id with ${#servers[@]} server(s)"
