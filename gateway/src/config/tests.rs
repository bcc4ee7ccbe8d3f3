//! Golden tests: the pinned configurations and their broken ones, our own broken ones, the schema, the defaults.
//!
//! `UPDATE_GOLDEN=1 cargo test -p gateway config` rewrites `config/anygate.schema.json` and `tests/configs/broken/*.txt`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use settings::Severity;

use super::*;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// The folder of pinned configurations; `None`, said aloud, when it is not beside the repository. A failure in CI.
fn pinned() -> Option<PathBuf> {
    let folder = root().join("../shared/acceptance");
    if folder.join("README.md").exists() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{} is missing", folder.display());
    eprintln!("SKIPPED: {} is missing", folder.display());
    None
}

fn env(name: &str) -> Option<String> {
    match name {
        "DATA_DIR" => Some("/tmp/x".to_owned()),
        "WORD" => Some("many".to_owned()),
        _ => None,
    }
}

fn check_in(folder: &Path, name: &str) -> Checked {
    let text = fs::read_to_string(folder.join(name)).unwrap();
    check_text(name, &text, folder, &env)
}

/// Without the folder of this checkout.
fn anywhere(text: &str, folder: &Path) -> String {
    text.replace(&format!("{}/", folder.display()), "./")
}

fn files(folder: &Path, extension: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(extension))
        .collect();
    names.sort();
    names
}

/// One `# expect: LINE:COLUMN severity words · words`.
struct Expect {
    line: u32,
    column: u32,
    severity: Severity,
    words: Vec<String>,
}

fn expects(text: &str) -> Vec<Expect> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# expect: "));
    lines
        .map(|line| {
            let (place, rest) = line.split_once(' ').unwrap();
            let (severity, words) = rest.split_once(' ').unwrap();
            let (line, column) = place.split_once(':').unwrap();
            Expect {
                line: line.parse().unwrap(),
                column: column.parse().unwrap(),
                severity: if severity == "warning" { Severity::Warning } else { Severity::Error },
                words: words.split('·').map(|word| word.trim().to_owned()).collect(),
            }
        })
        .collect()
}

/// Each expected fault is reported at its place with its words, and nothing else is.
fn holds(folder: &Path, name: &str) {
    let text = fs::read_to_string(folder.join(name)).unwrap();
    let (expected, checked) = (expects(&text), check_in(folder, name));
    let shown = checked.render(false);
    assert!(!expected.is_empty(), "{name} expects nothing");
    assert_eq!(checked.faults.len(), expected.len(), "{name}\n{shown}");
    for (expect, fault) in expected.iter().zip(&checked.faults) {
        let places = (fault.line, fault.column, fault.severity);
        assert_eq!(places, (expect.line, expect.column, expect.severity), "{name}\n{shown}");
        let one = anywhere(&settings::render(std::slice::from_ref(fault), &checked.sources, false), folder);
        for word in &expect.words {
            assert!(one.contains(word), "{name}: \"{word}\" is not in\n{one}");
        }
        assert!(
            one.contains(&format!("{name}:{}:{}", fault.line, fault.column)),
            "{name}: the text has another place\n{one}"
        );
    }
    let errors = checked.faults.iter().any(|fault| fault.severity == Severity::Error);
    assert_eq!(checked.config.is_none(), errors, "{name}");
    assert_eq!(checked.json().lines().count(), expected.len());
}

#[test]
fn the_pinned_broken_configurations_are_reported_where_they_say() {
    let Some(folder) = pinned() else { return };
    let broken = folder.join("broken");
    let names = files(&broken, ".yaml");
    assert!(names.len() >= 10, "{names:?}");
    names.iter().for_each(|name| holds(&broken, name));
}

#[test]
fn the_pinned_configurations_pass_or_name_exactly_what_is_to_come() {
    let Some(folder) = pinned() else { return };
    let places = |name: &str| -> Vec<(u32, &'static str)> {
        check_in(&folder, name).faults.iter().map(|fault| (fault.line, fault.code)).collect()
    };
    assert_eq!(places("http-mqtt-to-kafka.yaml"), []);
    assert_eq!(places("every-listener.yaml"), [(9, "C601"), (21, "C601"), (27, "C601")]);
    assert_eq!(places("schemas-and-middleware.yaml"), [(6, "C601"), (6, "C601")]);
    let text = check_in(&folder, "every-listener.yaml").render(false);
    for key in ["websocket is not built yet", "amqp is not built yet", "tcp is not built yet"] {
        assert!(text.contains(key), "{text}");
    }
    assert!(check_in(&folder, "schemas-and-middleware.yaml").render(false).contains("frame-v1"));
}

#[test]
fn the_pinned_slice_is_read_into_types() {
    let Some(folder) = pinned() else { return };
    let config = check_in(&folder, "http-mqtt-to-kafka.yaml").config.unwrap();
    assert_eq!(config.node.data_dir, "/tmp/x");
    assert_eq!(config.telemetry.otlp, None, "an empty value is a key that is not given");
    assert_eq!(config.listeners.names().collect::<Vec<_>>(), ["web", "devices"]);
    let Some(Listener::Mqtt(mqtt)) = config.listeners.get("devices") else { panic!("{:?}", config.listeners) };
    assert_eq!(mqtt.common.envelope[0].set.names().collect::<Vec<_>>(), ["type", "source", "subject", "partitionkey"]);
    assert_eq!(config.routes.iter().map(|route| route.line).collect::<Vec<_>>(), [21, 25]);
    assert!(config.routes[1].when.is_always() && config.routes[0].ack == Ack::Durable);
    let Some(Backend::Kafka(kafka)) = config.backends.get("bus") else { panic!("{:?}", config.backends) };
    assert_eq!((kafka.topic.as_constant(), kafka.brokers[0].to_string().as_str()), (Some("bus"), "127.0.0.1:19092"));
}

#[test]
fn our_broken_configurations_are_reported_where_they_say() {
    let folder = root().join("tests/configs/broken");
    let names = files(&folder, ".yaml");
    assert!(names.len() >= 40, "{}", names.len());
    for name in &names {
        holds(&folder, name);
        let golden = folder.join(name.replace(".yaml", ".txt"));
        let shown = anywhere(&check_in(&folder, name).render(false), &folder);
        if updating() {
            fs::write(&golden, &shown).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(shown, expected, "{} differs; UPDATE_GOLDEN=1 rewrites it", golden.display());
    }
}

#[test]
fn twelve_faults_of_all_stages_come_in_one_run() {
    let checked = check_in(&root().join("tests/configs/broken"), "twelve-faults.yaml");
    let mut codes: Vec<&str> = checked.faults.iter().map(|fault| fault.code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert!(checked.faults.len() >= 12 && codes.len() >= 12, "{codes:?}");
}

#[test]
fn the_schema_is_the_committed_one() {
    let golden = root().join("config/anygate.schema.json");
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if updating() {
        fs::write(&golden, &text).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert!(text == expected, "{} differs from the types; UPDATE_GOLDEN=1 rewrites it", golden.display());
}

/// YAML as JSON, by the parser that the checker uses; `${…}` stays as it stands.
fn as_json(text: &str) -> Json {
    fn convert(node: &settings::Node) -> Json {
        match &node.value {
            settings::Value::List(items) => items.iter().map(convert).collect(),
            settings::Value::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), convert(&entry.node))).collect()
            }
            settings::Value::Scalar(scalar) => match scalar.kind {
                settings::Kind::Text => Json::String(scalar.text.clone()),
                settings::Kind::Null => Json::Null,
                settings::Kind::Boolean | settings::Kind::Integer | settings::Kind::Number => {
                    serde_json::from_str(&scalar.text).unwrap()
                }
            },
        }
    }
    convert(&parse::parse(Source::new("t", text)).unwrap().0.root)
}

#[test]
fn an_independent_validator_takes_good_configurations_and_refuses_bad_ones() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut good = vec![
        ("default".to_owned(), DEFAULT.to_owned()),
        ("init".to_owned(), init(&["http", "mqtt"], &["kafka", "store"]).unwrap()),
    ];
    if let Some(folder) = pinned() {
        good.push(("slice".to_owned(), fs::read_to_string(folder.join("http-mqtt-to-kafka.yaml")).unwrap()));
    }
    for (name, text) in good {
        let json = as_json(&text);
        let errors: Vec<String> =
            validator.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
    let folder = root().join("tests/configs/broken");
    for name in [
        "unknown-section",
        "number-out-of-range",
        "misspelled-word",
        "listener-two-kinds",
        "numbers-for-text",
        "bad-sizes",
    ] {
        let text = fs::read_to_string(folder.join(name).with_extension("yaml")).unwrap();
        assert!(!validator.is_valid(&as_json(&text)), "{name} is taken by the schema");
    }
}

#[test]
fn the_built_in_configuration_passes_and_shows_the_defaults() {
    let checked = check_default(&|_| None);
    assert!(checked.faults.is_empty(), "{}", checked.render(false));
    let written = checked.config.unwrap();
    let short = "version: 1\nlisteners:\n  web: { http: { listen: \"127.0.0.1:8080\" } }\n  devices: { mqtt: { listen: \"127.0.0.1:1883\" } }\n\
                 routes: [ { name: everything, to: [keep] } ]\nbackends: { keep: { store: {} } }\n";
    let defaults = check_text("short", short, Path::new("."), &|_| None).config.unwrap();
    assert_eq!(written.node, defaults.node);
    assert_eq!(written.admin, defaults.admin);
    assert_eq!(written.telemetry, defaults.telemetry);
    assert_eq!(written.journal, defaults.journal);
    assert_eq!(written.dead_letters, defaults.dead_letters);
    assert_eq!(written.unrouted, defaults.unrouted);
    assert_eq!(written.backends, defaults.backends);
    for (written, default) in written.listeners.iter().zip(&defaults.listeners) {
        // `overload` has no value by default: each protocol has its own, which the file shows.
        let (mut written, mut default) = (written.1.clone(), default.1.clone());
        for listener in [&mut written, &mut default] {
            match listener {
                Listener::Http(http) => http.common.overload = None,
                Listener::Mqtt(mqtt) => mqtt.common.overload = None,
            }
        }
        assert_eq!(written, default);
    }
}

#[test]
fn every_starter_configuration_passes() {
    for from in [&[][..], &["http"], &["mqtt"], &["http", "mqtt"]] {
        for to in [&[][..], &["kafka"], &["store"], &["null"], &["kafka", "store", "null"]] {
            let text = init(from, to).unwrap();
            let checked = check_text("init", &text, Path::new("."), &|_| None);
            assert!(checked.faults.is_empty(), "{from:?} {to:?}\n{}", checked.render(false));
        }
    }
    assert_eq!(init(&["htp"], &[]).unwrap_err(), "--from htp is not known; there is http, mqtt");
}

#[test]
fn the_examples_pass() {
    let folder = root().join("config/examples");
    let names = files(&folder, ".yaml");
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        let checked = check_in(&folder, &name);
        assert!(checked.faults.is_empty(), "{}", checked.render(false));
    }
}

/// Things that look like faults and are none.
#[test]
fn what_is_meant_is_not_reported() {
    let text = "version: 1
admin: { listen: \"127.0.0.1:0\" }
listeners:
  a: { http: { listen: \"127.0.0.1:0\" } }
  b: { http: { listen: \"0.0.0.0:8081\", auth: none } }
  c: { mqtt: { listen: \"[::]:1883\", auth: { network: { allow: [10.0.0.0/8] } }, overload: refuse } }
routes:
  - { name: all, when: \"true\", to: [a], continue: true, ack: received }
  - { name: some, when: \"type = 'x'\", to: [b], ack: durable }
  - { name: direct, when: \"EXISTS tenant AND tenant = 'x'\", to: [b], ack: durable }
  - { name: rest, to: [a, b] }
backends: { a: { store: {} }, b: { null: {} } }
";
    let checked = check_text("t", text, Path::new("."), &env);
    assert!(checked.faults.is_empty(), "{}", checked.render(false));
    let config = checked.config.unwrap();
    assert!(config.routes[0].goes_on && !config.routes[1].goes_on);
    assert_eq!(config.routes.iter().map(|route| route.line).collect::<Vec<_>>(), [8, 9, 10, 11]);
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault() {
    let checked = check(&[PathBuf::from("/no/such.yaml")], &env);
    assert!(checked.config.is_none());
    assert!(checked.render(false).contains("/no/such.yaml"), "{}", checked.render(false));
    assert!(checked.json().contains(r#""code":"C001""#));
}

#[test]
fn the_environment_stays_a_value() {
    let text = "version: 1\nnode: { data_dir: \"${EVIL}\" }\nlisteners:\n  web: { http: { listen: \"127.0.0.1:8080\" } }\n\
                routes: [ { name: all, to: [keep] } ]\nbackends: { keep: { store: {} } }\n";
    let evil = |_: &str| Some("/x\nadmin: {listen: \"0.0.0.0:1\"}".to_owned());
    let config = check_text("t", text, Path::new("."), &evil).config.unwrap();
    assert!(config.node.data_dir.contains("admin"));
    assert!(config.admin.listen.is_loopback());
}
