//! The services that `tests/services/with-services` started, and topics in them.
use super::{clients, skip};
use serde_json::Value;
use std::{
    env, fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// Where the folder `tests` is.
pub fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The broker's `host:port`; `None`, said aloud, when there is none.
pub fn kafka() -> Option<String> {
    let found = env::var("ANYGATE_TEST_KAFKA").ok().filter(|_| env::var_os("ANYGATE_TEST_VENV").is_some());
    if found.is_none() {
        skip("no Kafka broker: run tests/run test, or tests/services/with-services cargo test -p tests");
    }
    found
}

/// A name that no other test uses.
pub fn fresh(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[track_caller]
fn run(arguments: &[&str], environment: &[(&str, &str)]) {
    let mut command = Command::new(tests().join("services/kafka"));
    let output = command.args(arguments).envs(environment.iter().copied()).output().unwrap();
    assert!(output.status.success(), "kafka {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a topic on the shared broker, or on the one of `broker`.
#[track_caller]
pub fn create_topic(broker: &str, name: &str, partitions: u32, settings: &[&str]) {
    let count = partitions.to_string();
    let mut arguments = vec!["topic", "create", name, &count];
    arguments.extend(settings);
    run(&arguments, &[("ANYGATE_TEST_KAFKA", broker)]);
}

/// The records of a topic as it is now, each as `ce_kafka_read.py --raw` prints it.
#[track_caller]
pub fn records(broker: &str, topic: &str) -> Vec<Value> {
    clients::python("ce_kafka_read.py", &[broker, topic, "--raw"])
}

/// A broker of a test's own, to be killed. It goes away with it.
pub struct Broker {
    folder: tempfile::TempDir,
    pub address: String,
}

impl Broker {
    /// `None`, said aloud, where there are no services.
    pub fn start() -> Option<Broker> {
        kafka()?;
        let folder = tempfile::Builder::new().prefix("anygate-e2e-kafka.").tempdir().unwrap();
        run(&["start", folder.path().to_str().unwrap()], &[]);
        let text = fs::read_to_string(folder.path().join("env")).unwrap();
        let address = text.lines().find_map(|line| line.strip_prefix("ANYGATE_TEST_KAFKA=")).unwrap().to_owned();
        Some(Broker { folder, address })
    }

    /// `kill`, `start`, `restart`.
    #[track_caller]
    pub fn act(&self, action: &str) {
        run(&[action, self.folder.path().to_str().unwrap()], &[]);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _gone = Command::new(tests().join("services/kafka")).arg("kill").arg(self.folder.path()).output();
    }
}
