# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every failpoint of the engine times every fault, on real hosts; see `crash-matrix --help`."""
