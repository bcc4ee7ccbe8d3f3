//! mosquitto's raw byte sequences: 1,486 cases for servers, in the files `test/broker/data/*.json` of its source package.
//!
//! The files are mosquitto's (EPL-2.0 or EDL-1.0, a BSD 3-clause licence) and no part of this project: `tests/setup` fetches
//! them. A case is a version, whether a CONNECT goes first, bytes to send and bytes to expect in turn, and whether the server
//! must close in the end. What the bytes expected *mean* is judged elsewhere ([`super::judge`]).
use super::wire::Version;
use serde::Deserialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Names the folder with the files, for an `anygate conform` that does not run in the repository.
pub const VARIABLE: &str = "ANYGATE_MOSQUITTO_DATA";
/// Where `tests/setup` puts them.
pub const FOLDER: &str = ".test-tools/mosquitto";

/// One case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Unique: the file's name and a number in it, `PUBLISH.17`.
    pub name: String,
    /// The group and the name that mosquitto gave it; not unique.
    pub title: String,
    /// The version of the CONNECT that goes first; `None`: the case has its own.
    pub connect: Option<Version>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// Whether the connection is closed in the end; else it must answer PINGREQ.
    pub closes: bool,
}

/// One step of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client sends this.
    Send(Vec<u8>),
    /// The server sends this, or what means the same.
    Receive(Vec<u8>),
    /// Another client publishes `message` to this topic with this QoS.
    Publish {
        /// The topic.
        topic: String,
        /// The QoS.
        qos: u8,
    },
}

impl Case {
    /// Bytes that the case itself sends.
    pub fn sent(&self) -> usize {
        self.steps.iter().map(|step| if let Step::Send(bytes) = step { bytes.len() } else { 0 }).sum()
    }
}

/// The folder with the files: what `ANYGATE_MOSQUITTO_DATA` names, or what `tests/setup` made above the current folder.
pub fn folder() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        return Some(PathBuf::from(named));
    }
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|above| above.join(FOLDER)).find(|folder| folder.is_dir())
}

/// All cases of the files in `folder`, by file name and then in the order of the file.
///
/// # Errors
/// What cannot be read, for people.
pub fn read(folder: &Path) -> Result<Vec<Case>, String> {
    let listed = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = listed.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        parse(&stem, &text, &mut cases).map_err(|fault| format!("{}: {fault}", file.display()))?;
    }
    if cases.is_empty() { Err(format!("{}: no cases", folder.display())) } else { Ok(cases) }
}

#[derive(Deserialize)]
struct Group {
    group: String,
    #[serde(default)]
    disable: bool,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    name: String,
    #[serde(default = "v311")]
    ver: u8,
    #[serde(default = "yes")]
    connect: bool,
    #[serde(default = "yes")]
    expect_disconnect: bool,
    msgs: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    r#type: String,
    #[serde(default)]
    payload: String,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    qos: u8,
}

fn v311() -> u8 {
    4
}

fn yes() -> bool {
    true
}

fn parse(file: &str, text: &str, cases: &mut Vec<Case>) -> Result<(), String> {
    let groups: Vec<Group> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut number = 0;
    for group in groups.into_iter().filter(|group| !group.disable) {
        for test in group.tests {
            number += 1;
            let title = format!("{} · {}", one_space(&group.group), one_space(&test.name));
            let steps =
                test.msgs.iter().map(step).collect::<Result<_, _>>().map_err(|fault| format!("{title}: {fault}"))?;
            let version = if test.ver == 5 { Version::V5 } else { Version::V311 };
            let connect = test.connect.then_some(version);
            cases.push(Case {
                name: format!("{file}.{number}"),
                title,
                connect,
                steps,
                closes: test.expect_disconnect,
            });
        }
    }
    Ok(())
}

fn one_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn step(line: &Line) -> Result<Step, String> {
    match line.r#type.as_str() {
        "send" => Ok(Step::Send(bytes(&line.payload)?)),
        "recv" => Ok(Step::Receive(bytes(&line.payload)?)),
        "publish" => Ok(Step::Publish { topic: line.topic.clone(), qos: line.qos }),
        other => Err(format!("a message of type {other:?}")),
    }
}

fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = hex.chars().filter(|digit| *digit != ' ').collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    if digits.len() % 2 == 1 {
        return Err(format!("{hex:?} has half a byte"));
    }
    digits.chunks(2).map(|pair| byte(pair).map_err(|error| format!("{hex:?}: {error}"))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_cases() {
        let text = r#"[{"group":"v5.0   X","tests":[
            {"name":"a  b","ver":5,"connect":false,"expect_disconnect":false,
             "msgs":[{"type":"send","payload":"C0 00"},{"type":"publish","topic":"p","qos":1},{"type":"recv","payload":"D000"}]},
            {"name":"c","msgs":[]}]},
            {"group":"off","disable":true,"tests":[{"name":"d","msgs":[]}]}]"#;
        let mut cases = Vec::new();
        parse("X", text, &mut cases).unwrap();
        assert_eq!(cases.len(), 2);
        assert_eq!((cases[0].title.as_str(), cases[0].connect, cases[0].closes), ("v5.0 X · a b", None, false));
        let publish = Step::Publish { topic: "p".to_owned(), qos: 1 };
        assert_eq!(cases[0].steps, [Step::Send(vec![0xc0, 0]), publish, Step::Receive(vec![0xd0, 0])]);
        assert_eq!((cases[1].name.as_str(), cases[1].connect, cases[1].closes), ("X.2", Some(Version::V311), true));
        assert!(
            parse("X", r#"[{"group":"g","tests":[{"name":"n","msgs":[{"type":"send","payload":"C"}]}]}]"#, &mut cases)
                .is_err()
        );
    }
}
