//! Reads our own `/metrics` text back: what `status` shows has then one source, and tests read it the same way.
use std::collections::BTreeMap;

/// One sample of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series' name, with its suffix (`_total`).
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// All samples of a text in the OpenMetrics format; lines that are none are passed over.
pub fn read(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

/// The sum of all samples of `name` whose labels have these values.
pub fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Sample| {
        sample.name == name
            && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
    };
    // `-0.0` is the sum of nothing.
    samples.iter().filter(fits).map(|sample| sample.value).sum::<f64>() + 0.0
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    let rest = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest, &mut labels)?,
        None => rest,
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Reads `a="b",c="d"}`; gives what follows.
fn read_labels<'t>(mut rest: &'t str, labels: &mut BTreeMap<String, String>) -> Option<&'t str> {
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        let (key, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.to_owned(), value);
        rest = &quoted[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_with_and_without_labels() {
        let samples =
            read("# HELP a b\na_total{x=\"1\",y=\"q\\\"\\\\\"} 3\na_total{x=\"2\",y=\"\"} 4\nplain 1.5\n# EOF\n");
        assert_eq!(samples.len(), 3);
        assert_eq!(samples[0].labels["y"], "q\"\\");
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(sum(&samples, "a_total", &[]), 7.0));
        assert!(close(sum(&samples, "a_total", &[("x", "2")]), 4.0));
        assert!(close(sum(&samples, "plain", &[]), 1.5));
        assert!(close(sum(&samples, "none", &[]), 0.0));
    }
}
