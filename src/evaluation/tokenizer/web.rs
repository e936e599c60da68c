//! Shapes of what is not language: tags, addresses, handles, faces, single symbols.
//!
//! They stand apart because captions rarely hold them; they are here so that nothing else must care.

use super::characters::{Class, class};
use super::shape::{Form, Found};
use super::text::Text;

/// An SGML tag or comment: `<b>`, `</b>`, `<a href="x">`, `<unk>`.
pub(super) fn tag(t: Text, at: usize) -> Option<Found> {
    let open = t.word_at(at, "<")?;
    tag_body(t, open)
        .or_else(|| declaration(t, open))
        .map(Found::text)
}

fn tag_name(t: Text, at: usize) -> Option<usize> {
    let end = t.ascii_run(at, 1, 1, |b| b.is_ascii_alphabetic())?;
    t.ascii_run(end, 0, usize::MAX, |b| {
        b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.' | b'-')
    })
}

fn blanks(t: Text, at: usize) -> Option<usize> {
    t.ascii_run(at, 1, usize::MAX, |b| b == b' ')
}

fn tag_body(t: Text, open: usize) -> Option<usize> {
    if let Some(name) = t.word_at(open, "/") {
        let end = tag_name(t, name)?;
        return t.word_at(blanks(t, end).unwrap_or(end), ">");
    }
    let mut end = tag_name(t, open)?;
    while let Some(name) = blanks(t, end).and_then(|i| tag_name(t, i)) {
        end = name;
        let equals = blanks(t, end).unwrap_or(end);
        if let Some(value) = t.word_at(equals, "=") {
            let value = blanks(t, value).unwrap_or(value);
            let quote = t.byte(value);
            if !matches!(quote, b'"' | b'\'') {
                return None;
            }
            let length = t.0.as_bytes()[value + 1..]
                .iter()
                .position(|b| *b == quote)?;
            end = value + length + 2;
        }
    }
    end = blanks(t, end).unwrap_or(end);
    end = t.word_at(end, "/").unwrap_or(end);
    t.word_at(blanks(t, end).unwrap_or(end), ">")
}

/// `<!...>` and `<?...>`.
fn declaration(t: Text, open: usize) -> Option<usize> {
    let body = t.any_of(open, &["!", "?"])?;
    if t.byte(body) != b'-' && !t.byte(body).is_ascii_alphabetic() {
        return None;
    }
    let length = t.0.as_bytes()[body..].iter().position(|b| *b == b'>')?;
    (length > 0).then_some(body + length + 1)
}

/// An address with its scheme: `http://x.y`.
pub(super) fn url(t: Text, at: usize) -> Option<Found> {
    let start = t.word_at(at, "http")?;
    let start = t.word_at(start, "s").unwrap_or(start);
    let host = t.word_at(start, "://")?;
    address_end(host, address_run(t, host)).map(Found::text)
}

/// An address without one: `www.x.com`, `x.org/y`.
pub(super) fn bare_url(t: Text, at: usize) -> Option<Found> {
    let after_www = || {
        let label = |b: u8| in_address(b) && !b".!?,`'".contains(&b);
        let domain = |i| t.ascii_run(i, 2, 4, |b| b.is_ascii_alphabetic());
        host_end(t, t.word_at(at, "www.")?, label, domain)
    };
    let known_domain = || {
        let label = |b: u8| in_address(b) && !matches!(b, b','..=b'_') && !b"!`'$".contains(&b);
        let domain = |i| {
            ["com", "net", "org", "edu"]
                .iter()
                .find_map(|d| t.word_at(i, d))
        };
        host_end(t, at, label, domain)
    };
    [after_www(), known_domain()]
        .into_iter()
        .flatten()
        .map(|host| {
            t.word_at(host, "/")
                .and_then(|i| path_end(t, i))
                .unwrap_or(host)
        })
        .max()
        .map(Found::text)
}

/// Labels with a period behind each, then a domain; the last domain that fits.
fn host_end(
    t: Text,
    at: usize,
    label: impl Fn(u8) -> bool,
    domain: impl Fn(usize) -> Option<usize>,
) -> Option<usize> {
    let (mut end, mut best) = (at, None);
    loop {
        let rest = &t.0.as_bytes()[end..];
        let length = rest.iter().take_while(|b| label(**b)).count();
        if length == 0 || rest.get(length) != Some(&b'.') {
            return best;
        }
        end += length + 1;
        best = domain(end).or(best);
    }
}

fn path_end(t: Text, at: usize) -> Option<usize> {
    let rest = &t.0[at..];
    let length = rest.find(|c: char| c.is_ascii_whitespace() || "\"<>|()".contains(c));
    address_end(at, &rest[..length.unwrap_or(rest.len())])
}

/// The end of an address whose rest begins at `at`: two characters or more, the last no punctuation.
fn address_end(at: usize, rest: &str) -> Option<usize> {
    let last = rest.trim_end_matches(['.', '!', '?', ',', '-', '{', '}']);
    (last.chars().count() >= 2).then_some(at + last.len())
}

fn in_address(b: u8) -> bool {
    b > b' ' && !b"\"<>|(){}".contains(&b)
}

/// What could be part of an address from `at` on: no blanks, quotation marks or brackets.
fn address_run(t: Text<'_>, at: usize) -> &str {
    let rest = &t.0[at..];
    let ends = |c: char| c == '\u{a0}' || c.is_ascii() && !in_address(c as u8);
    &rest[..rest.find(ends).unwrap_or(rest.len())]
}

/// `me@x.com`, and anything with `@` inside.
pub(super) fn email(t: Text, at: usize) -> Option<Found> {
    let start = t.any_of(at, &["&lt;", "<"]).unwrap_or(at);
    if !t.byte(start).is_ascii_alphanumeric() {
        return None;
    }
    let bytes = address_run(t, start).as_bytes();
    let label_end = |i: usize| {
        let length = bytes[i..].iter().take_while(|b| **b != b'.').count();
        (length > 0).then_some(i + length)
    };
    // Labels joined by single periods, behind the sign that lets them reach farthest.
    let signs = (0..bytes.len()).filter(|i| bytes[*i] == b'@');
    let ends = signs.filter_map(|sign| {
        let mut end = label_end(sign + 1)?;
        while end < bytes.len()
            && let Some(next) = label_end(end + 1)
        {
            end = next;
        }
        Some(end)
    });
    let end = start + ends.max()?;
    Some(Found::text(t.any_of(end, &["&gt;", ">"]).unwrap_or(end)))
}

/// `@user`, `#tag`
pub(super) fn handle(t: Text, at: usize) -> Option<Found> {
    match t.byte(at) {
        b'@' => {
            let end = t.ascii_run(at + 1, 1, 1, |b| b.is_ascii_alphabetic() || b == b'_')?;
            t.ascii_run(end, 0, usize::MAX, |b| {
                b.is_ascii_alphanumeric() || b == b'_'
            })
        }
        b'#' => t.run(at + 1, Text::letter),
        _ => None,
    }
    .map(Found::text)
}

/// `foo.jpg`, also where the name begins with a digit.
pub(super) fn file_name(t: Text, at: usize) -> Option<Found> {
    const EXTENSIONS: [&str; 35] = [
        "bat", "bmp", "c", "cgi", "class", "cpp", "dll", "doc", "docx", "exe", "gif", "gz", "h",
        "htm", "html", "jar", "java", "jpeg", "jpg", "mov", "mp3", "pdf", "php", "pl", "png",
        "ppt", "ps", "py", "sql", "tar", "txt", "wav", "x", "xml", "zip",
    ];
    let mut end = t.run(at, Text::letter_or_digit)?;
    let mut best = None;
    while t.byte(end) == b'.' {
        let Some(extension) = t.run(end + 1, Text::letter_or_digit) else {
            break;
        };
        let name = &t.0[end + 1..extension];
        if EXTENSIONS.iter().any(|e| e.eq_ignore_ascii_case(name)) {
            best = Some(extension);
        }
        end = extension;
    }
    let end = best?;
    let next = t.character(end).unwrap_or(' ');
    let ends = next.is_whitespace() || matches!(next, '.' | '?' | '!' | ',');
    ends.then(|| Found::text(end).reaching(t.after(end)))
}

/// A dollar sign with the capitals before it: `$`, `US$`.
pub(super) fn currency(t: Text, at: usize) -> Option<Found> {
    let end = t.ascii_run(at, 0, usize::MAX, |b| b.is_ascii_uppercase())?;
    t.word_at(end, "$").map(Found::text)
}

/// `:-)`, `;P`, `=D`
pub(super) fn smiley(t: Text, at: usize) -> Option<Found> {
    let eyes = t.any_of(at, &["<", ">"]).unwrap_or(at);
    let nose = t.any_of(eyes, &[":", ";", "="])?;
    let mouth = |i| t.ascii_run(i, 1, 1, |b| b"()DPdpO\\{@|[]".contains(&b));
    let nosed = || mouth(t.ascii_run(nose, 1, 1, |b| b"'-o*".contains(&b))?);
    let end = nosed()
        .into_iter()
        .chain(mouth(nose))
        .find(|end| !t.byte(*end).is_ascii_alphanumeric())?;
    Some(Found::new(end, Form::Bracketed).reaching(t.after(end)))
}

/// `^_^`, `(^.^)`
pub(super) fn face(t: Text, at: usize) -> Option<Found> {
    let one_of = |i, set: &[u8]| t.ascii_run(i, 1, 1, |b| set.contains(&b.to_ascii_lowercase()));
    let eye = |i| one_of(i, b"^x=~<>'-");
    let plain = || eye(t.word_at(eye(at)?, "_")?);
    let round = || t.word_at(at, "o_o");
    let held = || {
        let first = t.word_at(at, "(")?;
        let mouth = eye(first)?;
        let close = |i| t.word_at(eye(i)?, ")");
        let dashed = || {
            let nose = t.word_at(one_of(first, b"^x=~<>'")?, "-")?;
            t.word_at(one_of(nose, b"^x=~<>'`")?, ")")
        };
        close(mouth)
            .or_else(|| close(t.any_of(mouth, &["_", "."])?))
            .or_else(dashed)
    };
    held()
        .or_else(plain)
        .or_else(round)
        .map(|end| Found::new(end, Form::Bracketed))
}

/// A character written as an entity.
pub(super) fn entity(t: Text, at: usize) -> Option<Found> {
    if t.byte(at) != b'&' {
        return None;
    }
    const WRITTEN: [(&str, Form); 18] = [
        ("&lt;", Form::As("<")),
        ("&gt;", Form::As(">")),
        ("&amp;", Form::As("&")),
        ("&quot;", Form::Nothing),
        ("&apos;", Form::Nothing),
        ("&nbsp;", Form::Nothing),
        ("&mdash;", Form::Nothing),
        ("&ndash;", Form::Nothing),
        ("&md;", Form::Nothing),
        ("&cdq;", Form::Text),
        ("&ht;", Form::Text),
        ("&lr;", Form::Text),
        ("&odq;", Form::Text),
        ("&qc;", Form::Text),
        ("&ql;", Form::Text),
        ("&qr;", Form::Text),
        ("&tl;", Form::Text),
        ("&ur;", Form::Text),
    ];
    let named = WRITTEN
        .iter()
        .find_map(|(name, form)| Some(Found::new(t.word_at(at, name)?, *form)));
    named.or_else(|| {
        let digits = t.ascii_run(t.word_at(at, "&#")?, 1, usize::MAX, |b| b.is_ascii_digit())?;
        t.word_at(digits, ";").map(Found::text)
    })
}

/// Whatever is left: one symbol, or a run of one that is counted as one token.
pub(super) fn symbol(t: Text, at: usize) -> Found {
    let end = t.after(at);
    let run = |wanted: fn(u8) -> bool| t.ascii_run(at, 1, usize::MAX, wanted).unwrap_or(end);
    let dropped = |end| Found::new(end, Form::Nothing);
    let written = |text| Found::new(end, Form::As(text));
    let c = t.character(at).unwrap_or(' ');
    match c {
        '!' | '?' => match run(|b| matches!(b, b'!' | b'?')) {
            one if one == end => dropped(one),
            several => Found::text(several),
        },
        '-' => match run(|b| b == b'-') {
            dash if dash - at < 5 => dropped(dash),
            rule => Found::text(rule),
        },
        '.' => dropped(ellipsis(t, at).unwrap_or(end)),
        '\'' => dropped(t.word_at(at, "''").unwrap_or(end)),
        '"' | '`' | ',' | ';' | ':' => dropped(end),
        '*' => Found::text(run(|b| b == b'*')),
        '#' => Found::text(run(|b| b == b'#')),
        '@' => Found::text(run(|b| b == b'@')),
        '_' => Found::text(run(|b| b == b'_')),
        '<' => Found::text(t.word_at(at, "<<").unwrap_or(end)),
        '>' => Found::text(t.word_at(at, ">>").unwrap_or(end)),
        '\\' => Found::text(t.run(at, |t, i| t.word_at(i, "\\*")).unwrap_or(end)),
        '(' => written("-lrb-"),
        ')' => written("-rrb-"),
        '[' => written("-lsb-"),
        ']' => written("-rsb-"),
        '{' => written("-lcb-"),
        '}' => written("-rcb-"),
        '\u{a2}' => written("cents"),
        '\u{a3}' => written("#"),
        '\u{80}' | '\u{a4}' | '\u{20a0}' | '\u{20ac}' => written("$"),
        _ if class(c) == Class::Symbol => Found::text(end),
        _ => dropped(end),
    }
}

/// Three to five dots, or three with a blank between.
fn ellipsis(t: Text, at: usize) -> Option<usize> {
    t.ascii_run(at, 3, 5, |b| b == b'.')
        .or_else(|| t.word_at(at, ". . ."))
}
