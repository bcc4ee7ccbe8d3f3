//! What a check found: a configuration, or faults with the texts that they are about.

use settings::{Fault, Source};

use super::model::Config;

/// The outcome of a check.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The configuration; there exactly when no fault is an error.
    pub config: Option<Config>,
    /// Errors and warnings, in the order of their places.
    pub faults: Vec<Fault>,
    /// The texts that were read.
    pub sources: Vec<Source>,
}

impl Checked {
    /// True when the configuration is refused.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        settings::any_error(&self.faults)
    }

    /// The faults for people; empty when there are none. `styled` adds colours for a terminal.
    #[must_use]
    pub fn render(&self, styled: bool) -> String {
        if self.faults.is_empty() { String::new() } else { settings::render(&self.faults, &self.sources, styled) }
    }

    /// The faults as JSON lines: `{"file","line","column","severity","code","message","help"}`.
    #[must_use]
    pub fn json(&self) -> String {
        self.faults.iter().map(|fault| fault.to_json() + "\n").collect()
    }

    /// Both outcomes, without a configuration: several files are several configurations.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.faults.extend(other.faults);
        self.sources.extend(other.sources);
        self.config = None;
        self
    }
}
