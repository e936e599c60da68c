"""Reads a file of metrics the way Prometheus' own client library does.

    python tests/readers/metrics.py FILE

The text has to parse, every sample has to belong to a family with a help text and a type, no series
may come twice, counters alone may be called _total, and the images of a run that went to its end have
to add up.
"""

import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families


def expect(holds, what):
    if not holds:
        sys.exit(f"metrics.py: {what}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    text = Path(sys.argv[1]).read_text()
    expect(text.endswith("\n"), "the last line is not finished")
    families = list(text_string_to_metric_families(text))
    samples = {}
    for family in families:
        expect(family.documentation, f"{family.name} has no help")
        expect(family.type in ("gauge", "counter"), f"{family.name} is of type {family.type}")
        for sample in family.samples:
            series = sample.name, tuple(sorted(sample.labels.items()))
            expect(series not in samples, f"{series} comes twice")
            expect(sample.labels.get("out", "").startswith("/"), f"{series} does not say of which output")
            total = sample.name.endswith("_total")
            expect(total == (family.type == "counter"), f"{sample.name} is a {family.type}")
            samples[series] = sample.value

    def of(name):
        return [value for (series, _), value in samples.items() if series == f"showtell_{name}"]

    if of("last_run_exit_code") in ([0], [1], [3]):
        expect(sum(of("last_run_images")) == of("last_run_found_images")[0], "the images do not add up")
    expect(sum(of("last_run_state")) == 1, "the run ended in several ways, or none")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    expect(len(lines) == len(samples), f"{len(lines)} lines are {len(samples)} samples")
    print(f"metrics: {len(samples)} samples in {len(families)} families")


if __name__ == "__main__":
    main()
