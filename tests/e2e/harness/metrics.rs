//! The text of `/metrics`, as numbers.
use std::collections::BTreeMap;

/// Every sample: its name, its labels, its value.
#[derive(Debug)]
pub struct Metrics(Vec<(String, BTreeMap<String, String>, f64)>);

impl Metrics {
    pub fn parse(text: &str) -> Metrics {
        Metrics(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The sum over all samples of a name that carry these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let carries = |found: &BTreeMap<String, String>| {
            labels.iter().all(|(key, value)| found.get(*key).map(String::as_str) == Some(*value))
        };
        self.0.iter().filter(|(found, with, _)| found == name && carries(with)).map(|(.., value)| value).sum()
    }

    /// Whether there is such a metric at all.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, ..)| found == name)
    }
}

fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let pairs = labels.trim_end_matches('}').split("\",").filter_map(|pair| pair.split_once("=\""));
    let labels = pairs.map(|(key, value)| (key.to_owned(), value.trim_end_matches('"').to_owned())).collect();
    Some((name.to_owned(), labels, value.parse().ok()?))
}
