"""A browser without a window, for tests of pages."""

import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BROWSERS_OWN = (".google.com", ".googleapis.com")  # whom Chromium asks for itself
WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NO_WEBGL = ("--disable-webgl", "--disable-3d-apis")
# What a software renderer says of itself.
RENDERERS_OWN = ("GL Driver Message", "willReadFrequently")


def browse(address: str, folder: Path, *, flags: tuple[str, ...] = (), width: int = 390, dom: bool = False) -> str:
    """Open an address, and return the page as it stands in the end, or else the browser's log.

    Args:
        address: of a file.
        folder: where the browser keeps its profile, net.json and page.png.
        flags: more of Chromium's.
        width: of the window in pixels.
        dom: whether the page is wanted.
    """
    assert CHROMIUM is not None
    arguments = [
        "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--disable-quic",
        "--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync",
        "--enable-logging=stderr", f"--log-net-log={folder / 'net.json'}", f"--window-size={width},900", *flags,
        "--virtual-time-budget=60000" if dom else "--virtual-time-budget=3000",
        "--dump-dom" if dom else f"--screenshot={folder / 'page.png'}",
    ]  # fmt: skip
    done = subprocess.run([CHROMIUM, *arguments, address], capture_output=True, text=True, timeout=300, check=False)
    assert dom or (folder / "page.png").exists(), done.stderr
    return done.stdout if dom else done.stderr


def opened(
    page: Path, folder: Path, *, flags: tuple[str, ...] = (), width: int = 390, address: str = ""
) -> tuple[list[str], set[str]]:
    """Return what a browser writes to its console, and the hosts that it asks for."""
    log = browse(page.as_uri() + address, folder, flags=flags, width=width)
    hosts = set(re.findall(r'"url":"\w+://([^/"]+)', (folder / "net.json").read_text()))
    lines = [line for line in log.splitlines() if ":CONSOLE" in line and not any(own in line for own in RENDERERS_OWN)]
    return lines, {host for host in hosts if not host.endswith(BROWSERS_OWN)}
