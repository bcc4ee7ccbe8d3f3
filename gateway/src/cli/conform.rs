//! `anygate conform`: the wire suites of the crate `conformance` against any endpoint.
//!
//! It sends malformed and hostile input on purpose, so a target off loopback has to be called one's own.
use super::{
    Exit,
    client::{Style, say},
    send::target::Target,
};
use clap::Args;
use conformance::{
    cut::{Cut, Cuts},
    suite::{self, CaseResult, Count, Credentials, Endpoint, Outcome, SUITES, Suite},
};
use std::{path::PathBuf, time::Duration};

/// Ask any endpoint for what a protocol says about bad input, limits and deadlines.
///
/// Exit 0: every case was answered as expected, 1: not so, 3: no connection.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate conform http --target http://127.0.0.1:8080\n  anygate conform http --target http://127.0.0.1:8080 --case H04 --case H09\n  anygate conform mqtt --target mqtt://127.0.0.1:1883 --cut every\n  anygate conform http --target http://127.0.0.1:8080 --json | jq -r 'select(.outcome == \"failed\") | .case'"
)]
pub struct Conform {
    /// The suite
    #[arg(value_parser = SUITES.map(Suite::name).to_vec())]
    suite: String,
    /// The endpoint
    #[arg(long, value_name = "URL")]
    target: String,
    /// A file with one line that lets senders in: name:password, or a token
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Only this case; may be given again
    #[arg(long = "case", value_name = "CASE")]
    cases: Vec<String>,
    /// Seconds to wait for an answer or an end; above the endpoint's own deadlines
    #[arg(long, default_value_t = 45, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// Send each case again in two pieces: cut at one place, or at every byte (longer than 1 KiB: at places spread evenly)
    #[arg(long, value_name = "WHERE", default_value = "none", value_parser = Cuts::WORDS)]
    cut: String,
    /// One JSON object per case, and one for the count
    #[arg(long)]
    json: bool,
    /// Allow a target that is not on loopback: it is yours, and it expects this
    #[arg(long)]
    yes_i_own_this_target: bool,
}

impl Conform {
    /// Runs the command.
    pub fn run(self) -> Exit {
        let ready = self.prepare();
        let (suite, endpoint) = match ready {
            Ok(ready) => ready,
            Err(fault) => {
                eprintln!("error: {fault}");
                return Exit::Usage;
            }
        };
        let mut count = Count::default();
        let wanted = |name: &str| self.cases.is_empty() || self.cases.iter().any(|case| case == name);
        let ran = suite.run(&endpoint, Cuts::parse(&self.cut).unwrap_or_default(), &wanted, &mut |result| {
            count.add(&result);
            say(if self.json { json(&result) } else { text(&result, Style::of_stdout()) }.as_bytes());
        });
        if let Err(fault) = ran {
            eprintln!("error: {fault}");
            return Exit::Unreachable;
        }
        say(self.last_line(&endpoint, count).as_bytes());
        if count.failed == 0 { Exit::Ok } else { Exit::Faults }
    }

    fn prepare(&self) -> Result<(&'static dyn Suite, Endpoint), String> {
        let suite = suite::find(&self.suite).ok_or_else(|| format!("no suite is called {:?}", self.suite))?;
        let known = suite.cases();
        if let Some(case) = self.cases.iter().find(|case| !known.iter().any(|name| name == *case)) {
            return Err(format!("the suite {} has no case {case:?}", self.suite));
        }
        let (scheme, port) = suite.scheme();
        let target = Target::parse(&self.target, scheme, port)?;
        let address = target.resolve()?;
        if !address.ip().is_loopback() && !self.yes_i_own_this_target {
            return Err(format!("{address} is not on loopback: add --yes-i-own-this-target if it is yours"));
        }
        let credentials = self.credentials.as_ref().map(|file| {
            let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Ok::<_, String>(Credentials::parse(text.trim_end()))
        });
        let patience = Duration::from_secs(self.patience);
        let (host, credentials) = (target.address(), credentials.transpose()?);
        Ok((suite, Endpoint { address, host, credentials, patience, cut: Cut::default() }))
    }

    fn last_line(&self, endpoint: &Endpoint, count: Count) -> String {
        let Count { ok, failed, not_applicable, asked } = count;
        if self.json {
            let (suite, target, cases) = (&self.suite, &endpoint.host, count.cases());
            return serde_json::json!({
                "suite": suite, "target": target, "cases": cases, "ok": ok, "failed": failed, "not_applicable": not_applicable,
                "asked": asked,
            })
            .to_string();
        }
        let cut = if self.cut == "none" {
            String::new()
        } else {
            format!("; asked {asked} times, with a cut each but the first")
        };
        format!("{} cases: {ok} ok, {failed} failed, {not_applicable} not applicable{cut}", count.cases())
    }
}

fn text(result: &CaseResult, style: Style) -> String {
    let CaseResult { name, title, section, outcome, asked: _ } = result;
    match outcome {
        Outcome::Ok => format!("ok      {name}  {title}"),
        Outcome::NotApplicable(why) => format!("n/a     {name}  {title}: {why}"),
        Outcome::Failed { expected, seen } => {
            let first = style.bold(&format!("FAILED  {name}  {title}"));
            format!("{first} ({section})\n        expected {expected}\n        seen     {seen}")
        }
    }
}

fn json(result: &CaseResult) -> String {
    let CaseResult { name, title, section, outcome, asked } = result;
    let mut line = serde_json::json!({ "case": name, "title": title, "section": section, "asked": asked });
    match outcome {
        Outcome::Ok => line["outcome"] = "ok".into(),
        Outcome::NotApplicable(why) => {
            line["outcome"] = "not_applicable".into();
            line["why"] = why.as_str().into();
        }
        Outcome::Failed { expected, seen } => {
            line["outcome"] = "failed".into();
            line["expected"] = expected.as_str().into();
            line["seen"] = seen.as_str().into();
        }
    }
    line.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(outcome: Outcome) -> CaseResult {
        CaseResult {
            name: "H04".into(),
            title: "two lengths".into(),
            section: "RFC 9112, section 6.3".into(),
            outcome,
            asked: 1,
        }
    }

    #[test]
    fn a_failure_says_what_was_expected_and_seen() {
        let failed = result(Outcome::Failed { expected: "400".into(), seen: "200".into() });
        let page = text(&failed, Style::plain());
        for part in ["FAILED  H04", "RFC 9112, section 6.3", "expected 400", "seen     200"] {
            assert!(page.contains(part), "{page}");
        }
        let line = json(&failed);
        assert!(line.contains(r#""outcome":"failed""#) && line.contains(r#""seen":"200""#), "{line}");
        assert!(text(&result(Outcome::Ok), Style::plain()).starts_with("ok "));
        assert!(text(&result(Outcome::NotApplicable("no TLS".into())), Style::plain()).ends_with(": no TLS"));
    }
}
