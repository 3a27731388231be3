# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab of the matrix: it is made once for each shape, and after a commit or a failure put back to what it was."""

import shutil
import sys

from dhlab import Lab, LabError
from dhlab.run import run
from dhlab.writer import Writer

from . import oracle

OPTIONS = ["-Dfailpoints=true"]


class Site(Lab):
    """All hosts but the last one are members."""

    def __init__(self, name, roles, hosts, ca="same"):
        self.roles = roles
        super().__init__(name=name, hosts=hosts, members=hosts - 1, keys=300, replace=True, meson_options=OPTIONS,
                         switches={"ca": ca})

    def picture(self):
        return oracle.picture(self)

    def commit(self):
        """What an undisturbed commit comes to; a lab that tries anything else has none."""

    def save(self):
        """The disks as they are now are what reset() brings back."""
        self.all(lambda h: (h.cut_power(), copy(h.upper, h.dir / "saved")))
        self.boot_all()

    def reset(self):
        Writer(self).kill()
        self.save_cuts({"links": [], "pairs": []})
        self.net.drop_between([])
        self.all(lambda h: (h.cut_power(), copy(h.dir / "saved", h.upper)))
        self.boot_all()

    def boot_all(self):
        self.all(lambda h: (h.start(), h.wait_booted()))
        self.wait_healthy(self.members_at_start)


def copy(a, b):
    """With everything an overlay's layer is made of: marks of deleted files, attributes, holes."""
    if b.exists():
        shutil.rmtree(b)
    run(["cp", "--archive", "--sparse=always", "--", str(a), str(b)])


class Bench:
    """One lab at a time, of the `shapes` by name. `before` is what it was; `committed` is what an undisturbed commit comes
    to."""

    def __init__(self, name, shapes):
        self.name, self.shapes, self.shape, self.used = name, shapes, None, False
        self.lab = self.before = self.committed = None

    def ready(self, shape="same"):
        if not self.lab or self.shape != shape:
            self.fresh(shape)
        elif self.used:
            self.reset()
        return self.lab

    def fresh(self, shape):
        self.lab, self.shape, self.used = self.shapes[shape](self.name), shape, True
        self.lab.up()
        self.lab.save()
        self.before = self.lab.picture()
        try:
            self.committed = self.lab.commit()
        except oracle.Broken:
            self.keep_logs("undisturbed", shape)
            raise
        if self.committed:
            self.lab.reset()
        self.used = False

    def reset(self):
        try:
            self.lab.reset()
            self.used = False
        except (LabError, OSError) as e:
            print(f"the lab is made anew: {e}", file=sys.stderr)
            self.fresh(self.shape)

    def keep_logs(self, point, fault):
        if self.lab:
            self.lab.save_logs(f"{point}-{fault}")

    def down(self):
        Lab(name=self.name).down()
