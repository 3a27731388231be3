# SPDX-License-Identifier: LGPL-2.1-or-later
"""zsh-completion.py FOLDER LINE: what zsh, on a terminal of its own, offers behind LINE with the functions of FOLDER."""

import os
import pty
import select
import sys
import time

SETUP = """
fpath=(%s $fpath); autoload -Uz compinit; compinit -u -D
compadd() {
    [[ -n ${@[(r)-[OAD]]} || ${@[(I)-[OAD]*]} -gt 0 ]] && { builtin compadd "$@"; return }
    local -a __hits; builtin compadd -A __hits "$@"
    (( $#__hits )) && print -rl -- "<"${^__hits}">" >> $OUT
    builtin compadd "$@"
}
PS1=READY; unsetopt zle_bracketed_paste; LISTMAX=10000
"""


def main():
    folder, line = sys.argv[1:]
    out = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"zsh-completion-{os.getpid()}")
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(OUT=out, TERM="dumb")
        os.execvp("zsh", ["zsh", "-f", "-i"])
    try:
        send(fd, SETUP % folder + "\n", 1.0)
        send(fd, line + "\t", 1.5)
        with open(out, encoding="utf-8") as f:
            print("\n".join(w.strip()[1:-1] for w in f if w.startswith("<")))
    except FileNotFoundError:
        pass  # nothing was offered
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        if os.path.exists(out):
            os.unlink(out)


def send(fd, text, quiet):
    """Types it, and waits until the shell has said nothing for a while, 20 s at most."""
    os.write(fd, text.encode())
    end = time.monotonic() + 20
    while time.monotonic() < end and select.select([fd], [], [], quiet)[0]:
        os.read(fd, 65536)


main()
