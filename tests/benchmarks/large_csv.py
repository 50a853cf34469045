"""What a large CSV file takes: seconds and peak memory of `init` and `download`, beside pandas.read_csv.

    python tests/benchmarks/large_csv.py [--megabytes 100] [--folder FOLDER]

Each runs in a process of its own. Seconds are the processor's, whatever else the machine does; memory is the largest
resident set, of which the libraries alone take what the first line says.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = [f"word{number}" for number in range(5000)]


def write_file(file: Path, megabytes: int) -> int:
    """A CSV file with an index, a text of 5 to 40 words, some of them quoted, and one of three labels; its rows."""
    draw, rows = random.Random(0), 0
    with file.open("w", encoding="utf-8", newline="") as stream:
        stream.write("id,text,label\r\n")
        while stream.tell() < megabytes * 2**20:
            lines = []
            for _ in range(1000):
                text = " ".join(draw.choices(WORDS, k=draw.randint(5, 40)))
                if rows % 3 == 0:
                    text = f'"{text}, ""so"",\nit went on"'
                lines.append(f"{rows},{text},{'abc'[rows % 3]}\r\n")
                rows += 1
            stream.write("".join(lines))
    return rows


def measured(name: str, *command: str) -> float:
    """Run a command; print its seconds and memory, and give the seconds. Raises CalledProcessError if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    script = "import resource,runpy,sys; sys.argv=sys.argv[1:]; main=sys.argv[0]\n"
    script += "try: runpy.run_module(main, run_name='__main__') if main != '-c' else exec(sys.argv[1])\n"
    script += "finally: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)\n"
    done = subprocess.run([sys.executable, "-c", script, *command], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = done.stderr.strip().split("peak ")[-1].split()[0]
    print(f"{name:28} {seconds:7.1f} s of processor time  {peak:>6} MiB  ({time.monotonic() - started:.0f} s passed)")
    return seconds


def main() -> None:
    """Write the file, run all, and print how many times the time of pandas each takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        file = Path(folder) / "large.csv"
        rows = write_file(file, chosen.megabytes)
        print(f"{file.stat().st_size // 2**20} MiB, {rows} rows")
        program = ("adaptershare_cli",)
        place = ("--task-dir", folder, "-w", str(Path(folder) / "w"))
        measured("the libraries alone", "-c", "import pandas, pyarrow.parquet, adaptershare_cli.commands.init")
        pandas = measured("pandas.read_csv", "-c", f"import pandas; pandas.read_csv({str(file)!r})")
        for name, command in (("init", ("init", str(file))), ("download", ("download", "--tasks", "large", *place))):
            seconds = measured(f"adaptershare {name}", *program, *command)
            print(f"{'':28} {seconds / pandas:7.1f} times pandas.read_csv")


if __name__ == "__main__":
    main()
