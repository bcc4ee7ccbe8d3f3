"""The three counting laws, taken from the text of /metrics when the gateway is at rest.

    door      received = refused + dropped + duplicate + kept, for each listener
    lane      entered + recovered = delivered + dead_lettered + dropped + pending, for each backend
    between   kept × targets + dead letters of lanes = the sum over lanes of entered
"""

import re

SAMPLE = re.compile(r"^([a-z_0-9]+)(?:\{([^}]*)\})? ([0-9.eE+-]+)$", re.MULTILINE)
LETTERS = "dead_letters"  # the lane of dead letters, where it is among the figures
LABEL = re.compile(r'([a-z_]+)="([^"]*)"')


class Metrics:
    """Samples of one scrape: (name, labels, value)."""

    def __init__(self, text):
        self.samples = [(name, dict(LABEL.findall(labels)), float(value)) for name, labels, value in SAMPLE.findall(text)]

    def sum(self, name, **labels):
        return sum(value for found, has, value in self.samples
                   if found == name and all(has.get(key) == wanted for key, wanted in labels.items()))

    def values(self, label):
        return sorted({labels[label] for _, labels, _ in self.samples if label in labels})


def broken(metrics):
    """What does not hold, as sentences; nothing when all do."""
    found = []
    for listener in metrics.values("anygate_listener"):
        parts = {name: metrics.sum(f"anygate_events_{name}_total", anygate_listener=listener)
                 for name in ("received", "refused", "dropped", "duplicate", "kept")}
        if parts["received"] != sum(value for name, value in parts.items() if name != "received"):
            found.append(f"door law of {listener}: {parts}")
    for backend in metrics.values("anygate_backend"):
        came = {name: metrics.sum(f"anygate_lane_{name}_total", anygate_backend=backend) for name in ("entered", "recovered")}
        went = {name: metrics.sum(f"anygate_lane_{name}", anygate_backend=backend)
                for name in ("delivered_total", "dead_lettered_total", "dropped_total", "pending")}
        if sum(came.values()) != sum(went.values()):
            found.append(f"lane law of {backend}: {came} {went}")
    targeted, entered = metrics.sum("anygate_events_targeted_total"), metrics.sum("anygate_lane_entered_total")
    # A lane's dead letter enters the lane of dead letters without coming through the door.
    letters = metrics.sum("anygate_lane_dead_lettered_total") if LETTERS in metrics.values("anygate_backend") else 0
    if targeted + letters != entered:
        found.append(f"between: {targeted:.0f} kept × targets, {letters:.0f} dead letters of lanes, {entered:.0f} entered")
    if not metrics.values("anygate_listener") or not metrics.values("anygate_backend"):
        found.append("/metrics names no listener or no backend")
    return found
