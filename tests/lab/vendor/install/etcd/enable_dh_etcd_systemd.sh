#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Installs, enables and starts dh-etcd on this host; fails if it is not up within 60 s.
set -euo pipefail
# shellcheck source=/dev/null
. /usr/illumon/latest/lib/standin.sh
# shellcheck source=/dev/null
. /usr/illumon/latest/bin/dh_users
broken enable_dh_etcd_systemd

[ "$(id -u)" -eq 0 ] || fail 'must be run as root'
[ -r "$ETC_DH/latest/config.yaml" ] || fail "there is no $ETC_DH/latest/config.yaml"
id=$(basename "$(readlink "$ETC_DH/latest")")
install -d -m 0750 -o etcd -g "$DH_ADMIN_GROUP" "$VAR_DH"
if [ "$(switch data_dir parent)" != wrong-owner ]; then
    install -d -m 0700 -o etcd -g "$DH_ADMIN_GROUP" "$VAR_DH/$id"
fi

cat >/etc/systemd/system/dh-etcd.service <<'UNIT'
[Unit]
Description=Deephaven etcd key-value store
Documentation=https://etcd.io/docs/
After=network.target

[Service]
Type=notify
User=etcd
Group=irisadmin
ExecStart=/usr/bin/etcd --config-file /etc/etcd/dh/latest/config.yaml
Restart=on-failure
RestartSec=2
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl --quiet enable dh-etcd
half_done
timeout 60 systemctl start dh-etcd ||
    fail 'dh-etcd did not come up within 60 s. See journalctl -u dh-etcd'
systemctl --quiet is-active dh-etcd || fail 'dh-etcd is not active. See journalctl -u dh-etcd'
echo 'dh-etcd is enabled and running'
