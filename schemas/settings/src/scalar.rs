//! One scalar against what may stand at its place.

use crate::check::{Walk, settle};
use crate::codes;
use crate::fault::Fault;
use crate::guess::nearest;
use crate::inside;
use crate::parse::plain_kind;
use crate::shape::{Bounds, Shape};
use crate::tree::{Kind, Node, Scalar, Style, Value};
use crate::values::{self, Bad, Format};

/// Formats for which a bare number is nearly right, so that their own message helps more than "put it in quotes".
const NUMERIC: [&str; 6] = ["size", "duration", "backoff", "rate", "address", "network"];

impl Walk<'_> {
    pub(crate) fn scalar(&mut self, node: &mut Node, shape: &Shape<'_>) {
        let Value::Scalar(scalar) = &node.value else { return };
        let scalar = scalar.clone();
        // What the environment gave is read as whatever the field is.
        let kind = if scalar.resolved { plain_kind(&scalar.text) } else { scalar.kind };
        match kind {
            Kind::Boolean if shape.boolean => settle(node, Kind::Boolean),
            Kind::Integer if shape.integer.is_some() => self.number(node, &scalar, shape.integer, Kind::Integer),
            Kind::Integer | Kind::Number if shape.number.is_some() => {
                self.number(node, &scalar, shape.number, Kind::Number);
            }
            Kind::Text | Kind::Boolean | Kind::Integer | Kind::Number | Kind::Null => {
                self.text(node, &scalar, kind, shape);
            }
        }
    }

    fn text(&mut self, node: &mut Node, scalar: &Scalar, kind: Kind, shape: &Shape<'_>) {
        let text = scalar.text.as_str();
        if shape.words.contains(&text) {
            return settle(node, Kind::Text);
        }
        let format = shape.text.flatten().and_then(values::format);
        if let Some(fault) = self.later(text, node.span, shape) {
            return self.fault(node, fault);
        }
        let bare = kind != Kind::Text && !scalar.resolved;
        if shape.text.is_some() && (!bare || format.is_some_and(|format| NUMERIC.contains(&format.word))) {
            settle(node, Kind::Text);
            if let Some(format) = format
                && let Err(bad) = (format.check)(text)
            {
                let fault = self.unreadable(node, shape, format, bad);
                self.fault(node, fault);
            }
            return;
        }
        let fault = self.mismatch(node, scalar, shape);
        self.fault(node, fault);
    }

    fn number(&mut self, node: &mut Node, scalar: &Scalar, bounds: Option<Bounds>, kind: Kind) {
        settle(node, kind);
        let bounds = bounds.unwrap_or_default();
        let value: f64 = scalar.text.parse().unwrap_or(f64::NAN);
        let name = self.name();
        let wrong = match (bounds.low, bounds.high) {
            (_, Some(high)) if value > high => Some(("too large", format!("at most {high}"))),
            (Some(low), _) if value < low => Some(("too small", format!("at least {low}"))),
            _ if !value.is_finite() => Some(("no number", "a finite number".to_owned())),
            _ => None,
        };
        if let Some((what, label)) = wrong {
            let fault = self.error(node.span, codes::RANGE, format!("{name}: {} is {what}", scalar.text)).label(label);
            self.fault(node, fault);
        }
    }

    fn unreadable(&self, node: &Node, shape: &Shape<'_>, format: &Format, bad: Bad) -> Fault {
        let span = match bad.at {
            Some(at) => inside::within(self.source, node, at),
            None => node.span,
        };
        let name = self.name();
        let (code, message) = match format.word {
            "cesql" => (codes::EXPRESSION, "the expression does not parse".to_owned()),
            "template" => (codes::TEMPLATE, format!("the template in {name} does not parse")),
            "address" => (codes::ADDRESS, format!("{name} wants an address")),
            "name" | "attribute" => (codes::NAME, format!("{name} wants {}", format.noun)),
            _ => (codes::FORMAT, format!("{name} wants {}", shape.nouns())),
        };
        let mut fault = self.error(span, code, message).label(bad.message);
        fault.help = bad.help;
        if let Value::Scalar(scalar) = &node.value
            && scalar.resolved
        {
            fault = fault.note("the environment gave this value");
        }
        fault
    }

    /// The fault of a scalar whose type fits nothing here.
    fn mismatch(&self, node: &Node, scalar: &Scalar, shape: &Shape<'_>) -> Fault {
        let (name, text) = (self.name(), scalar.text.as_str());
        let quoted = format!("\"{text}\"");
        let only_words = !shape.words.is_empty() && shape.text.is_none();
        // Where a map is wanted, the text may be a secret that should not stand here: it is not repeated.
        let shown = only_words || shape.boolean || shape.integer.is_some() || shape.number.is_some();
        let what = if node.noun() == "text" && shown { quoted.as_str() } else { node.noun() };
        let code = if only_words && what == quoted { codes::WORD } else { codes::WRONG_TYPE };
        let fault = self.error(node.span, code, format!("{name} wants {}, not {what}", shape.nouns()));
        if shape.text.is_some() {
            return fault.help("put it in quotes").patch(node.span, quoted);
        }
        let unquoted = matches!(scalar.style, Style::Single | Style::Double) && !scalar.resolved;
        let fits = match plain_kind(text) {
            Kind::Boolean => shape.boolean,
            Kind::Integer => shape.integer.is_some() || shape.number.is_some(),
            Kind::Number => shape.number.is_some(),
            Kind::Text | Kind::Null => false,
        };
        if unquoted && fits {
            return fault.help("remove the quotes").patch(node.span, text);
        }
        if shape.boolean && ["yes", "on", "True", "TRUE"].contains(&text) {
            return fault.help("write true").patch(node.span, "true");
        }
        if shape.boolean && ["no", "off", "False", "FALSE"].contains(&text) {
            return fault.help("write false").patch(node.span, "false");
        }
        if shape.choice_names().any(|choice| choice == text) {
            return fault.help(format!("write {text}: {{}}, or its settings in the braces"));
        }
        match nearest(text, shape.words.iter().copied()) {
            Some(meant) if !scalar.resolved => {
                fault.help(format!("did you mean \"{meant}\"?")).patch(inside::unquoted(self.source, node), meant)
            }
            Some(meant) => fault.help(format!("did you mean \"{meant}\"?")),
            None => fault,
        }
    }
}
