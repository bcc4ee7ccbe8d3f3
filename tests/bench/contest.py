"""A contest: several contestants measured in turn, round after round, and what came out of it."""
import json
import statistics

from servers import Skipped, say


def measured(server, load):
    """One measurement of one server."""
    before = server.cpu()
    result = load()
    user, system = (after - was for after, was in zip(server.cpu(), before))
    return {"rate": result["acked_per_second"], **costs(result, user, system)}


def costs(result, user, system):
    """CPU an event and the times of the answers, from what the generator said; an error if not all was answered with yes."""
    if result["acked"] == 0 or result["refused"] or result["lost"]:
        raise RuntimeError(f"not a measurement: {json.dumps(result)[:400]}")
    micro = 1e6 / result["acked"]
    return {"cpu_us": (user + system) * micro, "user_us": user * micro, "p50_ms": result["ms"]["p50"], "p99_ms": result["ms"]["p99"]}


def served(start, load):
    """A contestant that is a server: started, loaded, stopped."""

    def once():
        server = start()
        try:
            return measured(server, lambda: load(server))
        finally:
            server.stop()

    return once


def summary(samples):
    """Medians, and the spread of the rates."""
    rates = [sample["rate"] for sample in samples]
    middle = {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}
    return {**middle, "low": min(rates), "high": max(rates), "samples": samples}


def run(bench, name, command, contestants):
    """All rounds of one figure. A contestant is its name and what measures it once."""
    samples, notes = {}, []
    for number in range(bench.options.rounds):
        # Each round begins with another contestant.
        turn = number % len(contestants)
        for who, once in contestants[turn:] + contestants[:turn]:
            if any(note.startswith(f"{who}: ") for note in notes):
                continue
            try:
                result = once()
            except Skipped as why:
                say(f"SKIPPED: {who}: {why}")
                notes.append(f"{who}: {why}")
                continue
            say(f"  {who}: {result['rate']:,.0f}/s, {result['cpu_us']:.2f} µs CPU each")
            samples.setdefault(who, []).append(result)
    found = {who: summary(samples[who]) for who, _ in contestants if who in samples}
    return {"name": name, "command": command, "servers": found, "notes": notes}
