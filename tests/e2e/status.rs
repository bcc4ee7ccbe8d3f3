//! `anygate status` and `/readyz?verbose`: what is stuck, since when, why, and who waits for it.
use crate::harness::{
    eventually, free_port,
    gateway::Place,
    mqtt::{Client, Said},
};
use crate::thread::KEEP;

#[test]
fn it_names_the_streams_that_wait_behind_a_held_head() {
    let config = format!(
        "version: 1\nnode: {{ data_dir: \"${{DATA_DIR:?}}\", drain_timeout: 1s }}\nadmin: {{ listen: \"127.0.0.1:${{ADMIN_PORT:?}}\" }}\nlisteners:\n  \
         devices: {{ mqtt: {{ listen: \"127.0.0.1:${{MQTT_PORT:?}}\", overload: {{ hold: 25s }} }} }}\n\
         routes:\n  - {{ name: all, to: [bus], ack: delivered }}\nbackends:\n  bus: {{ kafka: {{ brokers: [\"127.0.0.1:{}\"], topic: nowhere }} }}\n",
        free_port()
    );
    let place = Place::new(&config);
    let running = place.start();
    eventually("the lane knows that nobody is there", 30, || {
        running.admin("/readyz?verbose").text().contains("TROUBLE").then_some(())
    });
    let mut client = Client::connect(place.mqtt, "pump-7", 5);
    client.publish("a", b"x", &Said::default());
    let status = eventually("the stream is named", 10, || {
        let lines = running.json_lines(&["status", "--json"]);
        let status = lines.into_iter().next()?;
        (status["held_streams"] == 1).then_some(status)
    });
    let held = &status["held"][0];
    assert_eq!((held["listener"].as_str(), held["failure"].as_str()), (Some("devices"), Some("backend_unavailable")));
    assert!(held["sender"].as_str().unwrap().contains("pump-7"), "{held}");
    assert!(held["why"].as_str().unwrap().contains("bus"), "{held}");
    let plain = String::from_utf8(place.output(&["status"]).stdout).unwrap();
    assert!(plain.contains("1 streams wait behind") && plain.contains("pump-7"), "{plain}");
    drop(client);
    eventually("it is over", 60, || (running.json_lines(&["status", "--json"])[0]["held_streams"] == 0).then_some(()));
}

#[test]
fn it_says_where_listeners_really_are_and_which_config_runs() {
    let place = Place::with(KEEP);
    let text = std::fs::read_to_string(&place.config).unwrap().replace("${HTTP_PORT:?}", "0");
    std::fs::write(&place.config, text).unwrap();
    let running = place.start();
    let status = running.json_lines(&["status", "--json"]).remove(0);
    assert_eq!(status["config"]["generation"], 1, "{status}");
    let listeners = status["listeners"].as_array().unwrap();
    let web = listeners.iter().find(|listener| listener["name"] == "web").unwrap();
    let (_, port) = web["listen"].as_str().unwrap().rsplit_once(':').unwrap();
    let port: u16 = port.parse().unwrap();
    assert_ne!(port, 0, "{web}");
    let answer = crate::harness::http::Connection::open(port).post("/events", &[("content-type", "text/plain")], b"x");
    assert_eq!(answer.status, 202);
}
