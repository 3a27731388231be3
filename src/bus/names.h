/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every name on the bus, and every path both ends agree on. */

#define DHETCD_SERVICE "org.dhetcd1"
#define DHETCD_PATH "/org/dhetcd1"
#define DHETCD_MANAGER "org.dhetcd1.Manager"
#define DHETCD_HOST "org.dhetcd1.Host"

#define DHETCD_ERROR_BUSY "org.dhetcd1.Error.Busy" /* a lock or the queue is held; text names the holder */
#define DHETCD_ERROR_NO_SUCH_JOB "org.dhetcd1.Error.NoSuchJob"
/* Another host works on the job now, or has ended it. */
#define DHETCD_ERROR_TAKEN_OVER "org.dhetcd1.Error.TakenOver"
#define DHETCD_ERROR_REJECTED "org.dhetcd1.Error.Rejected" /* bad input or precondition; nothing was changed */
#define DHETCD_ERROR_FAILED "org.dhetcd1.Error.Failed"     /* the text says cause and next command */

#define DHETCD_STATE_DIR "/var/lib/dhetcd"
#define DHETCD_JOBS_DIR DHETCD_STATE_DIR "/jobs"           /* on the job's host: jobs/JOB/job.json, jobs/JOB/N/… */
#define DHETCD_HOST_DIR DHETCD_STATE_DIR "/host"           /* on every host: host/lock.json, host/TXN/… */
#define DHETCD_SNAPSHOT_STORE DHETCD_STATE_DIR "/store"    /* on every host */
#define DHETCD_SCHEDULES_DIR DHETCD_STATE_DIR "/schedules" /* on the job's host: schedules/NODE.json */

/* A vendor script's, on the host concerned: the transaction, the step, the script. */
#define DHETCD_EXEC_UNIT "dhetcd-exec-%s-%s-%s.service"

#define DH_ETCD_UNIT "dh-etcd.service"
#define DH_ETCD_DIR "/etc/etcd/dh"
#define DH_ETCD_LATEST DH_ETCD_DIR "/latest"
#define DH_ETCD_CONFIG DH_ETCD_LATEST "/config.yaml"
#define DH_ETCD_DATA_PARENT "/var/lib/etcd/dh"
#define DH_SYSCONFIG_DIR "/etc/sysconfig/deephaven/etcd"
#define DH_CLIENT_DIR DH_SYSCONFIG_DIR "/client"
#define DH_ROOT_CLIENT_DIR DH_CLIENT_DIR "/root"
#define DH_PACKAGE DH_SYSCONFIG_DIR "/dh_etcd_config.tgz"
#define DH_USERS_FILE "/usr/illumon/latest/bin/dh_users"
#define DH_CONFIG_GENERATOR "/usr/illumon/latest/install/etcd/config_generator.sh"
#define DH_CONFIG_PACKAGER "/usr/illumon/latest/install/config_packager.sh"
#define DH_ENABLE_SYSTEMD "/usr/illumon/latest/install/etcd/enable_dh_etcd_systemd.sh"

#define DH_ETCD_CLIENT_PORT 2379
#define DH_ETCD_PEER_PORT 2380
