use super::re2;

/// Expressions that RE2 accepts and other dialects read differently.
#[test]
fn accepts_what_re2_accepts() {
    for pattern in [
        "",
        "/v1/{id}",
        "a{,5}",
        "a{05}",
        "x{2}{y",
        r"\Q((\E",
        r"\pN\p{Greek}\P{^Lu}",
        r"[[:alpha:]\d\-a-z]",
        "[]a]",
        "[^]a]",
        "[a-]",
        "[a&&b]",
        "[[a]",
        r"\x41\x{FF}\012\07\_",
        "(?P<a>x)(?<b>y)",
        "(?i-s:x)",
        "a(?i)*",
        "^*",
        "(a|)*",
        "((a{10}){10}){10}",
        r"\.\-\/\%",
    ] {
        assert_eq!(re2(pattern), Ok(()), "{pattern}");
    }
}

#[test]
fn refuses_in_the_words_of_re2() {
    for (pattern, words) in [
        ("((", "missing ): (("),
        ("a)", "unexpected ): a)"),
        ("[a", "missing ]: [a"),
        ("*", "no argument for repetition operator: *"),
        ("a|*?", "no argument for repetition operator: *?"),
        ("a**", "bad repetition operator: **"),
        ("a{2}{3}", "bad repetition operator: {2}{3}"),
        ("a{1001}", "invalid repetition size: {1001}"),
        ("a{3,2}", "invalid repetition size: {3,2}"),
        ("((a{100}){100})", "invalid repetition size: {100}"),
        (r"a\", "trailing \\"),
        (r"\1", r"invalid escape sequence: \1"),
        (r"\u0041", r"invalid escape sequence: \u"),
        (r"\x{100}", r"invalid escape sequence: \x{100"),
        (r"[\q]", r"invalid escape sequence: \q"),
        ("[z-a]", "invalid character class range: z-a"),
        ("[[:foo:]]", "invalid character class range: [:foo:]"),
        (r"\p{greek}", r"invalid character class range: \p{greek}"),
        ("(?=a)", "invalid perl operator: (?="),
        ("(?<!a)", "invalid perl operator: (?<!"),
        ("(?x)a", "invalid perl operator: (?x"),
        ("(?P<a b>x)", "invalid named capture group: (?P<a b>"),
    ] {
        assert_eq!(re2(pattern), Err(words.to_owned()), "{pattern}");
    }
}
