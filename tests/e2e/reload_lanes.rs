//! Reload and the lanes: backends that come, go, change and get another name.
use crate::{
    harness::{
        eventually, free_port,
        gateway::{Place, Running},
        store::Rows,
    },
    reload::{applied, rejected},
};
use serde_json::Value;

fn config(to: &str, backends: &str) -> String {
    format!("routes:\n  - {{ name: all, to: [{to}] }}\nbackends:\n{backends}")
}

const DEAD: &str = "kafka: { brokers: [\"127.0.0.1:${DEAD_PORT:?}\"], topic: t }";

fn lanes(running: &Running<'_>) -> Vec<(String, u64)> {
    let status: Value = running.admin("/api/status").json();
    let lanes = status["lanes"].as_array().unwrap().iter();
    lanes.map(|lane| (lane["backend"].as_str().unwrap().to_owned(), lane["pending"].as_u64().unwrap())).collect()
}

#[test]
fn a_backend_with_events_is_not_taken_away_and_may_be_renamed() {
    let place = Place::with(&config("stuck, keep", &format!("  stuck: {{ {DEAD} }}\n  keep: {{ store: {{}} }}\n")))
        .env("DEAD_PORT", &free_port().to_string());
    let running = place.start();
    for number in 0..5 {
        assert_eq!(running.send(&format!("e{number}"), "t").status, 202);
    }
    eventually("five wait", 10, || lanes(&running).contains(&("stuck".to_owned(), 5)).then_some(()));
    place.rewrite(&config("keep", "  keep: { store: {} }\n"));
    let answer = rejected(&running, "C507");
    let fault = &answer["faults"][0];
    let text = format!("{} {}", fault["message"].as_str().unwrap(), fault["help"].as_str().unwrap());
    for word in ["stuck", "5 events", "renamed_from", "lanes drain", "lanes move", "lanes discard"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    assert_eq!(running.send("e5", "t").status, 202, "the old config is in force");
    eventually("six wait", 10, || lanes(&running).contains(&("stuck".to_owned(), 6)).then_some(()));

    // Another name and another kind: the events are its own.
    place.rewrite(&config("keep", "  keep: { store: {} }\n  fresh: { store: { renamed_from: stuck } }\n"));
    let answer = applied(&running);
    assert!(answer["difference"].as_array().unwrap().iter().any(|one| one["change"] == "renamed"), "{answer:#}");
    eventually("the six are in the new store", 40, || {
        (Rows::read(&place.data_dir(), "fresh").len() == 6).then_some(())
    });
    eventually("the laws hold under the new name", 10, || {
        let metrics = running.metrics();
        (metrics.sum("anygate_lane_entered_total", &[("anygate_backend", "fresh")]) == 6.0
            && metrics.sum("anygate_lane_entered_total", &[("anygate_backend", "stuck")]) == 0.0)
            .then_some(())
    });
    crate::counting::lane_laws(&running.metrics(), &["fresh", "keep"]);
    assert_eq!(running.term(), Some(0));
    // A start with the same file: the old name may stay in it.
    let running = place.start();
    assert_eq!(running.send("after", "t").status, 202);
}

#[test]
fn a_start_that_lacks_a_backend_with_events_is_refused_and_touches_nothing() {
    let place =
        Place::with(&config("stuck", &format!("  stuck: {{ {DEAD} }}\n"))).env("DEAD_PORT", &free_port().to_string());
    let running = place.start();
    assert_eq!(running.send("one", "t").status, 202);
    assert_eq!(running.term(), Some(0));
    let files = |place: &Place| {
        let mut all: Vec<(String, Vec<u8>)> = Vec::new();
        for folder in ["", "journal", "lanes/1"] {
            for entry in std::fs::read_dir(place.data_dir().join(folder)).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_file() && !path.ends_with("LOCK") {
                    all.push((path.display().to_string(), std::fs::read(&path).unwrap()));
                }
            }
        }
        all.sort();
        all
    };
    let before = files(&place);
    assert!(before.len() >= 3, "{}", before.len());
    place.rewrite(&config("keep", "  keep: { store: {} }\n"));
    let refused = place.spawn();
    assert_eq!(refused.end(20).code(), Some(1));
    let said = refused.stderr();
    for word in ["stuck", "1 pending", "renamed_from", "anygate lanes drain|move|discard"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    assert!(before == files(&place), "a refused start changed the journal");
    place.rewrite(&config("keep", "  keep: { store: { renamed_from: stuck } }\n"));
    let running = place.start();
    assert_eq!(running.rows_at_least(1).ids(), ["one"]);
}

#[test]
fn an_empty_backend_goes_a_new_one_comes_and_a_changed_one_goes_on() {
    let place = Place::with(&config("keep, extra", "  keep: { store: {} }\n  extra: { store: {} }\n"));
    let running = place.start();
    for number in 0..20 {
        assert_eq!(running.send(&format!("a{number}"), "t").status, 202);
    }
    eventually("both are empty", 10, || lanes(&running).iter().all(|(_, pending)| *pending == 0).then_some(()));
    place.rewrite(&config("keep, more", "  keep: { store: { keep: 48h } }\n  more: { store: {} }\n"));
    let answer = applied(&running);
    let changes: Vec<_> =
        answer["difference"].as_array().unwrap().iter().map(|one| one["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["changed", "changed", "added", "removed"], "{answer:#}");
    for number in 20..40 {
        assert_eq!(running.send(&format!("a{number}"), "t").status, 202);
    }
    assert_eq!(running.rows_at_least(40).len(), 40, "each once: what was under way was handed back");
    eventually("the new one has the new ones", 10, || {
        (Rows::read(&place.data_dir(), "more").len() == 20).then_some(())
    });
    eventually("the empty lane is taken away", 20, || {
        (lanes(&running).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>() == ["keep", "more"]).then_some(())
    });
    crate::counting::lane_laws(&running.metrics(), &["keep", "more", "extra"]);
    // It comes back as a new one.
    place.rewrite(&config("keep, extra", "  keep: { store: {} }\n  extra: { store: {} }\n  more: { store: {} }\n"));
    applied(&running);
    assert_eq!(running.send("again", "t").status, 202);
    eventually("it has the last one", 10, || {
        Rows::read(&place.data_dir(), "extra").ids().contains(&"again").then_some(())
    });
    assert_eq!(running.term(), Some(0));
    let running = place.start();
    assert_eq!(running.send("after", "t").status, 202);
}

fn row(running: &Running<'_>, name: &str) -> Value {
    let rows = running.json_lines(&["lanes", "list", "--json"]);
    rows.into_iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no lane {name}"))
}

#[test]
fn lanes_are_listed_moved_drained_and_discarded() {
    let place = Place::with(&config("stuck, keep", &format!("  stuck: {{ {DEAD} }}\n  keep: {{ store: {{}} }}\n")))
        .env("DEAD_PORT", &free_port().to_string());
    let running = place.start();
    for number in 0..7 {
        assert_eq!(running.send(&format!("e{number}"), "t").status, 202);
    }
    eventually("seven wait", 10, || (row(&running, "stuck")["pending"] == 7).then_some(()));
    let stuck = eventually("why is said", 15, || {
        let row = row(&running, "stuck");
        (row["state"] == "trouble" && row["why"].is_string()).then_some(row)
    });
    assert!(stuck["pending_bytes"].as_u64().unwrap() > 7 && stuck["oldest"].is_string() && stuck["id"] == 1, "{stuck}");
    let drain = place.output(&["lanes", "drain", "stuck", "--timeout", "1s"]);
    assert_eq!(drain.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&drain.stderr).contains("7 events wait"), "{drain:?}");
    let unsaid = place.output(&["lanes", "discard", "stuck"]);
    assert_eq!(unsaid.status.code(), Some(2), "nothing is thrown away without --yes");

    assert!(place.output(&["lanes", "move", "stuck", "--to", "keep"]).status.success());
    assert!(place.output(&["lanes", "drain", "keep", "--timeout", "20s"]).status.success());
    assert_eq!(running.rows_at_least(7).len(), 7, "the store has them already: the same source and id are one row");
    assert_eq!(running.send("e7", "t").status, 202, "the lane goes on");
    eventually("one waits", 10, || (row(&running, "stuck")["pending"] == 1).then_some(()));
    assert!(place.output(&["lanes", "discard", "stuck", "--yes"]).status.success());
    eventually("none waits", 10, || (row(&running, "stuck")["pending"] == 0).then_some(()));
    let metrics = running.metrics();
    let dropped =
        |reason| metrics.sum("anygate_lane_dropped_total", &[("anygate_backend", "stuck"), ("error_type", reason)]);
    assert_eq!((dropped("moved"), dropped("discarded")), (7.0, 1.0));
    crate::counting::lane_laws(&metrics, &["stuck", "keep"]);

    // Now the config may lack it.
    place.rewrite(&config("keep", "  keep: { store: {} }\n"));
    applied(&running);
    assert_eq!(place.output(&["lanes", "move", "nobody", "--to", "keep"]).status.code(), Some(1));
    assert_eq!(running.term(), Some(0));
    assert_eq!(place.output(&["lanes", "list"]).status.code(), Some(3), "no gateway answers");
}

#[test]
fn a_lane_that_keeps_a_gateway_from_starting_is_moved_or_discarded_without_one() {
    let both = format!("  stuck: {{ {DEAD} }}\n  gone: {{ {DEAD} }}\n  keep: {{ store: {{}} }}\n");
    let place = Place::with(&config("stuck, gone", &both)).env("DEAD_PORT", &free_port().to_string());
    let running = place.start();
    assert_eq!(running.send("one", "t").status, 202);
    let file = place.config.to_str().unwrap();
    let locked = place.output(&["lanes", "discard", "gone", "--yes", "--config", file]);
    assert_eq!(locked.status.code(), Some(1), "a gateway runs on it");
    assert!(String::from_utf8_lossy(&locked.stderr).contains("leave out --config"), "{locked:?}");
    assert_eq!(running.term(), Some(0));
    place.rewrite(&config("keep", "  keep: { store: {} }\n"));
    assert_eq!(place.spawn().end(20).code(), Some(1));
    let moved = place.output(&["lanes", "move", "stuck", "--to", "keep", "--config", file]);
    assert!(moved.status.success(), "{moved:?}");
    assert_eq!(place.spawn().end(20).code(), Some(1), "the other one still has an event");
    let data = place.data_dir();
    let discarded = place.output(&["lanes", "discard", "gone", "--yes", "--data-dir", data.to_str().unwrap()]);
    assert!(discarded.status.success(), "{discarded:?}");
    let running = place.start();
    assert_eq!(running.rows_at_least(1).ids(), ["one"]);
}

#[test]
fn quotas_that_do_not_fit_are_refused_with_their_figures() {
    let place = Place::with(&config("keep", "  keep: { store: { backlog: { max_size: 900000GiB } } }\n"));
    let refused = place.spawn();
    assert_eq!(refused.end(20).code(), Some(1));
    let said = refused.stderr();
    for word in ["do not fit", "backends.keep backlog.max_size: 921600000 MiB", "segments × segment_size): 1024 MiB"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    assert!(!place.data_dir().join("LOCK").exists(), "the journal was not touched");
}
