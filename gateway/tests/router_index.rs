//! The router's index against the linear search: for any routes and any event they name the same routes.
//!
//! Predicates are made at random from equality, IN, LIKE, EXISTS, comparisons of numbers, NOT, AND, OR and XOR over few names
//! and few values, so that they meet events often. Event attributes are missing, strings, integers and booleans at random,
//! because the index may only be asked where CESQL compares strings.
#![allow(clippy::unwrap_used, missing_docs)]
use bytes::Bytes;
use cesql::Expression;
use gateway::{
    lanes::Lanes,
    router::{Route, RoutePlan, Unrouted},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use schemas::{AckLevel, Attributes, Door, Envelope, EventView, Kind};
use std::sync::{Arc, atomic::AtomicU64};

/// Attributes of the core, extensions, one of the door, and one that no event has.
const NAMES: [&str; 8] = ["type", "source", "subject", "a", "b", "anygatelistener", "datacontenttype", "never"];
/// Values that collide: prefixes of each other, numbers and booleans as text, characters of several bytes.
const VALUES: [&str; 12] = ["x", "xy", "xyz", "x.y", "1", "01", "17", "true", "ü", "üx", "web", "X"];
const PATTERNS: [&str; 13] = ["x%", "xy%", "xyz", "%", "%y", "x%z", "x_", "_", "ü%", "1%", "t%e", "x.%", "w%b"];

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(VALUES.as_slice()).prop_map(|value| format!("'{value}'")),
        1 => select([0, 1, 17, -3].as_slice()).prop_map(|number| number.to_string()),
        1 => select(["TRUE", "FALSE"].as_slice()).prop_map(str::to_owned),
    ]
}

fn leaf() -> impl Strategy<Value = String> {
    let name = || select(NAMES.as_slice());
    prop_oneof![
        5 => (name(), select(["=", "=", "=", "!=", "<>", "<", ">="].as_slice()), literal()).prop_map(|(name, op, value)| format!("{name} {op} {value}")),
        2 => (literal(), name()).prop_map(|(value, name)| format!("{value} = {name}")),
        4 => (name(), any::<bool>(), vec(literal(), 1..4))
            .prop_map(|(name, not, set)| format!("{name} {}IN ({})", if not { "NOT " } else { "" }, set.join(", "))),
        4 => (name(), any::<bool>(), select(PATTERNS.as_slice()))
            .prop_map(|(name, not, pattern)| format!("{name} {}LIKE '{pattern}'", if not { "NOT " } else { "" })),
        2 => name().prop_map(|name| format!("EXISTS {name}")),
        1 => select(["TRUE", "FALSE"].as_slice()).prop_map(str::to_owned),
        1 => (name(), name()).prop_map(|(left, right)| format!("{left} = {right}")),
        1 => name().prop_map(|name| format!("UPPER({name}) = 'X'")),
    ]
}

fn predicate() -> impl Strategy<Value = String> {
    let deep = leaf().prop_recursive(3, 12, 3, |inner| {
        let ops = || select(["AND", "AND", "OR", "XOR"].as_slice());
        prop_oneof![
            // With and without parentheses: the three operators are one level, from left to right.
            3 => (inner.clone(), ops(), inner.clone()).prop_map(|(left, op, right)| format!("({left}) {op} ({right})")),
            2 => (inner.clone(), ops(), inner.clone(), ops(), inner.clone()).prop_map(|(a, x, b, y, c)| format!("{a} {x} {b} {y} {c}")),
            1 => inner.prop_map(|inner| format!("NOT ({inner})")),
        ]
    });
    // Many leaves alone, because those are what an index is for.
    prop_oneof![1 => leaf(), 2 => deep]
}

fn value() -> impl Strategy<Value = (&'static str, Kind)> {
    prop_oneof![
        5 => select(VALUES.as_slice()).prop_map(|value| (value, Kind::String)),
        2 => select(["0", "1", "17", "-3"].as_slice()).prop_map(|value| (value, Kind::Integer)),
        1 => select(["true", "false"].as_slice()).prop_map(|value| (value, Kind::Boolean)),
    ]
}

prop_compose! {
    fn event()(
        kind in select(VALUES.as_slice()),
        source in select(VALUES.as_slice()),
        subject in option::of(select(VALUES.as_slice())),
        a in option::of(value()),
        b in option::of(value()),
    ) -> Envelope {
        let mut attributes = Attributes::default();
        for (name, value) in [("id", "1"), ("source", source), ("type", kind)] {
            attributes.set(name, value, Kind::String).unwrap();
        }
        if let Some(subject) = subject {
            attributes.set("subject", subject, Kind::String).unwrap();
        }
        for (name, value) in [("a", a), ("b", b)] {
            if let Some((text, kind)) = value {
                attributes.set(name, text, kind).unwrap();
            }
        }
        attributes.freeze(Bytes::new()).unwrap()
    }
}

fn plan(predicates: Vec<(Option<String>, bool)>) -> RoutePlan {
    let route = |(source, go_on): (Option<String>, bool)| Route {
        name: "route".into(),
        when: source.map(|source| Expression::compile(&source).unwrap_or_else(|error| panic!("{source}: {error:?}"))),
        pipeline: None,
        lanes: 2,
        level: AckLevel::Durable,
        go_on,
        matched: gateway::telemetry::metrics::Count::default(),
        errors: AtomicU64::new(0),
    };
    RoutePlan::new(predicates.into_iter().map(route).collect(), Unrouted::Drop, Arc::new(Lanes::default()))
}

fn door() -> Door {
    Door { listener: "web".into(), ..Door::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn the_index_agrees_with_the_linear_search(
        predicates in vec((option::weighted(0.97, predicate()), prop::bool::weighted(0.8)), 1..24),
        events in vec(event(), 1..12),
    ) {
        let sources = predicates.clone();
        let plan = plan(predicates);
        let door = door();
        for envelope in &events {
            let event = EventView { envelope, door: &door };
            let (indexed, linear) = (plan.matching(&event), plan.matching_linear(&event));
            prop_assert_eq!(&indexed[..], &linear[..], "routes {:#?}\nevent {:?}", &sources, envelope);
        }
    }
}

/// The property above says nothing if nothing ever matches, or nothing is ever indexed: it is checked on a fixed sample.
#[test]
fn the_generators_meet() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut matched, mut indexed, mut tried) = (0, 0, 0);
    for _ in 0..500 {
        let source = predicate().new_tree(&mut runner).unwrap().current();
        let envelope = event().new_tree(&mut runner).unwrap().current();
        let expression = Expression::compile(&source).unwrap();
        indexed += usize::from(!expression.necessary().is_empty());
        let plan = plan(vec![(Some(source), false)]);
        matched += plan.matching_linear(&EventView { envelope: &envelope, door: &door() }).len();
        tried += 1;
    }
    assert!(matched * 20 > tried, "{matched} of {tried} met");
    assert!(indexed * 5 > tried, "{indexed} of {tried} can be indexed");
}
