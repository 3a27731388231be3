# SPDX-License-Identifier: LGPL-2.1-or-later
"""Faults before the promotion where the hosts are Debian 12: etcd 3.4.23, systemd 252."""

import unittest

from support import LabCase
from test_rollback import Faults


class RollbackEtcd34(Faults, LabCase):
    slow, sample = 2, 0.07
    lab_options = {"hosts": 4, "members": 3, "suite": "bookworm", "switches": {"ca": "new"}}

    def setUp(self):
        self.assertIn("3.4.", self.lab.etcdctl("dh1", "version").stdout)


if __name__ == "__main__":
    unittest.main()
