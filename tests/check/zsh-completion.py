# SPDX-License-Identifier: LGPL-2.1-or-later
"""zsh-completion.py FOLDER LINE: what zsh, on a terminal of its own, offers behind LINE with the functions of FOLDER."""

import os
import pty
import select
import sys
import time

SECONDS_MAX = 60

SETUP = """
fpath=(%s $fpath); autoload -Uz compinit; compinit -u -D
compadd() {
    [[ -n ${@[(r)-[OAD]]} || ${@[(I)-[OAD]*]} -gt 0 ]] && { builtin compadd "$@"; return }
    local -a __hits; builtin compadd -A __hits "$@"
    (( $#__hits )) && print -rl -- "<"${^__hits}">" >> $OUT
    builtin compadd "$@"
}
__complete() { zle expand-or-complete; print -r -- done >> $OUT }
zle -N __complete; bindkey '^Xd' __complete
unsetopt zle_bracketed_paste; LISTMAX=10000; PS1=REA''DY
"""


def main():
    folder, line = sys.argv[1:]
    out = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"zsh-completion-{os.getpid()}")
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(OUT=out, TERM="dumb")
        os.execvp("zsh", ["zsh", "-f", "-i"])
    try:
        os.write(fd, (SETUP % folder + "\n").encode())
        wait(fd, lambda text: b"READY" in text)
        os.write(fd, (line + "\x18d").encode())
        wait(fd, lambda _: "done\n" in said(out))
        print("\n".join(w[1:-1] for w in said(out).splitlines() if w.startswith("<")))
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        if os.path.exists(out):
            os.unlink(out)


def said(out):
    if not os.path.exists(out):
        return ""
    with open(out, encoding="utf-8") as f:
        return f.read()


def wait(fd, condition):
    """Reads what the shell writes until the condition holds of it."""
    text, end = b"", time.monotonic() + SECONDS_MAX
    while not condition(text):
        if time.monotonic() > end:
            sys.exit(f"zsh has not answered for {SECONDS_MAX} s: {text[-400:]!r}")
        if select.select([fd], [], [], 0.05)[0]:
            text += os.read(fd, 65536)


main()
