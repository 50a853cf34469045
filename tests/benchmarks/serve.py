"""Requests a second and how long they take: requests of many clients for different tasks, put together and one by one.

    python tests/benchmarks/serve.py --workspace FOLDER [--run RUN] [--seconds N] [--clients 1,8,64]

Each client sends a row of a task's dev split, waits for the answer, and sends the next one; tasks take turns. The
server's own processor time is told, too, as clients and whatever else the machine does take time from it.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

MODES = {
    "together": (),
    "one by one": ("--max-batch-rows", "1", "--max-wait-ms", "0"),
}


@dataclass(frozen=True)
class Site:
    """A server that answers, and its tasks."""

    port: int
    tasks: list[str]

    def ask(self, connection: http.client.HTTPConnection, body: bytes) -> None:
        """One request, which must be answered well."""
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        assert response.status == 200, content

    def counted(self, name: str) -> float:
        """What the server says of itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])  # type: ignore[index]


@contextmanager
def served(workspace: Path, run: str, options: tuple[str, ...]) -> Iterator[Site]:
    """A server of one thread in a process of its own, which must end well."""
    command = [sys.executable, "-m", "adaptershare_cli", "serve", run, "-w", str(workspace), "--port", "0", "--json"]
    process = subprocess.Popen([*command, "--threads", "1", *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    yield Site(told["port"], told["tasks"])
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


def bodies(workspace: Path, tasks: list[str]) -> list[bytes]:
    """Requests of a row each, task after task."""
    of_tasks = []
    for task in tasks:
        file = next(workspace.glob(f"download/{task}-*/dev.parquet"))
        rows = pq.read_table(file, columns=["text", "text_pair"]).to_pylist()
        rows = [{role: text for role, text in row.items() if text is not None} for row in rows]
        of_tasks.append([json.dumps({"rows": [row], "task": task}).encode() for row in rows])
    return [body for turn in zip(*of_tasks, strict=False) for body in turn]


def measure(site: Site, requests: list[bytes], clients: int, seconds: float) -> np.ndarray:
    """The seconds of each request of so many clients."""
    taken: list[float] = []
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", site.port)
        for body in itertools.islice(itertools.cycle(requests), number, None):
            started = time.monotonic()
            if started > end:
                break
            site.ask(connection, body)
            taken.append(time.monotonic() - started)
        connection.close()

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))  # raises what one of them raised
    return np.array(taken)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--run", default="adaptershare")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--clients", default="1,8,64")
    given = parser.parse_args()
    print(
        "| requests are answered | clients | requests/s | median ms | p99 ms | requests a pass | server's CPU ms each |"
    )
    print("|---|---|---|---|---|---|---|")
    memory = {}
    for mode, options in MODES.items():
        with served(given.workspace, given.run, options) as site:
            requests = bodies(given.workspace, site.tasks)
            measure(site, requests, 8, 1)  # what is first takes longer
            start = site.counted("process_resident_memory_bytes")
            for clients in map(int, given.clients.split(",")):
                names = ("process_cpu_seconds_total", "adaptershare_batch_rows_sum", "adaptershare_batch_rows_count")
                before = [site.counted(name) for name in names]
                taken = measure(site, requests, clients, given.seconds)
                cpu, rows, passes = (site.counted(name) - old for name, old in zip(names, before, strict=True))
                rate, (middle, late) = len(taken) / given.seconds, np.quantile(taken, [0.5, 0.99]) * 1000
                print(
                    f"| {mode} | {clients} | {rate:.0f} | {middle:.1f} | {late:.1f} | {rows / passes:.1f} | "
                    f"{1000 * cpu / len(taken):.2f} |",
                    flush=True,
                )
            memory[mode] = start, site.counted("process_resident_memory_bytes")
    for mode, found in memory.items():
        print(f"\n{mode}: memory {' MiB, at the end '.join(f'{value / 2**20:.0f}' for value in found)} MiB")


if __name__ == "__main__":
    main()
