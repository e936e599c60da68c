//! Turns a caption into the tokens that the published caption metrics count.
//!
//! BLEU, ROUGE and CIDEr of the captioning literature are counted on the output of one program: the
//! PTBTokenizer of Stanford CoreNLP 3.4.1 as the COCO evaluation runs it (`-preserveLines -lowerCase`, then
//! without a list of punctuation). Any other splitting gives other numbers. This is an implementation of its
//! own, made to give the same tokens; the oddities are the reference's: parentheses stay (`-lrb-`), `£` turns
//! into `#`, `1 1/2` is one token with a no-break space inside.
//!
//! At every offset each shape in [`shape`] is tried and the one that reaches farthest wins, as in a generated
//! lexer. No shape backtracks further than its own beginning.
//!
//! One thing differs on purpose. The reference reads all captions as one text, so whether a final `b.` keeps
//! its period depends on the caption that happens to come next. Here a caption ends its sentence.

mod abbreviations;
mod characters;
mod numbers;
mod quotes;
mod ranges;
mod shape;
mod text;
mod web;
mod words;

use shape::{Form, token_at};
use text::Text;

/// The tokens of a caption, lower-case, without punctuation, with one space between them.
///
/// Tokens of fractions and telephone numbers may hold a no-break space: the published BLEU and CIDEr count
/// such a token as two words, ROUGE-L as one.
pub fn tokenize(caption: &str) -> String {
    let mut tokens = String::with_capacity(caption.len() + 8);
    let text = Text(caption);
    let mut at = 0;
    while let Some(c) = text.character(at) {
        if c.is_whitespace() {
            at += c.len_utf8();
        } else if let Some(end) = plain_word(caption.as_bytes(), at) {
            separate(&mut tokens);
            let start = tokens.len();
            tokens.push_str(&caption[at..end]);
            tokens[start..].make_ascii_lowercase();
            at = end;
        } else {
            let found = token_at(text, at);
            write(&mut tokens, &caption[at..found.end], found.form);
            at = found.end;
        }
    }
    tokens
}

/// The words of a caption: its tokens as BLEU and CIDEr count them.
pub fn words(caption: &str) -> Vec<String> {
    tokenize(caption)
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// The end of a run of ASCII letters between blanks: most of any caption, and one token whatever stands
/// around it, unless it is one of the words that are counted as two.
fn plain_word(bytes: &[u8], at: usize) -> Option<usize> {
    let letters = bytes[at..].iter().take_while(|b| b.is_ascii_alphabetic());
    let length = letters.count();
    let end = at + length;
    let alone = length > 0 && bytes.get(end).is_none_or(|b| *b == b' ');
    let may_split = matches!(length, 5 | 6) && b"cglw".contains(&bytes[at].to_ascii_lowercase());
    (alone && !may_split).then_some(end)
}

fn separate(tokens: &mut String) {
    if !tokens.is_empty() {
        tokens.push(' ');
    }
}

/// Appends a token the way its form asks for.
fn write(tokens: &mut String, text: &str, form: Form) {
    let written = match form {
        Form::Nothing => return,
        Form::As(fixed) => fixed.to_owned(),
        Form::Text => text.to_lowercase(),
        Form::Quotes => text.chars().filter_map(quotes::plain).collect(),
        Form::Contraction => text
            .to_lowercase()
            .replace("&apos;", "'")
            .replace(['\u{92}', '\u{2019}'], "'")
            .replace(['\u{91}', '\u{2018}', '\u{201b}'], "`"),
        Form::Entities => text.to_lowercase().replace("&amp;", "&"),
        Form::Bracketed => text
            .to_lowercase()
            .replace('(', "-lrb-")
            .replace(')', "-rrb-"),
    };
    let mut inked = written
        .chars()
        .filter(|c| *c != text::SOFT_HYPHEN)
        .peekable();
    if inked.peek().is_some() {
        separate(tokens);
        // Blanks inside a token are kept apart from those between tokens.
        tokens.extend(inked.map(|c| if c.is_whitespace() { '\u{a0}' } else { c }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(caption: &str, expected: &str) {
        assert_eq!(
            tokenize(caption).replace('\u{a0}', "_"),
            expected,
            "{caption:?}"
        );
    }

    #[test]
    fn plain_captions() {
        check("", "");
        check(" .  , ", "");
        check("A man rides a horse .", "a man rides a horse");
        check("A man, riding; a horse!", "a man riding a horse");
        check(
            "Two red-haired girls and/or boys",
            "two red-haired girls and/or boys",
        );
    }

    #[test]
    fn contractions_and_possessives() {
        check(
            "The dog's owner can't see it.",
            "the dog 's owner ca n't see it",
        );
        check(
            "the boys' ball isn\u{2019}t theirs",
            "the boys ball is n't theirs",
        );
        check(
            "they've, we'll, I'd, I'm, you're",
            "they 've we 'll i 'd i 'm you 're",
        );
        check("cannot gonna WANNA", "can not gon na wan na");
        check(
            "five o'clock, ma'am, in the '90s",
            "five o'clock ma'am in the '90s",
        );
        check(
            "rock 'n' roll and 'quoted' words",
            "rock 'n' roll and quoted words",
        );
        check("he didn't've gone", "he did n't 've gone");
    }

    #[test]
    fn quotes_and_brackets() {
        check(
            "a \"sign\" (red) [old]",
            "a sign -lrb- red -rrb- -lsb- old -rsb-",
        );
        check("\u{201c}STOP\u{201d}", "stop");
    }

    #[test]
    fn periods() {
        check(
            "Mr. Smith vs. Dr. Jones in the U.S. at 5 p.m.",
            "mr. smith vs. dr. jones in the u.s. at 5 p.m.",
        );
        check("a dog.", "a dog");
        check("wait... what . . . now", "wait what now");
        check("no. 5 says no.", "no. 5 says no");
        check("plan b. works", "plan b. works");
        check("plan b. The dog", "plan b the dog");
        check("plan b.", "plan b");
        check("a dog.The end", "a dog.the end");
    }

    #[test]
    fn numbers() {
        check(
            "5.5 1,000 10th 8:30 50% $5 £5 2x4",
            "5.5 1,000 10th 8:30 50 % $ 5 # 5 2x4",
        );
        check("1 1/2 cups and ½ cup", "1_1/2 cups and 1/2 cup");
        check("call (555) 555-1234", "call -lrb-555-rrb-_555-1234");
    }

    #[test]
    fn what_is_not_language() {
        check(
            "<unk> me@x.com www.x.org :) #5 @user",
            "<unk> me@x.com www.x.org :-rrb- # 5 @user",
        );
        check(
            "caf\u{e9} \u{65e5}\u{672c} \u{263a} \u{1f600}",
            "caf\u{e9} \u{65e5}\u{672c} \u{263a}",
        );
        check("\0\u{7f}\u{fffd}", "");
    }

    #[test]
    fn words_split_at_the_inner_blank() {
        assert_eq!(words("1 1/2 Cups."), ["1", "1/2", "cups"]);
    }

    proptest! {
        #[test]
        fn any_text_gives_clean_tokens(caption in any::<String>()) {
            let tokens = tokenize(&caption);
            prop_assert!(tokens.is_empty() || tokens.split(' ').all(|t| !t.is_empty()));
        }

        #[test]
        fn awkward_text_gives_clean_tokens(
            caption in "([a-zN'’.,:;/&@<>()0-9\\-\"`!?=_^#$ é½\u{a0}\u{ad}]|n't|http://|www\\.|\\.com|&amp;){0,24}"
        ) {
            let tokens = tokenize(&caption);
            prop_assert!(tokens.is_empty() || tokens.split(' ').all(|t| !t.is_empty()));
        }

        #[test]
        fn plain_words_are_their_own_tokens(words in proptest::collection::vec("[a-z]{1,4}", 0..9)) {
            prop_assert_eq!(tokenize(&words.join(" ")), words.join(" "));
        }
    }
}
