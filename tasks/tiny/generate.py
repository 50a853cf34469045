"""Write the small data sets of the `tiny` suite: six tasks in three families of two, made from templates.

    python tasks/tiny/generate.py [FOLDER]      # default: data/ beside this file

The same bytes come out every time: the only source of chance is `random.Random(text).random()`, whose sequence
Python guarantees. Words and templates are our own and stand in `words.toml`.
"""

from __future__ import annotations

import csv
import io
import random
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WORDS = tomllib.loads((HERE / "words.toml").read_text(encoding="utf-8"))
SENTIMENT, TOPIC, URGENCY = WORDS["sentiment"], WORDS["topic"], WORDS["urgency"]

SIZES = {"train": 600, "dev": 200}
PLAIN = 0.4  # share of texts without negation, contrast, a correction or somebody else's view
SCORE_NOISE = 0.6  # half width of the triangular noise on scores, in points of 0..5
SUBJECTS = ["money", "health", "computers", "transport"]
REVIEW_LABELS = ["negative", "mixed", "positive"]
SMALL = {"topic-mail": 400, "topic-news": 300}  # train rows of tasks that more rows would make too easy
LEVELS = {"now": 5.0, "today": 4.0, "week": 3.0, "month": 2.0, "year": 1.0, "any": 0.0}  # of urgency, and their scores
DEV_ONLY_EVERY = 4  # every fourth phrase of a list is kept out of train

Row = dict[str, str]


class Dice:
    """Choices for one split of one task; phrases kept for dev never come up in train."""

    def __init__(self, task: str, split: str) -> None:
        self._random = random.Random(f"{task} {split} 1")
        self._split = split

    def chance(self, share: float) -> bool:
        """True with probability `share`."""
        return self._random.random() < share

    def pick(self, items: Sequence[Any]) -> Any:
        """One of `items`, all equally likely."""
        return items[int(self._random.random() * len(items))]

    def phrase(self, items: Sequence[str]) -> str:
        """One of `items`; in train, not one of those kept for dev."""
        known = [item for i, item in enumerate(items) if i % DEV_ONLY_EVERY != DEV_ONLY_EVERY - 1]
        return self.pick(known if self._split == "train" else items)

    def other(self, items: Sequence[Any], taken: Any) -> Any:
        """One of `items` that is not `taken`."""
        return self.pick([item for item in items if item != taken])

    def wobble(self, width: float) -> float:
        """Triangular noise between -width and width."""
        return (self._random.random() - self._random.random()) * width


def sentence(text: str, end: str = ".") -> str:
    """`text` with a capital first letter and a full stop, unless it ends in a mark already."""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?!" else end)


class Slots(dict[str, str]):
    """For `format_map`: slots that are not known yet stay as they are."""

    def __missing__(self, name: str) -> str:
        return "{" + name + "}"


def filled(dice: Dice, text: str) -> str:
    """`text` with its slots ({city}, {day}, ...) filled."""
    for slot, values in WORDS["slots"].items():
        while "{" + slot + "}" in text:
            text = text.replace("{" + slot + "}", dice.pick(values), 1)
    return text


# ---- sentiment: the writer's own final view counts, not the words' colour ------------------------------------------


def review(dice: Dice, domain: dict[str, Any]) -> Row:
    """A review of one or two sentences: `negative`, `mixed` or `positive`."""
    label = dice.pick(REVIEW_LABELS)
    view = dice.pick(["negative", "positive"]) if label == "mixed" else label
    contrary = "positive" if view == "negative" else "negative"
    first = dice.pick(list(domain["parts"]))
    second = dice.other(list(domain["parts"]), first)

    def opinion(part: str, view: str) -> str:
        return dice.phrase(SENTIMENT["opinions"][view] if dice.chance(0.5) else domain["parts"][part][view])

    values = {
        "a": first,
        "b": second,
        "a_is": opinion(first, view),  # what the writer thinks
        "b_is": opinion(second, view),
        "a_not": opinion(first, contrary),  # what the writer denies, or thinks of a part only
        "b_not": opinion(second, contrary),
        "a_good": opinion(first, "positive"),
        "a_bad": opinion(first, "negative"),
        "b_good": opinion(second, "positive"),
        "b_bad": opinion(second, "negative"),
        "middling": dice.phrase(SENTIMENT["middling"]),
        "b_middling": dice.phrase(SENTIMENT["middling"]),
        "shrug": dice.phrase(SENTIMENT["shrug"]),
        "verdict": dice.phrase((SENTIMENT if dice.chance(0.5) else domain)["verdicts"][view]),
        "mood": dice.phrase(SENTIMENT["moods"][dice.pick(["negative", "positive"])]),
        "other": dice.phrase(domain["others"]),
        "said": "praised" if contrary == "positive" else "complained about",
    }
    shape = "mixed" if label == "mixed" else "plain" if dice.chance(PLAIN) else "tricky"
    return {"text": sentence(dice.pick(SENTIMENT[shape]).format(**values)), "label": label}


# ---- topic: what it is about, not what else is mentioned ------------------------------------------------------------


def about(dice: Dice, domain: dict[str, Any]) -> Row:
    """A message or a headline, and the subject of the thing that it is about."""
    label = dice.pick(SUBJECTS)
    other = dice.other(SUBJECTS, label)

    def thing(subject: str) -> str:
        return dice.phrase(TOPIC["both"][subject] if dice.chance(0.5) else domain["own"][subject])

    things = Slots(x=thing(label), other=thing(other))
    text = dice.pick(domain["plain" if dice.chance(PLAIN) else "tricky"]).format_map(things)
    return {"text": filled(dice, sentence(text)), "label": label}


# ---- urgency: how soon it has to be done, said or implied -----------------------------------------------------------


def urgency_values(dice: Dice, domain: dict[str, Any], level: str) -> dict[str, str]:
    """Phrases for one level of urgency, and for another one that does not count."""
    other = dice.other(list(LEVELS), level)
    return {
        "when": dice.phrase(URGENCY["when"][level]),
        "when_other": dice.phrase(URGENCY["when"][other]),
        "reason": dice.phrase(domain["reasons"][level]),
        "reason_other": dice.phrase(domain["reasons"][other]),
    }


def judged(dice: Dice, level: str) -> str:
    """The score that somebody gives to a level; no two people agree to the decimal."""
    return f"{min(5.0, max(0.0, LEVELS[level] + dice.wobble(SCORE_NOISE))):.1f}"


def home(dice: Dice) -> Row:
    """A message to a caretaker and its urgency from 0 to 5."""
    domain, level = URGENCY["home"], dice.pick(list(LEVELS))
    values = {"request": dice.phrase(domain["requests"]), **urgency_values(dice, domain, level)}
    text = dice.pick(domain["plain" if dice.chance(PLAIN) else "tricky"]).format(**values)
    text = ". ".join(part[0].upper() + part[1:] for part in text.split(". "))
    return {"text": filled(dice, sentence(text)), "label": judged(dice, level)}


def office(dice: Dice) -> Row:
    """A request, what the same person adds, and how urgent it is in the end, from 0 to 5."""
    domain, level = URGENCY["office"], dice.pick(list(LEVELS))
    values = {"thing": dice.phrase(domain["things"]), **urgency_values(dice, domain, level)}
    if dice.chance(PLAIN):
        first, second = dice.pick(domain["first_without_when"]), dice.pick(domain["second"])
    else:
        first, second = dice.pick(domain["first_with_when"]), dice.pick(domain["second_after_other"])
    values["when_first"] = filled(dice, values["when_other"])
    text, text_pair = (filled(dice, sentence(part.format(**values))) for part in (first, second))
    return {"text": text, "text_pair": text_pair, "label": judged(dice, level)}


# ---- splits and files ----------------------------------------------------------------------------------------------

TASKS: dict[str, Callable[[Dice], Row]] = {
    "sentiment-food": lambda dice: review(dice, SENTIMENT["food"]),
    "sentiment-film": lambda dice: review(dice, SENTIMENT["film"]),
    "topic-mail": lambda dice: about(dice, TOPIC["mail"]),
    "topic-news": lambda dice: about(dice, TOPIC["news"]),
    "urgency-home": home,
    "urgency-office": office,
}
CLASSES = {
    "sentiment-food": REVIEW_LABELS,
    "sentiment-film": REVIEW_LABELS,
    "topic-mail": SUBJECTS,
    "topic-news": SUBJECTS,
}


def texts(row: Row) -> list[str]:
    """The one or two texts of a row."""
    return [row[column] for column in ("text", "text_pair") if column in row]


def split_rows(task: str, split: str, forbidden: set[str]) -> list[Row]:
    """As many rows as the split holds, no text in `forbidden`; classes are equally large, give or take one."""
    dice, rows, seen = Dice(task, split), [], set()
    size = SMALL.get(task, SIZES[split]) if split == "train" else SIZES[split]
    room: dict[str, int] = {label: -(-size // len(CLASSES[task])) for label in CLASSES.get(task, [])}
    while len(rows) < size:
        row = TASKS[task](dice)
        key = tuple(texts(row))
        if key in seen or len(set(key)) < len(key) or forbidden.intersection(key) or room.get(row["label"], 1) == 0:
            continue
        seen.add(key)
        if room:
            room[row["label"]] -= 1
        rows.append(row)
    return rows


def files() -> dict[str, bytes]:
    """The content of every data file, by name."""
    made: dict[str, bytes] = {}
    for task in TASKS:
        train = split_rows(task, "train", set())
        dev = split_rows(task, "dev", {text for row in train for text in texts(row)})
        for split, rows in (("train", train), ("dev", dev)):
            sheet = io.StringIO()
            writer = csv.DictWriter(sheet, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            made[f"{task}-{split}.csv"] = sheet.getvalue().encode("utf-8")
    return made


def main(folder: Path) -> None:
    """Write all files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "data")
