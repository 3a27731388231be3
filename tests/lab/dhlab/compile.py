# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compiles this source tree in the build root, for the suite that the hosts run."""

import hashlib
import json
import shutil
import sys

from . import paths, rootfs
from .errors import LabError
from .run import run

OPTIONS = ["-Dprefix=/usr", "-Dsysconfdir=/etc", "-Dlocalstatedir=/var"]


def staging(suite, options=()):
    """(build directory, staging directory) of this tree for a suite, of its own for other options."""
    tree = hashlib.sha256("\n".join([str(paths.TREE), *options]).encode()).hexdigest()[:8]
    where = paths.cache() / f"dhetcd-{suite}-{tree}"
    return where / "build", where / "install"


def build(suite="trixie", options=(), say=lambda text: print(text, file=sys.stderr)):
    """Compiles and installs into the staging directory; returns its path."""
    if not (paths.TREE / "meson.build").is_file():
        raise LabError(f"{paths.TREE}/meson.build does not exist, so dhetcd cannot be built",
                       hint="lab up --without-dhetcd")
    root = rootfs.root("build", suite, say=say)
    work, install = staging(suite, options)
    with lock(work):
        configure(root, work, install, [*OPTIONS, *options])
        meson(root, work, install, ["meson", "compile", "-C", "/build"], "compile")
        shutil.rmtree(install)
        install.mkdir()
        meson(root, work, install, ["env", "DESTDIR=/install", "meson", "install", "-C",
                                    "/build", "--no-rebuild", "--quiet"], "install")
        run(["systemctl", f"--root={install}", "preset-all", "--quiet"])  # as the packages do
    return install


def copy(to, suite="trixie", options=()):
    """What build() installed, while nobody builds it anew."""
    work, install = staging(suite, options)
    with lock(work):
        shutil.copytree(install, to, symlinks=True)


def lock(work):
    return paths.lock(work.parent / "lock", 900, work)


def configure(root, work, install, options):
    work.mkdir(parents=True, exist_ok=True)
    install.mkdir(parents=True, exist_ok=True)
    stamp = work.parent / "configured.json"
    wanted = json.dumps([str(root), options])
    if (work / "build.ninja").exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(work)
    work.mkdir()
    stamp.unlink(missing_ok=True)
    meson(root, work, install, ["meson", "setup", *options, "/build", "/src"], "configure")
    stamp.write_text(wanted)


def meson(root, work, install, argv, step):
    argv = ["unshare", "--mount", "--propagation=private", str(paths.HERE / "enter-build"),
            str(root), str(paths.TREE), str(work), str(install), *argv]
    log = work.parent / f"{step}.log"
    with open(log, "wb") as out:
        done = run(argv, timeout=1200, check=False, stdout=out, stderr=out,
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
                        "LC_ALL": "C.UTF-8"})
    if done.returncode != 0:
        lines = log.read_text(errors="replace").splitlines()
        errors = [x for x in lines if "error" in x.lower()][:8] or lines[-8:]
        raise LabError(f"cannot {step} dhetcd (exit {done.returncode}):\n  " + "\n  ".join(errors),
                       hint=f"less {log}")
