"""Writes references.json and candidates.json: captions of imagined pictures, awkward ones among them.

Run beside them: python pictures.py
"""

import json
from pathlib import Path

# Name, candidate, references.
PICTURES = [
    ("identical", "A brown dog runs across the wet grass.",
     ["A brown dog runs across the wet grass.", "A dog is running on a lawn.", "The dog crosses a field.",
      "A brown dog running through grass", "A wet dog runs."]),
    ("empty", "",
     ["A red kite hangs in the sky.", "Someone flies a kite.", "A kite above the sea", "A red kite flying",
      "Kite in the wind"]),
    ("one-word", "bicycle",
     ["A blue bicycle leans against a wall.", "A bicycle by a brick wall", "Parked bicycle",
      "The bike stands next to a wall.", "A bicycle"]),
    ("unseen-words", "Zyx qwv plok ghed ruun",
     ["Two cats sleep on a sofa.", "Cats lying on a couch", "A pair of sleeping cats", "Two cats on a sofa",
      "Cats asleep indoors"]),
    ("repeats", "the the the the the the the",
     ["The boat sails past the island.", "A sailing boat near the shore", "The white boat on the sea",
      "A boat passes by the rocks.", "The boat is sailing."]),
    ("duplicate-references", "A man plays a guitar on stage.",
     ["A man plays the guitar.", "A man plays the guitar.", "A man plays the guitar.",
      "A guitarist on a stage", "A guitarist on a stage"]),
    ("long-candidate",
     "A woman in a long green coat and a yellow hat walks slowly along the old stone bridge over the river "
     "while a small dog follows her and a tram passes by in the rain",
     ["A woman walks over a bridge.", "A woman in a green coat on a bridge", "Woman with dog on a bridge",
      "A lady crosses the river.", "A woman and her dog in the rain"]),
    ("short-candidate", "A horse jumps",
     ["A brown horse jumps over a white fence at a show.", "A rider on a horse jumps over an obstacle.",
      "The horse is jumping over the bar in the arena.", "A woman rides a horse over a jump.",
      "A horse and its rider clear a fence during a competition."]),
    ("wrong-order", "grass the on lies cat a",
     ["A cat lies on the grass.", "A cat lying in the grass", "The cat rests on grass.", "A cat on the lawn",
      "A grey cat lies in the garden."]),
    ("another-image", "A brown dog runs across the wet grass.",
     ["Three people sit around a table.", "People eating dinner together", "A family at the table",
      "Three persons having a meal", "A dinner with three people"]),
    ("contractions", "The dog's owner can't reach the boys' ball.",
     ["The dog's owner can't get the ball.", "A dog owner reaches for a ball that isn't his.",
      "They're trying to reach the ball.", "The boys' ball is out of reach.", "He doesn't reach it."]),
    ("fractions", "1 1/2 pizzas on a table",
     ["1 1/2 pizzas lie on the table.", "One and a half pizzas", "A pizza and 1/2 of another on a table",
      "1 1/2 pizzas", "Two pizzas, one of them half eaten"]),
    ("brackets", "A sign (red) says \"STOP\" at 5th Ave.",
     ["A red stop sign (at 5th Ave.)", "A \"STOP\" sign on the street", "A sign saying stop",
      "The stop sign on 5th Ave. is red.", "Red sign"]),
    ("two-words", "a dog", ["a dog", "the dog", "dog", "a dog", "one dog"]),
    ("three-words", "a black dog", ["a black dog", "the black dog", "black dog", "a dog", "a big black dog"]),
    ("one-reference", "Children play in the snow.", ["Two children are playing in the snow."]),
    ("empty-reference", "A bird on a branch", ["", "A bird sits on a branch.", "."]),
    ("only-punctuation", "... !", ["A tree", "The tree in a field", "!"]),
    ("same-length-tie", "a man rides a wave",
     ["a surfer rides a big wave", "a man surfs waves", "a man rides waves", "surfer on a wave", "a surfer"]),
    ("most-common-words", "a man in a red shirt is standing in front of a building",
     ["A man stands in front of a building.", "A man in a red shirt waits by a building.",
      "Someone in red in front of a house", "A man in a shirt", "A man is standing outside."]),
    ("repeated-rare-word", "unicycle unicycle unicycle",
     ["A man rides a unicycle.", "A man on a unicycle", "A unicycle rider", "Man balancing on one wheel",
      "A person on a unicycle in a park"]),
    ("case-and-stops", "A MAN AND A WOMAN ; WALKING , TALKING !",
     ["A man and a woman walk and talk.", "a man and a woman walking", "Man and woman talking",
      "A couple walks.", "Two people are walking and talking."]),
    ("numbers", "2 dogs chase 3 balls at 8:30 a.m.",
     ["Two dogs chase three balls.", "2 dogs chase 3 balls.", "2 dogs at 8:30 a.m.", "Dogs and balls",
      "3 balls and 2 dogs"]),
    ("unicode", "Ein Café in Zürich \u2026 d\u00e9j\u00e0 vu",
     ["A caf\u00e9 in Z\u00fcrich", "A cafe in Zurich", "Caf\u00e9 tables", "People in a caf\u00e9",
      "A street with a caf\u00e9"]),
    ("good", "Two children in bright jackets climb a snowy hill with a sledge.",
     ["Two children climb a snowy hill with their sledge.", "Children in bright jackets pull a sledge uphill.",
      "Two kids with a sledge on a hill", "Two children in jackets on a snowy hill",
      "Kids climbing a hill in winter"]),
]

here = Path(__file__).parent
images, annotations, results = [], [], []
for number, (name, candidate, references) in enumerate(PICTURES, start=101):
    images.append({"id": number, "file_name": f"{name}.jpg"})
    results.append({"image_id": number, "caption": candidate})
    annotations += [{"image_id": number, "id": 0, "caption": caption} for caption in references]
for number, annotation in enumerate(annotations):
    annotation["id"] = number
for name, content in (
    ("references.json", {"images": images, "annotations": annotations}),
    ("candidates.json", results),
):
    text = json.dumps(content, ensure_ascii=False, indent=0)
    (here / name).write_text(text + "\n", encoding="utf-8")
