//! The engine over a small configuration of its own.
#![allow(clippy::unwrap_used)]

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = {"tls": "TLS comes with its own release"}))]
struct Root {
    #[serde(default)]
    things: Named<Thing>,
    when: Option<Predicate>,
    rate: Option<Rate>,
    sample: Option<f64>,
    on: Option<bool>,
    brokers: Option<OneOrMany<Address>>,
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "attribute"}))]
    set: Named<Template>,
    plain: Option<Named<Plain>>,
    secret: Option<Secret>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-later" = {"amqp": "amqp listeners come later"}))]
enum Thing {
    Web(Web),
    Null(Nothing),
    None,
}

#[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Web {
    listen: Address,
    #[serde(default)]
    max_body: ByteSize,
    port: Option<u16>,
    ack: Option<Ack>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Common {
    retry: Option<PeriodRange>,
    name: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Ack {
    Durable,
    Received,
}

fn run(text: &str) -> (Tree, Vec<Fault>) {
    let env = |name: &str| match name {
        "PORT" => Some("8080".to_owned()),
        "EMPTY" => Some(String::new()),
        "ACK" => Some("durable".to_owned()),
        _ => None,
    };
    let (tree, mut faults) = load(Source::new("c.yaml", text), &export::schema_of::<Root>(), &env);
    sort(&mut faults);
    (tree.unwrap(), faults)
}

fn faults(text: &str) -> Vec<String> {
    run(text).1.iter().map(|fault| fault.to_string().trim_start_matches("c.yaml:").to_owned()).collect()
}

#[test]
fn a_good_file_is_read_into_types() {
    let text = "things:\n  b: { web: { listen: \"127.0.0.1:${PORT}\", max_body: 1KiB, port: \"${PORT}\", ack: \"${ACK:-received}\", retry: 1s..2s } }\n  \
                a: none\n  n: { null: {} }\nwhen: true\nrate: 5/m\nsample: 1\non: true\nbrokers: [\"a:1\", \"b:2\"]\nset: { tenant: \"{x}\", subject: \"${EMPTY}\" }\n\
                plain: { linger.ms: 5, a: true, b: x }\nsecret: { env: X }\n";
    let (tree, found) = run(text);
    assert!(found.is_empty(), "{found:#?}");
    let root: Root = from_tree(&tree).unwrap();
    assert_eq!(root.things.names().collect::<Vec<_>>(), ["b", "a", "n"]);
    let Some(Thing::Web(web)) = root.things.get("b") else { panic!("{:?}", root.things) };
    assert_eq!((web.port, web.ack.as_ref(), web.max_body), (Some(8080), Some(&Ack::Durable), ByteSize::kib(1)));
    assert_eq!(web.common.retry.unwrap().to_string(), "1s..2s");
    assert_eq!(root.things.get("n"), Some(&Thing::Null(Nothing {})));
    assert!(root.when.unwrap().is_always());
    assert_eq!(root.brokers.unwrap().0.len(), 2);
    assert_eq!(root.set.len(), 1);
    assert_eq!(root.plain.unwrap().get("linger.ms").unwrap().0, "5");
    assert_eq!(root.secret, Some(Secret::Env("X".to_owned())));
    assert_eq!((root.rate.unwrap().count, root.sample, root.on), (5, Some(1.0), Some(true)));
}

#[test]
fn every_fault_is_found_in_one_run() {
    let text = "things:
  a: { web: { listen: \"127.0.0.1\", max_body: [1] } }
  b: { wbe: {} }
  c: { web: { max_body: 10, port: 99999, acj: durable } }
  d: { web: { listen: \"a:1\", ack: durabel, name: 5 }, null: {} }
  e: { amqp: { what: ever } }
  f: {}
  g:
when: type LIKE
rate: fast
on: yes
set: { Tenant: a, subject: \"é{\" }
tls: {}
secret: geheim
brokers: []
sample: \"1.5\"
";
    let expected = [
        "2:23: error[C304]: listen wants an address",
        "2:46: error[C102]: max_body wants a size, not a list",
        "3:8: error[C105]: unknown kind \"wbe\" in things.b",
        "4:8: error[C103]: the key listen is missing in things.c.web",
        "4:25: error[C107]: max_body wants a size",
        "4:35: error[C106]: port: 99999 is too large",
        "4:42: error[C101]: unknown field \"acj\" in things.c.web",
        "5:35: error[C104]: ack wants durable or received, not \"durabel\"",
        "5:50: error[C102]: name wants text, not a number",
        "5:55: error[C105]: web and null stand side by side in things.d",
        "6:8: error[C601]: amqp is not built yet in things.e",
        "7:3: error[C105]: f says nothing",
        "8:3: error[C103]: g says nothing",
        "9:16: error[C401]: the expression does not parse",
        "10:7: error[C107]: rate wants a rate",
        "11:5: error[C102]: on wants true or false, not \"yes\"",
        "12:8: error[C203]: Tenant is not an attribute's name",
        "12:30: error[C302]: the template in subject does not parse",
        "13:1: error[C601]: tls is not built yet at the top level",
        "14:9: error[C102]: secret wants a map with one of: file, env, not text",
        "15:10: error[C106]: brokers is empty",
        "16:9: error[C102]: sample wants a number, not \"1.5\"",
    ];
    let found = faults(text);
    assert_eq!(found, expected, "{found:#?}");
}

#[test]
fn optional_faults_leave_the_rest_readable() {
    let (tree, found) =
        run("things: { a: { web: { listen: \"a:1\", max_body: [1] } }, b: { web: { listen: [1] } } }\n");
    assert_eq!(found.len(), 2);
    let mut more = Vec::new();
    let a = tree.read::<Thing>(tree.get(path!["things", "a"]).unwrap(), &mut more);
    let b = tree.read::<Thing>(tree.get(path!["things", "b"]).unwrap(), &mut more);
    assert!(matches!(a, Some(Thing::Web(_))));
    assert!(b.is_none() && more.is_empty());
}

#[test]
fn pictures_show_the_line_and_the_change() {
    let (tree, found) = run("things:\n  é: { web: { listen: \"a:1\", ack: \"durabel\" } }\nwhen: type LIKE\n");
    let text = render(&found, &[tree.source], false);
    assert!(text.contains("c.yaml:2:35"), "{text}");
    assert!(text.contains("c.yaml:3:16"), "{text}");
    assert!(text.contains("ack: \"durable\""), "{text}");
    assert!(text.ends_with("c.yaml: 2 errors\n"), "{text}");
}

#[test]
fn the_schema_for_editors_lets_references_stand() {
    let schema = export::for_editors(&export::schema_of::<Root>()).to_string();
    assert!(!schema.contains("x-later"));
    assert!(schema.contains(r#""port":{"anyOf":[{"type":["integer","null"]"#), "{schema}");
    assert!(
        schema.contains(
            r#"{"anyOf":[{"type":"string","enum":["durable","received"]},{"type":"string","pattern":"\\$\\{"}]}"#
        ),
        "{schema}"
    );
}

#[test]
fn an_alias_is_marked_where_it_is_used() {
    let found = faults("plain: { a: &x \"type é LIKE\" }\nwhen: *x\nrate: *x\n");
    assert_eq!(found, ["2:7: error[C401]: the expression does not parse", "3:7: error[C107]: rate wants a rate"]);
}

/// Pieces that make configurations which are nearly right.
const PIECES: [&str; 40] = [
    "things:",
    "when:",
    "rate:",
    "set:",
    "plain:",
    "brokers:",
    " a:",
    " web:",
    " listen:",
    " é:",
    "\n",
    "\n  ",
    "\n    ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "- ",
    "\"",
    "'",
    "${PORT}",
    "${",
    "}",
    "*x",
    "&x ",
    "type = 'é'",
    "=> 1",
    "1KiB",
    "5/m",
    "{x}",
    "{{",
    "|\n",
    ">-\n",
    "\t",
    "#",
    "\u{feff}",
    "true",
    "~",
    "\\u00e9",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(3_000))]

    #[test]
    fn nothing_panics_and_every_place_is_in_the_text(picks in proptest::collection::vec(0..PIECES.len(), 0..40)) {
        let text: String = picks.iter().map(|pick| PIECES[*pick]).collect();
        let source = Source::new("c.yaml", text.clone());
        let env = |name: &str| (name == "PORT").then(|| "é80".to_owned());
        let (_, faults) = load(source.clone(), &export::schema_of::<Root>(), &env);
        for fault in &faults {
            assert!(fault.span.end <= text.len() && text.is_char_boundary(fault.span.start), "{fault:?}");
            assert!(fault.line >= 1 && fault.column >= 1);
        }
        let _ = render(&faults, &[source], false);
    }
}
