"""Embedding a set with several processes: seconds and memory of a pass.

    python benchmarks/speed/embedding.py
    python benchmarks/speed/embedding.py --samples 1280000 --processes 4

The network is a linear layer on images of one pixel, the loader the documented plain
``DataLoader``, so that what is measured is reading, exchanging and keeping embeddings.
The processes are on this machine, on the CPU, with gloo. Linux only: "peak" is the
largest resident memory of a process during the pass beyond that at its start, of the
process that needs most.

In the second pass the keys of the first are known, and names are not exchanged again.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measuring import build_parser, write_rows
from pytorch_lightning import LightningModule
from torch import Tensor, multiprocessing, nn
from torch import distributed as torch_dist
from torch.utils.data import DataLoader, Dataset

from hadis_lightly.training.embedding import embed_dataset


class Pixels(Dataset[Any]):
    """Images of one pixel, with indices or names of the length of a usual path."""

    def __init__(self, n: int, with_names: bool) -> None:
        self.n = n
        self.with_names = with_names

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        key = f"n{index // 1300:08}/n{index:08}.JPEG" if self.with_names else index
        return torch.full((1, 1, 1), index / self.n), -1, key


class Stub(LightningModule):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(1, dim)

    def embed(self, x: Tensor) -> Tensor:
        embeddings: Tensor = self.layer(x.flatten(1))
        return embeddings


def resident_mib(kind: str) -> float:
    """Resident memory of this process: ``VmRSS`` now, ``VmHWM`` the largest."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kib,) = re.findall(rf"{kind}:\s+(\d+) kB", status)
    return int(kib) / 1024


def measure(rank: int, options: argparse.Namespace, folder: str) -> None:
    """Two passes with each kind of keys; rank 0 writes those of all processes."""
    torch.set_num_threads(options.threads)
    torch_dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=options.processes,
    )
    measured = []
    for kind in options.keys:
        data = Pixels(options.samples, with_names=kind == "names")
        loader = DataLoader(data, options.batch_size)
        module, keys = Stub(options.dim), None
        for number in (1, 2):
            torch_dist.barrier()
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            before, start = resident_mib("VmRSS"), time.perf_counter()
            embedded = embed_dataset(module, loader, keys=keys)
            keys = keys or embedded.keys
            embedded = embedded.in_order_of(keys)
            torch_dist.barrier()
            seconds = time.perf_counter() - start
            peaks: list[Any] = [None] * options.processes
            peak = resident_mib("VmHWM") - before
            torch_dist.all_gather_object(peaks, peak)
            assert len(embedded.embeddings) == options.samples
            row = {"keys": kind, "pass": number, "seconds": seconds}
            measured.append(row | {"peak_mib": max(peaks)})
            del embedded
    if rank == 0:
        torch.save(measured, f"{folder}/rows.pt")
    torch_dist.destroy_process_group()


def main() -> None:
    parser = build_parser(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument("--samples", type=int, default=160_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=512, help="per process")
    kinds = ["indices", "names"]
    parser.add_argument("--keys", choices=kinds, nargs="+", default=kinds)
    options = parser.parse_args()
    n, d = options.samples, options.dim
    size = n * d * 4 / 2**20
    print(f"{n} x {d} in {options.processes} processes: {size:.0f} MiB of embeddings")
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(measure, (options, folder), options.processes)
        rows = torch.load(f"{folder}/rows.pt")
    print("keys     pass   seconds  peak MiB  of all embeddings")
    for row in rows:
        print(
            f"{row['keys']:<8} {row['pass']:4} {row['seconds']:9.2f} "
            f"{row['peak_mib']:9.0f} {row['peak_mib'] / size:8.2f}x"
        )
    write_rows(options.csv, rows)


if __name__ == "__main__":
    main()
