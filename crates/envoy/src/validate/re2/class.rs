//! Character classes: `[...]`, POSIX names, Unicode groups.

use super::{Parsed, Parser, escape};

const POSIX: &str = "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit";

/// Categories and scripts, spelled as RE2 wants them.
const UNICODE: &str = "Any C Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl \
    Zp Zs Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak \
    Bengali Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian \
    Caucasian_Albanian Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan \
    Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic \
    Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul Hanifi_Rohingya \
    Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi \
    Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script \
    Khmer Khojki Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar \
    Malayalam Mandaic Manichaean Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui \
    Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean Nag_Mundari \
    Nandinagari New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian \
    Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic \
    Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician \
    Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala \
    Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet \
    Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi \
    Wancho Warang_Citi Yezidi Yi Zanabazar_Square";

fn is_one_of(names: &str, name: &str) -> bool {
    names.split(' ').any(|known| known == name)
}

impl Parser<'_> {
    pub(super) fn class(&mut self) -> Parsed {
        let whole = self.rest;
        let missing = || format!("missing ]: {whole}");
        let mut rest = whole[1..].strip_prefix('^').unwrap_or(&whole[1..]);
        let mut first = true;
        loop {
            match rest.chars().next() {
                None => return Err(missing()),
                Some(']') if !first => break,
                Some(_) => {}
            }
            first = false;
            if posix_name(&mut rest)? || set_escape(&mut rest)? {
                continue;
            }
            range(&mut rest, &missing)?;
        }
        self.rest = &rest[1..];
        Ok(())
    }
}

/// `[:alpha:]`; without `:]` the bracket is a character like others.
fn posix_name(rest: &mut &str) -> Result<bool, String> {
    let Some(end) = rest.strip_prefix("[:").and_then(|inner| inner.find(":]")) else {
        return Ok(false);
    };
    let (text, tail) = rest.split_at(end + 4);
    let name = &text[2..end + 2];
    if !is_one_of(POSIX, name.strip_prefix('^').unwrap_or(name)) {
        return Err(format!("invalid character class range: {text}"));
    }
    *rest = tail;
    Ok(true)
}

/// `\d`, `\pL` and the like inside a class.
fn set_escape(rest: &mut &str) -> Result<bool, String> {
    match rest.strip_prefix('\\').and_then(|tail| tail.chars().next()) {
        Some('d' | 'D' | 's' | 'S' | 'w' | 'W') => {
            *rest = &rest[2..];
            Ok(true)
        }
        Some('p' | 'P') if rest.len() > 2 => unicode_group(rest).map(|()| true),
        _ => Ok(false),
    }
}

/// One character or a range of two.
fn range(rest: &mut &str, missing: &dyn Fn() -> String) -> Parsed {
    let start = *rest;
    let low = class_character(rest, missing)?;
    if !rest.starts_with('-') || rest.len() < 2 || rest.starts_with("-]") {
        return Ok(());
    }
    *rest = &rest[1..];
    let high = class_character(rest, missing)?;
    if high < low {
        return Err(format!("invalid character class range: {}", &start[..start.len() - rest.len()]));
    }
    Ok(())
}

fn class_character(rest: &mut &str, missing: &dyn Fn() -> String) -> Result<u32, String> {
    match rest.chars().next() {
        None => Err(missing()),
        Some('\\') => escape::character(rest),
        Some(c) => {
            *rest = &rest[c.len_utf8()..];
            Ok(c.into())
        }
    }
}

/// `\pN`, `\p{Greek}`, `\P{^Lu}` at the start of `rest`.
pub(super) fn unicode_group(rest: &mut &str) -> Parsed {
    let start = *rest;
    let (name, tail) = match start[2..].chars().next() {
        None => return Err(format!("invalid character class range: {start}")),
        Some('{') => match start[3..].split_once('}') {
            Some(parts) => parts,
            None => return Err(format!("invalid character class range: {start}")),
        },
        Some(c) => start[2..].split_at(c.len_utf8()),
    };
    *rest = tail;
    let text = &start[..start.len() - tail.len()];
    let name = name.strip_prefix('^').unwrap_or(name);
    if is_one_of(UNICODE, name) {
        return Ok(());
    }
    Err(format!("invalid character class range: {text}"))
}
