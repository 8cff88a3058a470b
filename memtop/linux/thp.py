"""Whether a mapping may have transparent huge pages, and what decides it.

The kernel gives the answer (THPeligible of smaps), not the reason; the reason is put together from the
settings, in the order in which the kernel looks at them. Documentation/admin-guide/mm/transhuge.rst.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from memtop.linux.errors import MemtopError
from memtop.linux.procfs import read_status
from memtop.model.detail import Smaps
from memtop.model.layout import Kind
from memtop.model.mapping import Mapping
from memtop.model.units import size

_SYS = Path("/sys/kernel/mm/transparent_hugepage")
_CHOSEN = re.compile(r"\[(\w+)\]")


@dataclass(frozen=True, slots=True)
class HugeSettings:
    """What the host and the process have settled; empty or None: not known here.

    Attributes:
        enabled: always, madvise or never.
        shmem: the same for shared memory, with within_size, advise, deny and force.
        page: bytes of a huge page.
        process: False: it has switched them off for itself, PR_SET_THP_DISABLE of prctl(2).
    """

    enabled: str = ""
    shmem: str = ""
    page: int = 2 << 20
    process: bool | None = None


def read_settings(pid: int) -> HugeSettings:
    """The settings for one process."""

    def text(name: str) -> str:
        with contextlib.suppress(OSError):
            return (_SYS / name).read_text(encoding="ascii")
        return ""

    def chosen(name: str) -> str:
        found = _CHOSEN.search(text(name))
        return found[1] if found else ""

    process: bool | None = None
    with contextlib.suppress(MemtopError):
        process = {"0": False, "1": True}.get(read_status(pid).get("THP_enabled", ""))
    page = text("hpage_pmd_size").strip()
    return HugeSettings(chosen("enabled"), chosen("shmem_enabled"), int(page) if page else 2 << 20, process)


def why_huge(smaps: Smaps, mapping: Mapping, settings: HugeSettings) -> str:
    """One sentence: may it have huge pages, and why (not)."""
    eligible = smaps.numbers.get("THPeligible")
    flags = set(smaps.flags)
    if "ht" in flags:
        return "hugetlb: made of huge pages, which are neither split nor joined"
    if eligible is None:
        return "this kernel does not say whether it may have huge pages"
    if not eligible:
        return f"can't have huge pages: {_why_not(smaps, mapping, settings)}"
    asked = " and it asked for them (madvise)" if "hg" in flags else ""
    name, chosen = _setting(mapping, settings)
    text = f"may have huge pages: {name} is {chosen}{asked}"
    if chosen not in ("always", "within_size", "force") and not (chosen in _ON_REQUEST and asked):
        text = (
            "may have huge pages of some size: a setting of that size alone allows it (hugepages-*kB/enabled)"
        )
    if "uw" in flags:
        text += "; while its writes are tracked none are made, and those there split on their first write"
    return text


_ON_REQUEST = ("madvise", "advise")


def _setting(mapping: Mapping, settings: HugeSettings) -> tuple[str, str]:
    """Name and value of the setting that decides."""
    if mapping.kind is Kind.SHARED:
        return "shmem_enabled", settings.shmem
    return "transparent_hugepage/enabled", settings.enabled


def _why_not(smaps: Smaps, mapping: Mapping, settings: HugeSettings) -> str:
    page, flags = settings.page, set(smaps.flags)
    if settings.process is False:
        return "the process has switched them off for itself (prctl PR_SET_THP_DISABLE)"
    if "nh" in flags:
        return "it asked for none (madvise MADV_NOHUGEPAGE)"
    if flags & {"io", "pf", "mm"}:
        return "this is device or kernel memory"
    if -(-smaps.start // page) * page + page > smaps.end:
        return f"no aligned {size(page)} fits between its ends"
    name, chosen = _setting(mapping, settings)
    if chosen in ("never", "deny"):
        return f"{name} is {chosen}"
    if chosen in _ON_REQUEST and "hg" not in flags:
        return f"{name} is {chosen}, and it did not ask (MADV_HUGEPAGE)"
    if mapping.inode and mapping.kind is not Kind.SHARED:
        return "pages of a file are joined only where its filesystem or the kernel's build allows it"
    return "the kernel does not say why"
