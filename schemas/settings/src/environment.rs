//! `${NAME}`, `${NAME:-default}`, `${NAME:?message}`: environment values, put into parsed scalars only.
//!
//! Promises: a value can never add structure, whatever it contains; keys are never touched; a default or message holds no
//! nested `${`. The environment is a function, so that tests need no process environment.

use std::ops::Range;

use crate::codes;
use crate::fault::Fault;
use crate::source::Span;
use crate::tree::{Node, Tree, Value};

/// Looks up an environment variable.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Puts the environment into every scalar; marks scalars with faults.
pub fn resolve(tree: &mut Tree, lookup: &Lookup<'_>, faults: &mut Vec<Fault>) {
    let mut root = std::mem::replace(&mut tree.root, Node::new(Span::default(), Value::List(Vec::new())));
    walk(tree, &mut root, lookup, faults);
    tree.root = root;
}

#[cfg(test)]
pub(crate) fn resolve_none(mut tree: Tree) -> Tree {
    resolve(&mut tree, &|_| None, &mut Vec::new());
    tree
}

/// Recursion is bounded by [`crate::parse::MAX_DEPTH`].
fn walk(tree: &Tree, node: &mut Node, lookup: &Lookup<'_>, faults: &mut Vec<Fault>) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| walk(tree, item, lookup, faults)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| walk(tree, &mut entry.node, lookup, faults)),
        Value::Scalar(scalar) if scalar.text.contains("${") => {
            let result = replace(&scalar.text, lookup);
            match result {
                Ok(text) => {
                    scalar.text = text;
                    scalar.resolved = true;
                }
                Err(problems) => {
                    for problem in problems {
                        faults.push(report(tree, node, problem));
                    }
                    node.faulty = true;
                }
            }
        }
        Value::Scalar(_) => {}
    }
}

struct Problem {
    /// Characters of the scalar's value.
    at: Range<usize>,
    code: &'static str,
    message: String,
    label: Option<String>,
    help: Option<String>,
}

fn report(tree: &Tree, node: &Node, problem: Problem) -> Fault {
    let whole = node.text().is_some_and(|text| text.chars().count() == problem.at.len());
    let span = if whole { node.span } else { tree.within(node, problem.at.clone()) };
    let mut fault = Fault::error(&tree.source, span, problem.code, problem.message);
    fault.label = problem.label;
    fault.help = problem.help;
    fault
}

fn replace(text: &str, lookup: &Lookup<'_>) -> Result<String, Vec<Problem>> {
    let mut out = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let before = text.len() - rest.len() + start;
        let first = text[..before].chars().count();
        let body = &rest[start + 2..];
        let Some(end) = body.find('}') else {
            problems.push(Problem {
                at: first..text.chars().count(),
                code: codes::ENVIRONMENT_SYNTAX,
                message: "${ without its }".to_owned(),
                label: Some("the } is missing".to_owned()),
                help: Some("write ${NAME}, ${NAME:-default} or ${NAME:?message}".to_owned()),
            });
            rest = "";
            break;
        };
        let at = first..first + body[..end].chars().count() + 3;
        match one(&body[..end], at, lookup) {
            Ok(value) => out.push_str(&value),
            Err(problem) => problems.push(problem),
        }
        rest = &body[end + 1..];
    }
    out.push_str(rest);
    if problems.is_empty() { Ok(out) } else { Err(problems) }
}

fn one(body: &str, at: Range<usize>, lookup: &Lookup<'_>) -> Result<String, Problem> {
    let length = body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(body.len());
    let (name, more) = body.split_at(length);
    let bad_name = name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit());
    let known = more.is_empty() || more.starts_with(":-") || more.starts_with(":?");
    if bad_name || !known {
        return Err(Problem {
            at,
            code: codes::ENVIRONMENT_SYNTAX,
            message: format!("${{{body}}} is not a reference to the environment"),
            label: None,
            help: Some("write ${NAME}, ${NAME:-default} or ${NAME:?message}; data of the message is {name}".to_owned()),
        });
    }
    // As in a shell: with a colon an empty variable counts as unset.
    let found = lookup(name);
    if more.is_empty() {
        return found.ok_or_else(|| Problem {
            at,
            code: codes::ENVIRONMENT,
            message: format!("the environment variable {name} is not set"),
            label: None,
            help: Some(format!("set {name}, or give a default: ${{{name}:-value}}")),
        });
    }
    match (found.filter(|value| !value.is_empty()), &more[..2], &more[2..]) {
        (Some(value), _, _) => Ok(value),
        (None, ":-", default) => Ok(default.to_owned()),
        (None, _, message) => Err(Problem {
            at,
            code: codes::ENVIRONMENT,
            message: format!("the environment variable {name} is not set"),
            label: Some(if message.is_empty() { "it has to be set".to_owned() } else { message.to_owned() }),
            help: Some(format!("set {name} before the start")),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Source, parse, path};

    fn run(text: &str, pairs: &[(&str, &str)]) -> (Tree, Vec<Fault>) {
        let (mut tree, mut faults) = parse::parse(Source::new("t", text)).unwrap();
        let lookup = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        resolve(&mut tree, &lookup, &mut faults);
        (tree, faults)
    }

    #[test]
    fn values_defaults_and_messages() {
        let (tree, faults) = run("a: ${A}-${B:-b}\nb: \"x${C:?}\"\n", &[("A", "1"), ("C", "y")]);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(tree.get(path!["a"]).unwrap().text(), Some("1-b"));
        assert_eq!(tree.get(path!["b"]).unwrap().text(), Some("xy"));
    }

    #[test]
    fn a_value_cannot_add_structure() {
        let (tree, faults) = run("a: ${A}\n", &[("A", "x\nadmin: {listen: \"0.0.0.0:1\"}")]);
        assert!(faults.is_empty());
        assert_eq!(tree.root.entries().len(), 1);
        assert!(tree.get(path!["a"]).unwrap().text().unwrap().contains("admin"));
    }

    #[test]
    fn unset_variables_are_named_where_they_stand() {
        let (_, faults) = run("a: { b: \"${NO_SUCH:?set it to a folder}\" }\nc: \"1:${P}\"\nd: ${x\n", &[]);
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(lines[0], "t:1:9: error[C501]: the environment variable NO_SUCH is not set");
        assert_eq!(faults[0].label.as_deref(), Some("set it to a folder"));
        assert_eq!(lines[1], "t:2:7: error[C501]: the environment variable P is not set");
        assert!(lines[2].starts_with("t:3:4: error[C502]"), "{}", lines[2]);
    }
}
