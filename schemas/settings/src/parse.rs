//! YAML into a [`Tree`]: one document, unique text keys, strict booleans, limits on everything.
//!
//! JSON is read too, because it is YAML. Deliberately not taken: merge keys (`<<`), tags, several documents, keys that are
//! lists or maps. Aliases work, within a budget. Words such as `no` and `on` are text.

use granit_parser::{Event, Parser, ScalarStyle, ScanError};

use crate::codes;
use crate::fault::Fault;
use crate::source::{Source, Span};
use crate::tree::{Entry, Kind, Node, Scalar, Style, Tree, Value};

/// The largest text, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The deepest nesting of lists and maps.
pub const MAX_DEPTH: usize = 64;
/// The most nodes that aliases may add in all.
pub const MAX_ALIASED: usize = 10_000;

/// Reads a text. The second part lists faults that leave a usable tree (duplicate keys).
///
/// # Errors
/// The faults because of which there is no tree: syntax, limits, several documents.
pub fn parse(source: Source) -> Result<(Tree, Vec<Fault>), Vec<Fault>> {
    if source.text.len() > MAX_BYTES {
        let fault = Fault::error(&source, Span::default(), codes::LIMIT, "this file is larger than 1 MiB")
            .label(format!("it has {} bytes", source.text.len()));
        return Err(vec![fault]);
    }
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let shift = source.text.len() - text.len();
    let mut builder = Builder {
        source: &source,
        shift,
        open: Vec::new(),
        root: None,
        anchors: Vec::new(),
        aliased: 0,
        documents: 0,
        faults: Vec::new(),
    };
    for next in Parser::new_from_str(text) {
        let step = match next {
            Ok((event, span)) => builder.event(event, &span),
            Err(error) => Err(syntax(&source, &error, shift)),
        };
        if let Err(fault) = step {
            let mut faults = builder.faults;
            faults.push(fault);
            return Err(faults);
        }
    }
    let Builder { root, faults, .. } = builder;
    let end = Span::new(0, 0);
    let root = match root {
        Some(node) if !node.is_absent() => node,
        _ => Node::new(end, Value::Map(Vec::new())),
    };
    Ok((Tree { source, root }, faults))
}

/// A list or map that is not closed yet.
struct Open {
    start: usize,
    anchor: usize,
    value: Value,
    /// The key that waits for its value; the flag says that it stood before and the value is to be dropped.
    key: Option<(String, Span, bool)>,
}

struct Builder<'a> {
    source: &'a Source,
    /// Bytes of a byte order mark that the parser did not see.
    shift: usize,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: Vec<(usize, Node)>,
    aliased: usize,
    documents: usize,
    faults: Vec<Fault>,
}

#[allow(clippy::result_large_err, reason = "at most one per file is made")]
impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: &granit_parser::Span) -> Result<(), Fault> {
        let bytes = span.byte_range().unwrap_or_default();
        let span = Span::new(bytes.start + self.shift, bytes.end + self.shift);
        match event {
            Event::DocumentStart(..) => self.document(span),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span)?;
                self.scalar(&text, style, anchor, span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span)?;
                self.open(Value::List(Vec::new()), anchor, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span)?;
                self.open(Value::Map(Vec::new()), anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => self.alias(id, span),
            // Comments, stream marks, and whatever a later parser adds that carries no data.
            _ => Ok(()),
        }
    }

    fn document(&mut self, span: Span) -> Result<(), Fault> {
        self.documents += 1;
        if self.documents > 1 {
            return Err(Fault::error(self.source, span, codes::DOCUMENTS, "a second YAML document starts here")
                .label("one file holds one configuration")
                .help("remove the line ---, or put this part into a file of its own"));
        }
        Ok(())
    }

    fn refuse_tag(&self, tagged: bool, span: Span) -> Result<(), Fault> {
        if tagged {
            return Err(Fault::error(self.source, span, codes::FEATURE, "YAML tags are not used here")
                .help("remove the tag (the word that starts with !)"));
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, span: Span) -> Result<(), Fault> {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        if self.wants_key() {
            // An empty key comes from the parser as "~".
            return self.key(if span.start == span.end { "" } else { text }, span);
        }
        let kind = if style == Style::Plain { plain_kind(text) } else { Kind::Text };
        let scalar = Scalar { text: text.to_owned(), style, resolved: false, kind };
        self.finish(Node::new(trimmed(self.source, span), Value::Scalar(scalar)), anchor)
    }

    fn wants_key(&self) -> bool {
        self.open.last().is_some_and(|open| open.key.is_none() && matches!(open.value, Value::Map(_)))
    }

    fn key(&mut self, key: &str, span: Span) -> Result<(), Fault> {
        if key == "<<" {
            return Err(Fault::error(self.source, span, codes::FEATURE, "merge keys (<<) are not used here")
                .help("write the keys out, or use an alias for the whole value"));
        }
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        let Value::Map(entries) = &open.value else { return Ok(()) };
        let first = entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_span);
        open.key = Some((key.to_owned(), span, first.is_some()));
        if let Some(first) = first {
            let line = self.source.position(first.start).line;
            self.faults.push(
                Fault::error(self.source, span, codes::DUPLICATE_KEY, format!("duplicate key \"{key}\""))
                    .label(format!("it stands on line {line} already"))
                    .help("rename one of them, or remove it"),
            );
        }
        Ok(())
    }

    fn open(&mut self, value: Value, anchor: usize, span: Span) -> Result<(), Fault> {
        if self.wants_key() {
            return Err(Fault::error(self.source, span, codes::FEATURE, "a key must be text, not a list or a map"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::error(
                self.source,
                span,
                codes::LIMIT,
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        self.open.push(Open { start: span.start, anchor, value, key: None });
        Ok(())
    }

    fn close(&mut self, span: Span) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let whole = trimmed(self.source, Span::new(open.start, span.end));
        self.finish(Node::new(whole, open.value), open.anchor)
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Fault> {
        if self.wants_key() {
            return Err(Fault::error(self.source, span, codes::FEATURE, "a key must be text, not an alias"));
        }
        let Some((_, node)) = self.anchors.iter().rev().find(|(anchor, _)| *anchor == id) else {
            return Err(Fault::error(
                self.source,
                span,
                codes::SYNTAX,
                "this alias refers to a value that is not closed yet",
            ));
        };
        let (nodes, depth) = measure(node);
        self.aliased += nodes;
        if self.aliased > MAX_ALIASED || self.open.len() + depth > MAX_DEPTH {
            return Err(Fault::error(self.source, span, codes::LIMIT, "aliases make this file too large")
                .label(format!("at most {MAX_ALIASED} values may come from aliases")));
        }
        let mut node = node.clone();
        node.span = span;
        self.finish(node, 0)
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        if anchor > 0 {
            self.anchors.push((anchor, node.clone()));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Some((key, key_span, false))) => entries.push(Entry { key, key_span, node }),
            (Value::Map(_) | Value::Scalar(_), _) => {}
        }
        Ok(())
    }
}

/// Nodes and depth of a subtree. Bounded by [`MAX_DEPTH`], which the tree it came from kept.
fn measure(node: &Node) -> (usize, usize) {
    let below = node.items().iter().chain(node.entries().iter().map(|entry| &entry.node));
    let (nodes, depth) = below.map(measure).fold((0, 0), |(n, d), (nodes, depth)| (n + nodes, d.max(depth)));
    (nodes + 1, depth + 1)
}

/// A span without the blanks and comments' space that the parser leaves at the end of a block.
fn trimmed(source: &Source, span: Span) -> Span {
    let end = span.start + source.slice(span).trim_end().len();
    Span::new(span.start, end)
}

/// What a plain scalar is. Only `true` and `false` are booleans; `null`, `~` and nothing are null.
pub(crate) fn plain_kind(text: &str) -> Kind {
    match text {
        "" | "~" | "null" => Kind::Null,
        "true" | "false" => Kind::Boolean,
        _ if is_integer(text) => Kind::Integer,
        _ if is_number(text) => Kind::Number,
        _ => Kind::Text,
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    let starts = text.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    starts && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) && text.parse::<f64>().is_ok()
}

fn syntax(source: &Source, error: &ScanError, shift: usize) -> Fault {
    let at = error.marker().byte_offset().map_or(source.text.len(), |at| at + shift);
    let start = source.floor(at);
    let width = source.text[start..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    let span = Span::new(start, start + width);
    let line = source.text[..start].rfind('\n').map_or(0, |at| at + 1);
    let info = error.info();
    if source.text[line..].chars().take_while(|c| *c == ' ' || *c == '\t').any(|c| c == '\t') {
        let tab = line + source.text[line..].find('\t').unwrap_or(0);
        return Fault::error(source, Span::new(tab, tab + 1), codes::SYNTAX, "a tab stands in the indentation")
            .label("YAML indents with spaces only")
            .help("replace the tab by spaces");
    }
    let fault = Fault::error(source, span, codes::SYNTAX, "this is not YAML").label(info.clone());
    if info.contains("@") || info.contains('`') {
        return fault.help("put the value in quotes");
    }
    if info.contains("quoted scalar") {
        return fault.help("is a quote on a line above not closed?");
    }
    if info.contains("mapping values are not allowed") {
        return fault.help("a value that contains \": \" needs quotes; or the indentation is wrong");
    }
    fault
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::path;

    fn fails(text: &str) -> String {
        let faults = match parse(Source::new("t", text)) {
            Ok((_, faults)) | Err(faults) => faults,
        };
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn spans_of_keys_and_values() {
        let (tree, faults) = parse(Source::new("t", "a:\n  - x: \"é\"\n    y: [1, bb]\n")).unwrap();
        assert!(faults.is_empty());
        assert_eq!(tree.source.slice(tree.span(path!["a", 0, "x"])), "\"é\"");
        assert_eq!(tree.source.slice(tree.key_span(path!["a", 0, "y"])), "y");
        assert_eq!(tree.source.slice(tree.span(path!["a", 0, "y", 1])), "bb");
        assert_eq!(tree.source.slice(tree.span(path!["a", 0, "y"])), "[1, bb]");
        assert_eq!(tree.source.slice(tree.span(path!["a", 0, "y", 9])), "[1, bb]");
    }

    #[test]
    fn booleans_are_strict() {
        assert_eq!(plain_kind("no"), Kind::Text);
        assert_eq!(plain_kind("True"), Kind::Text);
        assert_eq!(plain_kind("true"), Kind::Boolean);
        assert_eq!(plain_kind("12"), Kind::Integer);
        assert_eq!(plain_kind("1.5e3"), Kind::Number);
        assert_eq!(plain_kind("3.1.1"), Kind::Text);
        assert_eq!(plain_kind("10s"), Kind::Text);
        assert_eq!(plain_kind("127.0.0.1"), Kind::Text);
    }

    #[test]
    fn what_is_refused() {
        assert!(fails("a: 1\nb: 2\na: 3\n").starts_with("t:3:1: error[C005]: duplicate key \"a\""));
        assert!(fails("a:\n\tb: 1\n").contains("t:2:1: error[C002]: a tab"), "{}", fails("a:\n\tb: 1\n"));
        assert!(fails("a: 1\n---\nb: 1\n").contains("second YAML document"));
        assert!(fails("a: &x {b: 1}\nc: { <<: *x }\n").contains("merge keys"));
        assert!(fails("a: !!str 1\n").contains("tags"));
        assert!(fails("a: \"x\n").contains("error[C002]: this is not YAML"));
        assert!(fails("[a]: 1\n").contains("key must be text"));
        assert!(fails(&"[".repeat(70)).contains("nested deeper than 64") || fails(&"[".repeat(70)).contains("C002"));
        assert!(fails(&format!("{}{}", "[".repeat(70), "]".repeat(70))).contains("nested deeper than 64"));
        assert!(fails(&" ".repeat(MAX_BYTES + 1)).contains("1 MiB"));
    }

    #[test]
    fn of_two_equal_keys_the_first_stays() {
        let (tree, faults) = parse(Source::new("t", "a: 1\nb: 2\na: 3\n")).unwrap();
        assert_eq!((faults.len(), tree.root.entries().len()), (1, 2));
        assert_eq!(tree.get(path!["a"]).unwrap().text(), Some("1"));
    }

    #[test]
    fn an_alias_bomb_is_refused_and_an_alias_works() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let refs = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
        }
        assert!(fails(&bomb).contains("aliases make this file too large"));
        let (tree, _) = parse(Source::new("t", "a: &x [1]\nb: *x\n")).unwrap();
        assert_eq!(tree.get(path!["b", 0]).unwrap().text(), Some("1"));
        assert_eq!(tree.source.slice(tree.span(path!["b"])), "*x");
    }

    #[test]
    fn json_is_yaml() {
        let (tree, _) = parse(Source::new("t", "{\"a\": {\"b\": [true, null, 1]}}")).unwrap();
        assert_eq!(tree.get(path!["a", "b", 0]).unwrap().noun(), "true or false");
        assert!(tree.get(path!["a", "b", 1]).unwrap().is_absent());
    }
}
