#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# etcdctl as the root client of the installation. Endpoints are those of the client's folder,
# unless ETCDCTL_ENDPOINTS or --endpoints says otherwise (the real etcdctl aborts when both do).
set -euo pipefail
# shellcheck source=/dev/null
. /usr/illumon/latest/lib/standin.sh
broken etcdctl
client=$DH_CONFIG/client/${ETCD_CLIENT:-root}
[ -r "$client/password" ] || fail "cannot read $client/password as $(id -un)"

endpoints_given=no
for arg in "$@"; do
    case $arg in --endpoints | --endpoints=*) endpoints_given=yes ;; esac
done
if [ "$endpoints_given" = no ] && [ -z "${ETCDCTL_ENDPOINTS-}" ]; then
    ETCDCTL_ENDPOINTS=$(<"$client/endpoints")
    export ETCDCTL_ENDPOINTS
fi
export ETCDCTL_API=3 ETCDCTL_CACERT=$client/cacert.pem
if [ -r "$client/cert.pem" ]; then
    export ETCDCTL_CERT=$client/cert.pem ETCDCTL_KEY=$client/key.pem
else
    ETCDCTL_USER=$(<"$client/user"):$(<"$client/password")
    export ETCDCTL_USER
fi
if [ -n "$BREAK_MODE" ]; then
    /usr/bin/etcdctl "$@" | head -c 40
    half_done
fi
exec /usr/bin/etcdctl "$@"
