//! `anygate init`: a commented starter configuration that passes `check`.

use std::fmt::Write as _;

/// The listeners that a starter configuration can have, and their settings.
const FROM: &[(&str, &str)] = &[
    (
        "http",
        "  web:
    http:
      listen: \"127.0.0.1:${HTTP_PORT:-8080}\"   # POST /events, /events/{type}
      max_body: 1MiB
",
    ),
    (
        "mqtt",
        "  devices:
    mqtt:
      listen: \"127.0.0.1:${MQTT_PORT:-1883}\"
      envelope:                                # how a bare message becomes an event
        - topic: sensors/{site}/{device}/{kind}
          set:
            type: com.example.sensor.{kind}
            source: /sites/{site}/devices/{device}
            subject: \"{device}\"
            partitionkey: \"{device}\"
",
    ),
];

/// The backends that a starter configuration can have: name, kind, settings.
const TO: &[(&str, &str, &str)] = &[
    (
        "kafka",
        "bus",
        "  bus:
    kafka:
      brokers: [\"${KAFKA:-127.0.0.1:9092}\"]
      topic: \"${TOPIC:-events}\"                # it has to exist; a template needs a fixed prefix: events.{tenant}
      compression: zstd
",
    ),
    (
        "store",
        "keep",
        "  keep:
    store: { keep: 24h, max_size: 1GiB }       # SQLite; query it with: anygate events
",
    ),
    (
        "null",
        "nowhere",
        "  nowhere:
    null: {}                                   # takes all, keeps none
",
    ),
];

/// A starter configuration with these listeners and backends; none given means `http` and `store`.
///
/// # Errors
/// One line that names what is not known.
pub fn init(from: &[&str], to: &[&str]) -> Result<String, String> {
    let from = if from.is_empty() { &["http"][..] } else { from };
    let to = if to.is_empty() { &["store"][..] } else { to };
    let mut text = String::from(
        "# yaml-language-server: $schema=./anygate.schema.json
# Check it: anygate check    Editors: anygate schema > anygate.schema.json    Run it: anygate run
version: 1

node:
  data_dir: \"${ANYGATE_DATA_DIR:-./anygate-data}\"   # journal, embedded store, dead letters
  drain_timeout: 25s                           # on SIGTERM: answer what is in flight, flush, exit

admin:
  listen: 127.0.0.1:8700                       # health, metrics, and what the commands ask; off loopback it needs a token

listeners:                                     # where messages come in; off loopback each needs auth
",
    );
    for name in unique(from) {
        let known = FROM.iter().map(|(known, _)| *known);
        let (_, settings) =
            FROM.iter().find(|(known, _)| *known == name).ok_or_else(|| unknown("--from", name, known))?;
        text.push_str(settings);
    }
    let mut targets = Vec::new();
    let mut backends = String::new();
    for kind in unique(to) {
        let known = TO.iter().map(|(known, ..)| *known);
        let (_, name, settings) =
            TO.iter().find(|(known, ..)| *known == kind).ok_or_else(|| unknown("--to", kind, known))?;
        targets.push(*name);
        backends.push_str(settings);
    }
    let targets = targets.join(", ");
    let _ = write!(
        text,
        "
routes:                                        # top to bottom; the first match wins unless it says continue: true
  - name: sensors
    when: type LIKE 'com.example.sensor.%'     # CloudEvents SQL over the event's attributes
    to: [{targets}]
    ack: durable                               # the sender hears yes when it is on this disk; or received, delivered
  - name: everything-else
    when: \"true\"
    to: [{targets}]

unrouted: dead_letter                          # or reject, drop

backends:                                      # where events go; each owns retry, order, on_failure
{backends}
dead_letters: {{ keep: 14d }}    # look at them with: anygate dlq list
"
    );
    Ok(text)
}

fn unique<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut out: Vec<&str> = Vec::new();
    for name in names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
        if !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

fn unknown<'a>(flag: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    format!("{flag} {name} is not known; there is {}", known.collect::<Vec<_>>().join(", "))
}
