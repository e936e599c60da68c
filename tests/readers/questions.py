"""What the SQL in pipelines/sql has to answer, worked out in plain Python from the table's rows."""

import re
from collections import Counter, defaultdict

from read import key


def current(rows):
    newest = {}
    for row in sorted(rows, key=lambda row: row["run_id"]):
        newest[row["root"], row["uri"]] = row
    return sorted((row for row in newest.values() if row["status"] != "deleted"), key=key)


def last_night(rows):
    histories = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["run_id"]):
        histories[row["root"], row["uri"]].append(row)
    last = max(row["run_id"] for row in rows)
    answers = set()
    for (root, uri), history in histories.items():
        now, before = history[-1], history[-2] if len(history) > 1 else None
        if now["run_id"] == last:
            caption_before = before and before["caption"]
            answers.add((change(now, before), root, uri, now["caption"], caption_before, now["error"]))
    return answers


def change(now, before):
    if now["status"] == "deleted":
        return "deleted"
    if before is None:
        return "new"
    if before["status"] == "deleted":
        return "back"
    if now["status"] == "failed":
        return "still failing" if before["status"] == "failed" else "fails now"
    if before["status"] == "failed":
        return "mended"
    if now["image_id"] != before["image_id"]:
        return "changed"
    return "captioned anew" if now["caption"] != before["caption"] else "as before"


def failures(rows):
    failed = [row for row in current(rows) if row["status"] == "failed"]
    reasons = Counter((row["error_stage"], row["error"]) for row in failed)
    answers = set()
    for (stage, error), images in reasons.items():
        of_reason = [row for row in failed if (row["error_stage"], row["error"]) == (stage, error)]
        example = min(row["uri"].encode() for row in of_reason).decode()
        answers.add((stage, error, images, example, min(row["run_id"] for row in of_reason)))
    return answers


def words_of(text):
    return set(re.findall(r"\w+", text.lower()))


def search(rows, words, forms):
    """`forms`: the words that are found by a word."""
    wanted = [forms(word) for word in words_of(words)]
    return {
        (row["root"], row["uri"], row["caption"], row["score"])
        for row in current(rows)
        if row["caption"] is not None and all(one & words_of(row["caption"]) for one in wanted)
    }
