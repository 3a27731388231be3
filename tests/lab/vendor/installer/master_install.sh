#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The installer's last part, as far as etcd is concerned: reads cluster.cnf beside it, "copies"
# the binaries to every node, then checks that the etcd cluster is made of the nodes it names.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=/dev/null
. /usr/illumon/latest/lib/standin.sh
broken master_install
echo "master_install.sh runs as $(id -un)"
[ -r cluster.cnf ] || fail "there is no cluster.cnf in $PWD"
grep -q '^DH_NODE_COUNT=' cluster.cnf ||
    fail 'cluster.cnf has no DH_NODE_COUNT. Run: java -jar ./Installer-1.20250101.001.jar'

value() { sed -n "s/^$1=//p" cluster.cnf | tail -n 1 | tr -d '"'; }
count=$(value DH_NODE_COUNT)
wanted=()
for n in $(seq "$count"); do
    address=$(value "DH_NODE_${n}_ADDRESS")
    [ -n "$address" ] || fail "DH_NODE_${n}_ADDRESS is not set in cluster.cnf"
    echo "[dh_node_$n] $address: Deephaven $(readlink /usr/illumon/latest) is in place"
    if [ "$(value "DH_NODE_${n}_ROLE_ETCD")" = true ]; then wanted+=("https://$address:2380"); fi
done
half_done

echo '[etcd] etcd_configure.sh.setup_check'
config=$ETC_DH/latest/config.yaml
configured=$(sed -n 's/^initial-cluster: *//p' "$config" 2>/dev/null | tr ',' '\n' |
    sed 's/^[^=]*=//' | sort)
if [ "$(printf '%s\n' "${wanted[@]}" | sort)" != "$configured" ]; then
    printf 'FAILED: etcd_configure.sh.setup_check: the etcd servers of cluster.cnf (%s) are not those of %s (%s)\n' \
        "${wanted[*]}" "$config" "${configured//$'\n'/ }" >&2
    exit 1
fi
/usr/illumon/latest/bin/etcdctl.sh endpoint health >/dev/null 2>&1 ||
    fail 'etcd_configure.sh.health_check: the etcd cluster is not healthy'
as_root install -m 0644 cluster.cnf /etc/sysconfig/deephaven/cluster.cnf
echo 'Installation complete'
