"""How one call is measured: time, peak memory, aten ops, host synchronisations, kernels."""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Call = Callable[[], object]

# A sample lasts at least this long, so that the clock and the first call's cold caches do not show.
SAMPLE_SECONDS = 4e-3
MOST_CALLS = 64


def calls_per_sample(seconds_per_call: float) -> int:
    return min(max(1, math.ceil(SAMPLE_SECONDS / max(seconds_per_call, 1e-9))), MOST_CALLS)


def sample(calls: Sequence[Call], device: torch.device) -> float:
    """Seconds of one call: the mean over ``calls``. Results are dropped at once, as a training step drops them."""
    return _sample_cuda(calls) if device.type == "cuda" else _sample_cpu(calls)


def _sample_cpu(calls: Sequence[Call]) -> float:
    begin = time.perf_counter()
    for call in calls:
        call()
    return (time.perf_counter() - begin) / len(calls)


def _sample_cuda(calls: Sequence[Call]) -> float:
    """By CUDA events, so a call that the host can not issue fast enough is as slow as the host."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begin.record()
    for call in calls:
        call()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3 / len(calls)


def captured(calls: Sequence[Call], repeats: int = 1) -> torch.cuda.CUDAGraph:
    """A CUDA graph of ``repeats`` rounds of ``calls``, after the warm-up that capture asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for call in calls:
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            for call in calls:
                call()
    return graph


def graph_seconds(calls: Sequence[Call], repeats: int = 10, replays: int = 30) -> float:
    """Seconds of one call inside a CUDA graph of ``repeats`` rounds of ``calls``: the median over replays."""
    graph = captured(calls, repeats)
    graph.replay()
    times = sorted(_sample_cuda([graph.replay]) for _ in range(replays))
    return times[len(times) // 2] / (repeats * len(calls))


def cuda_runtime() -> ctypes.CDLL:
    """The runtime library that torch has loaded; the name alone finds it again."""
    return ctypes.CDLL(f"libcudart.so.{(torch.version.cuda or '').partition('.')[0]}")


def memset(tensor: Tensor, byte: int) -> None:
    """One cudaMemsetAsync on the current stream, one node of a graph; torch's own ``fill_`` is a kernel."""
    stream, size = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream), ctypes.c_size_t(tensor.nbytes)
    error = cuda_runtime().cudaMemsetAsync(ctypes.c_void_p(tensor.data_ptr()), ctypes.c_int(byte), size, stream)
    if error:
        raise RuntimeError(f"cudaMemsetAsync: error {error}")


def peak_bytes(call: Call, device: torch.device) -> int | None:
    """Memory that the call needed on top of what was in use, its results included; None where it can not be told."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    return _peak_resident_bytes(call)


def _peak_resident_bytes(call: Call) -> int | None:
    """Linux counts a process's peak and resets it on demand. Freed memory is handed back first, or it would hide
    what the call takes."""
    reset = Path("/proc/self/clear_refs")
    try:
        ctypes.CDLL(None).malloc_trim(0)
        reset.write_text("5")
        before = _status_bytes("VmRSS")
        call()
        return max(0, _status_bytes("VmHWM") - before)
    except (OSError, AttributeError):
        return None


def _status_bytes(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status: no {key}")


class Counts(NamedTuple):
    """What one call asks of the device."""

    ops: int
    """Aten and library ops that compute; views and allocations are left out."""
    syncs: int
    """Reads back to the host: scalars, nonzero, indexing with a mask."""


_FREE_OPS = ("aten.empty", "aten.new_empty", "aten.empty_like", "aten.empty_strided", "aten.detach")
_SYNCING_OPS = (
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten.masked_select",
    "aten.is_nonzero",
    "aten.equal",
)


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.ops = self.syncs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket)
        if not func.is_view and name not in _FREE_OPS:
            self.ops += 1
        self.syncs += name in _SYNCING_OPS or _waits_for_sizes(name, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def _waits_for_sizes(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether the shape of the result, or of what is written, depends on a tensor's values."""
    if name == "aten.repeat_interleave":
        return kwargs.get("output_size") is None
    if name == "aten.bincount":
        return True
    if name not in ("aten.index", "aten.index_put", "aten.index_put_", "aten._index_put_impl_"):
        return False
    if name != "aten.index" and args[2].numel() == 1:
        return False  # torch fills under the mask
    return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1])


def count(call: Call) -> Counts:
    with _Counter() as counter:
        call()
    return Counts(counter.ops, counter.syncs)


def count_kernels(call: Call) -> dict[str, int]:
    """Kernels, memsets and copies that one call launches on the current CUDA device."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=activities) as profile:
        call()
        torch.cuda.synchronize()
    kinds = {"kernels": 0, "memsets": 0, "copies": 0}
    for event in profile.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            kind = {"Memset": "memsets", "Memcpy": "copies"}.get(event.name.split(" ")[0], "kernels")
            kinds[kind] += 1
    return kinds


def run_without_sync(call: Call) -> None:
    """Raises RuntimeError if the call makes the host wait for the device."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        call()
    finally:
        torch.cuda.set_sync_debug_mode("default")


class LoadMeter:
    """The processor time of all other processes, in cores, since the last reading. 0 where it can not be told."""

    def __init__(self) -> None:
        self._last = self._read()

    def others(self) -> float:
        now, last = self._read(), self._last
        self._last = now
        seconds = now[0] - last[0]
        return max(0.0, (now[1] - last[1]) - (now[2] - last[2])) / seconds if seconds > 0 else 0.0

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """The clock, the machine's busy seconds, and our own."""
        busy = 0.0
        with suppress(OSError, ValueError, IndexError):
            fields = [float(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
            busy = (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")
        times = os.times()
        return time.perf_counter(), busy, times.user + times.system
