//! Our words for what Envoy refuses are Envoy's words.

use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher;
use gatehouse_envoy::{encode, validate::re2};
use gatehouse_model::Hostname;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use prost::Message;

use crate::ads::VHDS;
use crate::random;
use crate::world::{Setup, World, table};

/// A virtual host with one regular expression, not checked by us.
fn host(regex: &str) -> bytes::Bytes {
    let action = pb::DirectResponseAction { status: 200, ..pb::DirectResponseAction::default() };
    let matcher = RegexMatcher { regex: regex.to_owned(), ..RegexMatcher::default() };
    let route = pb::Route {
        r#match: Some(pb::RouteMatch {
            path_specifier: Some(PathSpecifier::SafeRegex(matcher)),
            ..pb::RouteMatch::default()
        }),
        action: Some(pb::route::Action::DirectResponse(action)),
        ..pb::Route::default()
    };
    let host = pb::VirtualHost {
        name: format!("{}/regex.test", table().0),
        domains: vec!["regex.test".to_owned()],
        routes: vec![route],
        ..pb::VirtualHost::default()
    };
    host.encode_to_vec().into()
}

const PATTERNS: &[&str] = &[
    // Accepted.
    "/v1/{id}",
    "a{,5}",
    "a{05}",
    "x{2}{y",
    r"\Q((\E",
    r"\Q((",
    r"\Q\E*a",
    r"\pN\p{Greek}\P{^Lu}",
    r"[[:alpha:]\d\-a-z]",
    "[]a]",
    "[^]a]",
    "[a-]",
    "[a&&b]",
    "[[a]",
    r"\x41\x{10FFFF}\012\07",
    "(?P<a>x)(?<b>y)",
    "(?i-s:x)",
    "a(?i)*",
    "^*",
    "(a|)*",
    "((a{10}){10}){10}",
    r"\.\-\/\%",
    "(?P<é>a)",
    r"\C",
    r"\z",
    r"[[:^word:]]",
    r"[\w-z]",
    r"a{2}b{3}",
    "(?U)a+",
    r"\p{Old_Italic}",
    r"\p{Nko}",
    r"\p{Phags_Pa}",
    "a{0}",
    "(a{0}){1000}",
    "[[:alpha]",
    "(?s).",
    "()",
    "(|)",
    "a{1000}",
    r"\p{Any}",
    r"[\p{Lu}]",
    "é+",
    r"[é-ü]",
    r"\x{0}",
    r"(?i)(?-i)a",
    "a{2,}",
    "a{2,}?",
    "a??",
    "{2}",
    "{",
    "}",
    "]",
    // Refused.
    "((",
    "a)",
    "[a",
    "[",
    "*",
    "a|*?",
    "(*)",
    "a**",
    "a*+",
    "a{2}{3}",
    "a{2}*",
    "a{1001}",
    "a{1001,}",
    "a{3,2}",
    "((a{100}){100})",
    "((a{10}){10}){11}",
    r"a\",
    r"\1",
    r"\8",
    r"\u0041",
    r"\_",
    r"[\q]",
    r"\e",
    r"\é",
    "[z-a]",
    r"[a-\d]",
    "[[:foo:]]",
    r"\p{greek}",
    r"\p{GREEK}",
    r"\p{Script=Greek}",
    r"\p{",
    r"\p",
    r"\pX",
    "(?=a)",
    "(?!a)",
    "(?<=a)",
    "(?<!a)",
    "(?x)a",
    "(?i",
    "(?",
    "(?i-)",
    "(?-)",
    "(?--i)",
    "(?P<a>x)(?P<a>y)",
    "(?P<a b>x)",
    "(?P<a",
    "(?P<>a)",
    "(?P=a)",
    "(?<a",
    "(?'a'b)",
    "(?>a)",
    "(?#c)",
    r"\x{110000}",
    r"\xZZ",
    r"\x{",
    r"\x{}",
    r"\x4",
    r"\x",
    "a{99999999999}",
    "x{1000}{1000}",
    "[a-z",
    "[^",
    "[]",
    r"[\",
    r"\K",
    r"\R",
    r"\G",
    r"\Z",
    r"\h",
    r"\N",
    "++",
    "a|b|",
    "|*",
    "^**",
    "(?i)*",
    "(?P<n>a",
    "(?=",
    "(?!",
    "(?<=",
    "(?<!",
    "(?<",
    "(?P<",
    "(?P",
    "(?i:",
    "(?i)(",
    "[[:a",
    r"[\d-z]",
    r"[\x{110000}]",
    r"\p{^}",
    r"\p{}",
];

#[tokio::test]
async fn regular_expressions_are_refused_in_the_words_of_envoy() {
    let world = World::start(Setup::default()).await;
    let name = format!("{}/regex.test", table().0);
    let mut wrong = Vec::new();
    for pattern in PATTERNS {
        let envoy = world.ads.push(VHDS, &name, host(pattern)).await;
        let ours = re2(pattern);
        if ours != envoy {
            wrong.push(format!("{pattern}\n  Envoy {envoy:?}\n  ours  {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_we_let_through_envoy_takes() {
    let world = World::start(Setup::default()).await;
    let host = Hostname::parse("random.test");
    let name = encode::virtual_host_name(&table(), &host);
    let mut runner = TestRunner::deterministic();
    let (mut pushed, mut refused) = (0, 0);
    while pushed < 400 {
        let route = random::route().new_tree(&mut runner).unwrap().current();
        let Ok(fragments) = encode::route(&route) else {
            refused += 1;
            assert!(refused < 20_000, "the random routes are too wild to say anything");
            continue;
        };
        let bytes = encode::virtual_host(&table(), &host, [&*fragments.bytes].into_iter());
        assert_eq!(world.ads.push(VHDS, &name, bytes).await, Ok(()), "{route:#?}");
        pushed += 1;
    }
}
