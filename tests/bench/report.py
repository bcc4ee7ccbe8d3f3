"""The report: what was measured as Markdown, and nothing that was not."""
import sys

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def ratio(figure, who):
    """Anygate's rate against another's of the same rounds."""
    ours, other = figure["servers"].get("anygate"), figure["servers"].get(who)
    return f"{ours['rate'] / other['rate']:.2f} ×" if ours and other and not who.startswith("anygate") else ""


def times(result):
    return f"{result['p50_ms']:.2f} / {result['p99_ms']:.2f}" if "p50_ms" in result else "–"


def lags(figure):
    """What waited in the lane, for figures that have one under load."""
    for who, result in figure["servers"].items():
        if "lag_end" in result:
            yield (
                f"{figure['name']}: {who} accepted {result['accepted']:,.0f} events/s; events in the lane after half of the time "
                f"{result['lag_half']:,.0f}, after three quarters {result['lag_most']:,.0f}, at the end {result['lag_end']:,.0f}."
            )


def rows(figure):
    """One figure's lines of the table."""
    first = True
    for who, result in figure["servers"].items():
        name = figure["name"] if first else ""
        spread = f"{result['low']:,.0f} – {result['high']:,.0f}"
        yield (
            f"| {name} | {who} | {result['rate']:,.0f} | {spread} | {result['cpu_us']:.2f} ({result['user_us']:.2f}) "
            f"| {times(result)} | {ratio(figure, who)} |"
        )
        first = False
    for note in figure["notes"]:
        yield f"| {figure['name'] if first else ''} | {note} | not measured | | | | |"
        first = False
    if figure.get("error"):
        yield f"| {figure['name']} | failed: {figure['error'][:120].replace('|', '/')} | | | | | |"


def loads(moment):
    return " ".join(f"{part:.1f}" for part in moment["load"])


def surroundings(measured):
    """The machine, in the reader's first glance."""
    about, begin, end = measured["machine"], measured["begin"], measured["end"]
    disks = " and ".join(f"p50 {moment['disk']['p50']} µs, p99 {moment['disk']['p99']} µs" for moment in (begin, end))
    state = " with changes that are not committed" if about["changed"] else ""
    state += "" if measured["built"] else ", measured with a release build that was there already"
    broker = f" {about['mosquitto']}." if about["mosquitto"] else ""
    lines = [
        f"Measured on {about['date']}: {about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, {about['filesystem']}; "
        f"commit {about['commit']}{state}; {about['rustc']}.{broker} "
        f"Medians of {measured['rounds']} round(s) of {measured['seconds']:g} s, contestants in turn. "
        "The load generator runs on the same cores. "
        f"`fdatasync` of one page: {disks} (before, after). Load average {loads(begin)} before, {loads(end)} after. All of it took {measured['took'] / 60:.0f} minutes.",
    ]
    if begin["load"][0] > 0.7:
        lines.append(
            f"**The machine was not idle when the run began** (load {begin['load'][0]:.1f} on {about['cores']} cores): "
            "compare the rows of one figure with each other, and do not take a rate by itself."
        )
    return lines


def resting(rows):
    """Start and idle memory."""
    if not rows:
        return
    yield from ["", "| at rest | measured | lowest – highest | goal | beside it |", "|---|---:|---:|---:|---|"]
    for row in rows:
        if row.get("error"):
            yield f"| {row['name']} | failed: {row['error'][:120].replace('|', '/')} | | | |"
            continue
        spread = f"{row['low']:.2f} – {row['high']:.2f}"
        yield f"| {row['name']} | {row['value']:.2f} {row['unit']} | {spread} | {row['goal']} {row['unit']} | {row['peer']} |"


def markdown(measured):
    lines = surroundings(measured)
    if measured["figures"]:
        lines += [
            "",
            "| | server | events/s | lowest – highest | CPU µs an event (user) | answer p50 / p99 ms | anygate against it |",
            "|---|---|---:|---:|---:|---:|---:|",
        ]
        for figure in measured["figures"]:
            lines += list(rows(figure))
        lines += [
            "",
            "Every answer of anygate is `durable`: the event's `fdatasync` has returned. *Reference* reads the body and answers after a "
            "group-committed `fdatasync`, without looking at a byte: the floor of HTTP plus disk "
            "([source](gateway/examples/reference.rs)). *Bare hyper* writes nothing at all. Sizes are those of an event's data. "
            "CPU is the server's own, user and system, from `/proc`. *Kafka lane*: all events from the first request until the lane is "
            "empty; *alone*: what an earlier run left in the journal, its CPU with the start of the process. *librdkafka alone* sends the very "
            "records that the gateway made, in a process that does nothing else "
            "([source](gateway/backends/examples/producer.rs)); its CPU holds the generator's.",
        ]
        for figure in measured["figures"]:
            lines += [line for remark in lags(figure) for line in ("", remark)]
    lines += resting(measured.get("quiet", []))
    for crate in measured["crates"]:
        lines += ["", f"`{crate['command']}`", "", "```text", crate["output"] or f"failed: {crate.get('error')}", "```"]
    if measured["figures"]:
        lines += ["", "All of it again: `tests/bench/run`. One figure by hand, against `anygate run` with a `null` backend:", "", "```sh"]
        lines += dict.fromkeys(figure["command"] for figure in measured["figures"])
        lines += ["```"]
    return "\n".join(lines)


def write(readme, table):
    """Puts the table between the markers, and touches nothing else."""
    text = readme.read_text() if readme.exists() else ""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{readme} has no {BEGIN} … {END}")
    readme.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}")
