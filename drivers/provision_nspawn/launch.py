"""Turn this process into a machine's systemd-nspawn. A script of its own: `python -I -S launch.py FILE [LOCK…]`.

FILE is launch.json. The overlay is mounted in a mount namespace of this process, so it goes with the machine and no
mount can be left behind. process.json is written by the process that it names, right before it becomes systemd-nspawn:
there is no moment at which a machine runs and its record does not say so. LOCKs are inherited descriptors, kept until
then. With `detach` it ends when the machine's own process is on its way, status 1 and a message if it is not.
Standard library only, and nothing of ours: it starts in some 15 ms.
"""

import ctypes
import json
import os
import sys

CLONE_NEWNS = 0x00020000
MS_REC = 0x4000
MS_SLAVE = 0x80000


def main(path: str, locks: list[int]) -> None:
    """Launch as the file says; does not return, unless to raise OSError."""
    with open(path, encoding="utf-8") as stream:  # noqa: PTH123
        launch = json.load(stream)
    if launch["detach"]:
        _detach(locks)
    for group, settings in launch["groups"]:
        os.makedirs(group, exist_ok=True)  # noqa: PTH103
        for name, value in settings.items():
            _write(f"{group}/{name}", value)
        _write(f"{group}/cgroup.procs", str(os.getpid()))
    _mount(launch["disk"], launch["tree"])
    console = os.open(launch["console"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    _record(launch["process"])
    for source, target in ((nothing, 0), (console, 1), (console, 2)):
        os.dup2(source, target)
    for lock in locks:
        os.set_inheritable(lock, False)
    os.execve(launch["argv"][0], launch["argv"], launch["environ"] | _notify())


def _detach(locks: list[int]) -> None:
    """Fork; the child goes on in a session of its own, the parent ends once the child has become something else."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        os.setsid()
        sys.excepthook = lambda _kind, error, _trace: os.write(writer, str(error).encode())
        return
    os.close(writer)
    for lock in locks:
        os.close(lock)
    problem = b""
    while chunk := os.read(reader, 4096):
        problem += chunk
    sys.stderr.write(problem.decode(errors="replace"))
    sys.stderr.flush()
    os._exit(1 if problem else 0)


def _mount(disk: str, tree: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(CLONE_NEWNS), "unshare")
    # A slave, not private: what the host unmounts (another machine's namespace) goes here too.
    _check(libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None), "mount --make-rslave /")
    # systemd-nspawn's own lock files and sockets stay behind when it is killed; here they go with it.
    os.makedirs("/run/systemd/nspawn", exist_ok=True)  # noqa: PTH103
    _check(libc.mount(b"tmpfs", b"/run/systemd/nspawn", b"tmpfs", 0, b"mode=0755"), "mount tmpfs")
    os.chdir(disk)
    options = f"lowerdir={tree},upperdir=upper,workdir=work"
    _check(libc.mount(b"overlay", b"root", b"overlay", 0, options.encode()), "mount overlay")
    os.chdir("/")


def _record(path: str) -> None:
    with open("/proc/self/stat", encoding="utf-8") as stream:  # noqa: PTH123
        start = int(stream.read().rpartition(")")[2].split()[19])
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as stream:  # noqa: PTH123
        boot = stream.read().strip()
    half = f"{path}.new"
    _write(half, json.dumps({"pid": os.getpid(), "start": start, "boot": boot}), create=True)
    os.rename(half, path)  # noqa: PTH104


def _notify() -> dict[str, str]:
    """Where systemd waits to hear that the machine has booted, if it started us."""
    return {key: os.environ[key] for key in ("NOTIFY_SOCKET",) if key in os.environ}


def _write(path: str, text: str, *, create: bool = False) -> None:
    flags = os.O_WRONLY | (os.O_CREAT | os.O_TRUNC if create else 0)
    descriptor = os.open(path, flags, 0o644)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def _check(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1], [int(word) for word in sys.argv[2:]])
