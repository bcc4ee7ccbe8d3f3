//! Clients that are not ours: the programs in `tests/clients`, curl, h2load, mosquitto_pub.
use super::{services::tests, skip};
use serde_json::Value;
use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Whether the Python clients can run; said aloud when not.
pub fn has_python() -> bool {
    let found = env::var_os("ANYGATE_TEST_VENV").is_some();
    if !found {
        skip("no Python clients: ANYGATE_TEST_VENV is not set (tests/run)");
    }
    found
}

/// Whether the Node clients can run; said aloud when not.
pub fn has_node() -> bool {
    let found = env::var_os("ANYGATE_TEST_NODE").is_some();
    if !found {
        skip("no Node clients: ANYGATE_TEST_NODE is not set (tests/run)");
    }
    found
}

/// A program on PATH; said aloud when it is missing.
pub fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        skip(&format!("{program} is not installed (tests/setup)"));
    }
    found
}

/// The Python of the test environment.
pub fn python_program() -> PathBuf {
    Path::new(&env::var_os("ANYGATE_TEST_VENV").unwrap()).join("bin/python")
}

#[track_caller]
fn lines(program: &str, output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{program}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{program}: {error}: {line}")))
        .collect()
}

/// A program of `tests/clients` in Python: the JSON lines it prints.
#[track_caller]
pub fn python(program: &str, arguments: &[&str]) -> Vec<Value> {
    let output =
        Command::new(python_program()).arg(tests().join("clients").join(program)).args(arguments).output().unwrap();
    lines(program, &output)
}

/// A program of `tests/clients` in JavaScript: the JSON lines it prints.
#[track_caller]
pub fn node(program: &str, arguments: &[&str]) -> Vec<Value> {
    let output = Command::new("node").arg(tests().join("clients").join(program)).args(arguments).output().unwrap();
    lines(program, &output)
}

/// paho-mqtt publishes; its one answer.
#[track_caller]
pub fn paho(port: u16, arguments: &[&str]) -> Value {
    let port = port.to_string();
    python("paho_pub.py", &[&["127.0.0.1", &port], arguments].concat()).remove(0)
}

/// mqtt.js publishes; its one answer.
#[track_caller]
pub fn mqttjs(port: u16, arguments: &[&str]) -> Value {
    let port = port.to_string();
    node("mqttjs_pub.mjs", &[&["127.0.0.1", &port], arguments].concat()).remove(0)
}

/// curl posts a body to a path: status, headers (lower case) and body as text.
#[track_caller]
pub fn curl(port: u16, path: &str, arguments: &[&str]) -> (u16, String, String) {
    let url = format!("http://127.0.0.1:{port}{path}");
    let output = Command::new("curl").args(["-sS", "-i", "--max-time", "20", &url]).args(arguments).output().unwrap();
    assert!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    let mut text = String::from_utf8(output.stdout).unwrap();
    while text.starts_with("HTTP/1.1 100") || text.starts_with("HTTP/2 100") {
        text = text.split_once("\r\n\r\n").unwrap().1.to_owned();
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}
