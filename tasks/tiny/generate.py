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
SENTIMENT, TOPIC, SIMILARITY = WORDS["sentiment"], WORDS["topic"], WORDS["similarity"]

SIZES = {"train": 600, "dev": 200}
PLAIN = 0.45  # share of reviews without negation, contrast or somebody else's opinion
LABEL_NOISE = 0.0  # share of rows, in both splits, whose class is drawn from the other classes
SCORE_NOISE = 0.3  # half width of the triangular noise on graded scores, in points of 0..5
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


def filled(dice: Dice, text: str) -> str:
    """`text` with its slots ({city}, {day}, ...) filled."""
    for slot, values in WORDS["slots"].items():
        while "{" + slot + "}" in text:
            text = text.replace("{" + slot + "}", dice.pick(values), 1)
    return text


# ---- sentiment: the writer's own final view counts, not the words' colour ------------------------------------------


def review(dice: Dice, domain: dict[str, Any]) -> Row:
    """A review of one or two sentences, `negative` or `positive`."""
    label = dice.pick(["negative", "positive"])
    contrary = "positive" if label == "negative" else "negative"
    first = dice.pick(list(domain["parts"]))
    second = dice.other(list(domain["parts"]), first)

    def opinion(part: str, view: str) -> str:
        return dice.phrase(SENTIMENT["opinions"][view] if dice.chance(0.5) else domain["parts"][part][view])

    values = {
        "a": first,
        "b": second,
        "a_is": opinion(first, label),  # what the writer thinks
        "b_is": opinion(second, label),
        "a_not": opinion(first, contrary),  # what the writer denies, or thinks of a part only
        "b_not": opinion(second, contrary),
        "verdict": dice.phrase((SENTIMENT if dice.chance(0.5) else domain)["verdicts"][label]),
        "mood": dice.phrase(SENTIMENT["moods"][dice.pick(["negative", "positive"])]),
        "other": dice.phrase(domain["others"]),
        "said": "praised" if contrary == "positive" else "complained about",
    }
    template = dice.pick(SENTIMENT["plain" if dice.chance(PLAIN) else "tricky"])
    return {"text": sentence(template.format(**values)), "label": label}


# ---- topic: what the writer is on about, not what else is mentioned ------------------------------------------------


def mail(dice: Dice) -> Row:
    """A message to a company's front desk; the department that has to deal with it."""
    requests = TOPIC["mail"]
    label = dice.pick(list(requests))
    aside = label if dice.chance(0.25) else dice.other(list(requests), label)
    request = sentence(dice.phrase(requests[label]))
    context = sentence(dice.phrase(TOPIC["mail_asides"][aside]))
    shape = dice.pick(["request", "before", "before", "after", "after", "not about"])
    if shape == "not about" and aside != label:
        context = sentence(dice.phrase(TOPIC["mail_not_about"][aside]))
    elif shape in ("request", "not about"):
        context = dice.pick(TOPIC["greetings"])
    text = f"{request} {context}" if shape == "after" else f"{context} {request}"
    return {"text": filled(dice, text), "label": label}


def news(dice: Dice) -> Row:
    """A headline; the page it belongs to, given by what happened rather than by whom it happened to."""
    happened = TOPIC["news"]
    label = dice.pick(list(happened))
    actor = label if dice.chance(0.25) else dice.other(list(happened), label)
    parts = [dice.phrase(TOPIC["news_actors"][actor]), dice.phrase(happened[label])]
    if dice.chance(0.4):
        parts += [dice.phrase(TOPIC["news_links"]), dice.phrase(TOPIC["news_events"][dice.pick(list(happened))])]
    return {"text": filled(dice, sentence(" ".join(parts), end="")), "label": label}


# ---- similarity: two texts, compared part by part ------------------------------------------------------------------


def scenes(dice: Dice) -> Row:
    """Two sentences and a score: 3 for the same event (1 for a related one), 1 for the same people, 1 for the place."""
    kind = dice.pick(list(SIMILARITY["events"]))
    event = dice.pick(SIMILARITY["events"][kind])
    who, where = dice.pick(SIMILARITY["people"]), dice.pick(SIMILARITY["places"])
    closeness = dice.pick(["same", "same", "related", "unrelated"])
    if closeness == "same":
        second_event = event
    elif closeness == "related":
        second_event = dice.other(SIMILARITY["events"][kind], event)
    else:
        second_event = dice.pick(SIMILARITY["events"][dice.other(list(SIMILARITY["events"]), kind)])
    same_who, same_where = dice.chance(0.55), dice.chance(0.55)
    second_who = who if same_who else dice.other(SIMILARITY["people"], who)
    second_where = where if same_where else dice.other(SIMILARITY["places"], where)
    score = {"same": 3, "related": 1, "unrelated": 0}[closeness] + same_who + same_where
    score = min(5.0, max(0.0, score + dice.wobble(SCORE_NOISE)))
    first_template = dice.pick(SIMILARITY["scene_templates"])
    second_template = dice.pick(SIMILARITY["scene_templates"])
    return {
        "text": scene(dice, first_template, who, event, where),
        "text_pair": scene(dice, second_template, second_who, second_event, second_where),
        "label": f"{score:.1f}",
    }


def scene(dice: Dice, template: str, *parts: Sequence[str]) -> str:
    """One wording of a scene; each part is a list of wordings of the same thing."""
    who, event, where = (dice.pick(part) for part in parts)
    return sentence(template.format(who=who, event=event, where=where))


def questions(dice: Dice) -> Row:
    """Two questions; duplicates ask for the same action on the same thing in the same circumstances."""
    topics = SIMILARITY["questions"]["topics"]
    topic = dice.pick(topics)
    parts = ("actions", "things", "circumstances")
    first = [dice.pick(topic[part]) for part in parts]
    label = dice.pick(["not_duplicate", "duplicate"])
    second = list(first)
    while label == "not_duplicate" and second == first:
        pairs = zip(parts, first, strict=True)
        second = [dice.other(topic[part], old) if dice.chance(0.5) else old for part, old in pairs]
    return {"text": question(dice, *first), "text_pair": question(dice, *second), "label": label}


def question(dice: Dice, action: Sequence[str], thing: Sequence[str], circumstance: Sequence[str]) -> str:
    """One wording of a question; each part is a list of wordings of the same thing."""
    wanted = f"{dice.pick(action).format(thing=dice.pick(thing))} {dice.pick(circumstance)}"
    return sentence(dice.pick(SIMILARITY["questions"]["forms"]).format(wanted=wanted), "?")


# ---- splits and files ----------------------------------------------------------------------------------------------

TASKS: dict[str, Callable[[Dice], Row]] = {
    "sentiment-food": lambda dice: review(dice, SENTIMENT["food"]),
    "sentiment-film": lambda dice: review(dice, SENTIMENT["film"]),
    "topic-mail": mail,
    "topic-news": news,
    "similarity-graded": scenes,
    "similarity-questions": questions,
}
LABELS = {
    "sentiment-food": ["negative", "positive"],
    "sentiment-film": ["negative", "positive"],
    "topic-mail": list(TOPIC["mail"]),
    "topic-news": list(TOPIC["news"]),
    "similarity-questions": ["not_duplicate", "duplicate"],
}


def texts(row: Row) -> list[str]:
    """The one or two texts of a row."""
    return [row[column] for column in ("text", "text_pair") if column in row]


def split_rows(task: str, split: str, forbidden: set[str]) -> list[Row]:
    """`SIZES[split]` different rows, none with a text in `forbidden`; then the label noise."""
    dice, rows, seen = Dice(task, split), [], set()
    while len(rows) < SIZES[split]:
        row = TASKS[task](dice)
        key = tuple(texts(row))
        if key in seen or len(set(key)) < len(key) or forbidden.intersection(key):
            continue
        seen.add(key)
        if task in LABELS and dice.chance(LABEL_NOISE):
            row["label"] = dice.other(LABELS[task], row["label"])
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
