"""Write the data of tiny-slots from words.toml: python tasks/tiny-tagging/generate.py [FOLDER].

The same bytes come out every time: the only source of chance is `random.Random(text).random()`, whose sequence Python
guarantees.
"""

from __future__ import annotations

import random
import re
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROWS = {"train": 500, "dev": 150}
KEPT_OUT = 4  # every fourth phrase of a list, and no other, is new in dev
PLACE = re.compile(r"\{(\w+)\}|<(\w+)>|(\S+)")

Sentence = list[tuple[str, str]]  # words with their labels


def pick(draw: random.Random, items: list[str]) -> str:
    """One of `items`, all equally likely."""
    return items[int(draw.random() * len(items))]


def sentence(draw: random.Random, templates: list[str], lists: dict[str, list[str]]) -> Sentence:
    """One template, filled."""
    found: Sentence = []
    for slot, mention, word in PLACE.findall(pick(draw, templates)):
        words = pick(draw, lists[slot or mention]).split() if slot or mention else [word]
        labels = [f"B-{slot}"] + [f"I-{slot}"] * (len(words) - 1) if slot else ["O"] * len(words)
        found += zip(words, labels, strict=True)
    return found


def main(folder: Path) -> None:
    """Write train and dev; no sentence of one stands in the other."""
    content = tomllib.loads((HERE / "words.toml").read_text(encoding="utf-8"))
    every = content["lists"]
    known = {name: [p for n, p in enumerate(phrases) if n % KEPT_OUT] for name, phrases in every.items()}
    seen: set[str] = set()
    for split, count in ROWS.items():
        draw = random.Random(f"tiny-slots {split}")
        rows: list[Sentence] = []
        while len(rows) < count:
            made = sentence(draw, content["templates"], known if split == "train" else every)
            words = " ".join(word for word, _ in made)
            if words not in seen:
                seen.add(words)
                rows.append(made)
        text = "\n".join("".join(f"{word} {label}\n" for word, label in row) for row in rows)
        (folder / f"tiny-slots-{split}.txt").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "data")
