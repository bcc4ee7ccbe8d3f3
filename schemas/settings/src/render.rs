//! Faults for people: the source line, the marked text, what to do, a suggested change.

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};

use crate::fault::{Fault, Severity};
use crate::source::{Source, Span};

/// Draws faults over their sources, each headed by its message and `FILE:LINE:COL`, and ends with a line that counts them.
/// `styled` adds colours for a terminal.
#[must_use]
pub fn render(faults: &[Fault], sources: &[Source], styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for fault in faults {
        let source = sources.iter().find(|source| source.name == fault.file);
        out.push_str(&one(fault, source, &renderer));
        out.push_str("\n\n");
    }
    out.push_str(&summary(faults));
    out
}

fn one(fault: &Fault, source: Option<&Source>, renderer: &Renderer) -> String {
    let level = match fault.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(fault.message.as_str()).id(fault.code);
    let usable = source.filter(|source| !source.text.is_empty());
    let mut group = match usable {
        Some(source) => {
            let mut mark = AnnotationKind::Primary.span(first_line(source, fault.span));
            if let Some(label) = &fault.label {
                mark = mark.label(label.as_str());
            }
            title.element(Snippet::source(source.text.as_str()).path(fault.file.as_str()).annotation(mark))
        }
        None => {
            let place = annotate_snippets::Origin::path(fault.file.as_str());
            let group = title.element(place);
            match &fault.label {
                Some(label) => group.element(Level::NOTE.message(label.as_str())),
                None => group,
            }
        }
    };
    for note in &fault.notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    let mut groups = Vec::new();
    match (&fault.help, &fault.patch, usable) {
        (Some(help), Some(patch), Some(source)) => {
            groups.push(group);
            groups.push(suggestion(help, patch, source));
        }
        (Some(help), _, _) => groups.push(group.element(Level::HELP.message(help.as_str()))),
        (None, _, _) => groups.push(group),
    }
    renderer.render(&groups)
}

fn suggestion<'a>(help: &'a str, patch: &'a crate::fault::Patch, source: &'a Source) -> Group<'a> {
    let change = Patch::new(patch.span.start..patch.span.end, patch.text.as_str());
    Level::HELP.secondary_title(help).element(Snippet::source(source.text.as_str()).patch(change))
}

/// A mark of one line at most: a map of many lines is marked at its first.
fn first_line(source: &Source, span: Span) -> std::ops::Range<usize> {
    let start = source.floor(span.start);
    let end = source.floor(span.end).max(start);
    let line = source.text[start..end].find('\n').map_or(end, |at| start + at);
    start..line
}

/// `a.yaml: 2 errors, 1 warning`, for each file with faults; several files are separated by `; `.
#[must_use]
pub fn summary(faults: &[Fault]) -> String {
    let mut files: Vec<&str> = faults.iter().map(|fault| fault.file.as_str()).collect();
    files.dedup();
    let lines: Vec<String> = files
        .iter()
        .map(|file| {
            let count =
                |severity| faults.iter().filter(|fault| fault.file == *file && fault.severity == severity).count();
            let errors = plural(count(Severity::Error), "error");
            let warnings = plural(count(Severity::Warning), "warning");
            format!("{file}: {}", [errors, warnings].into_iter().flatten().collect::<Vec<_>>().join(", "))
        })
        .collect();
    if lines.is_empty() { String::new() } else { format!("{}\n", lines.join("; ")) }
}

fn plural(count: usize, what: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        many => Some(format!("{many} {what}s")),
    }
}
