//! Values in a rendered template, made safe: whatever a value holds, it stays within the one word that it stands in.
//!
//! nginx has several ways to spell a word and a different set of special characters in each, so that no escaping is right
//! everywhere. Therefore the values are [marked](mark) while the template is rendered, and [`weave`] then reads the whole text as
//! nginx's own lexer does and spells each value as the place needs it.

/// Begins a value.
const OPEN: char = '\u{1}';
/// Ends it.
const CLOSE: char = '\u{2}';

/// Marks a value that [`weave`] is to make safe.
///
/// # Errors
///
/// When it holds what cannot be made safe: a `$`, which nginx replaces in every kind of word, or a control character.
pub(super) fn mark(value: &str) -> Result<String, String> {
    let bad = value
        .chars()
        .find(|c| *c == '$' || (c.is_control() && !"\t\r\n".contains(*c)));
    match bad {
        Some('$') => Err("the value holds a $, which nginx would take for a variable".to_owned()),
        Some(c) => Err(format!("the value holds {}", c.escape_default())),
        None => Ok(format!("{OPEN}{value}{CLOSE}")),
    }
}

/// Whether a template holds nothing that would be taken for a mark.
pub(super) fn is_free_of_marks(template: &str) -> bool {
    !template.contains([OPEN, CLOSE])
}

/// Spells the marked values of a rendered template so that none ends its word.
///
/// # Errors
///
/// When a value stands where no spelling is safe; with the line of the text.
pub(super) fn weave(text: &str) -> Result<String, String> {
    let mut weaver = Weaver::default();
    for c in text.chars() {
        weaver.take(c).map_err(|reason| {
            let line = 1 + weaver.out.matches('\n').count();
            format!("line {line} of what the template gives: {reason}")
        })?;
    }
    weaver.end_word()?;
    Ok(weaver.out)
}

/// Where the lexer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Between,
    Word,
    Quoted(char),
    /// Right behind a closing quote.
    Behind,
    Comment,
}

#[derive(Debug, Default)]
struct Weaver {
    out: String,
    place: Place,
    /// Within a value.
    value: bool,
    /// Behind a backslash of the template.
    escaped: bool,
    /// Behind a `$` of the template, where a `{` begins no block.
    variable: bool,
    /// Where the word begins.
    start: usize,
    /// Whether the word had to be put into quotes.
    quoting: bool,
    /// How many words the directive has so far.
    words: usize,
    /// Whether the word has a part that is no value.
    own: bool,
}

impl Weaver {
    fn take(&mut self, c: char) -> Result<(), String> {
        match c {
            OPEN if self.value => Err("a value within a value".to_owned()),
            OPEN => self.open(),
            CLOSE => {
                self.value = false;
                Ok(())
            }
            _ if self.value => self.value(c),
            _ => self.template(c),
        }
    }

    fn open(&mut self) -> Result<(), String> {
        let reason = match self.place {
            Place::Comment => None,
            _ if self.escaped => Some("a value stands right behind a backslash"),
            _ if self.variable => Some("a value stands right behind a $"),
            Place::Behind => Some("a value stands right behind a closing quote"),
            _ => None,
        };
        self.value = true;
        reason.map_or(Ok(()), |reason| Err(reason.to_owned()))
    }

    /// A character of a value. It is never syntax.
    fn value(&mut self, c: char) -> Result<(), String> {
        match self.place {
            Place::Comment if c.is_control() => self.out.push(' '),
            Place::Comment => self.out.push(c),
            Place::Quoted(_) => self.push_escaped(c),
            Place::Between | Place::Word | Place::Behind => {
                if self.place == Place::Between {
                    self.begin_word();
                }
                if self.quoting || !is_plain(c) {
                    self.quote();
                    self.push_escaped(c);
                } else {
                    self.out.push(c);
                }
            }
        }
        Ok(())
    }

    /// A character of the template.
    fn template(&mut self, c: char) -> Result<(), String> {
        if self.escaped {
            self.escaped = false;
            self.out.push(c);
            return Ok(());
        }
        match self.place {
            Place::Comment => {
                if c == '\n' {
                    self.place = Place::Between;
                }
                self.out.push(c);
                Ok(())
            }
            Place::Between => self.between(c),
            Place::Behind => {
                self.place = Place::Between;
                if is_end(c) {
                    self.words += 1;
                    self.between(c)
                } else {
                    // nginx accepts only a parenthesis here, which begins the next word.
                    self.own_word(c);
                    Ok(())
                }
            }
            Place::Word if is_end(c) && !(c == '{' && self.variable) => {
                self.end_word()?;
                self.between(c)
            }
            Place::Quoted(quote) if c == quote => {
                self.variable = false;
                self.place = Place::Behind;
                self.refuse_include(&self.out[self.start + 1..])?;
                self.out.push(c);
                Ok(())
            }
            Place::Word | Place::Quoted(_) => {
                self.within(c);
                Ok(())
            }
        }
    }

    fn between(&mut self, c: char) -> Result<(), String> {
        match c {
            ' ' | '\t' | '\r' | '\n' => self.out.push(c),
            ';' | '{' | '}' => {
                self.words = 0;
                self.out.push(c);
            }
            '#' => {
                self.place = Place::Comment;
                self.out.push(c);
            }
            '"' | '\'' => {
                self.begin_word();
                self.place = Place::Quoted(c);
                self.out.push(c);
            }
            _ => self.own_word(c),
        }
        Ok(())
    }

    fn begin_word(&mut self) {
        self.place = Place::Word;
        self.start = self.out.len();
        self.quoting = false;
        self.own = false;
    }

    fn own_word(&mut self, c: char) {
        self.begin_word();
        self.within(c);
    }

    fn within(&mut self, c: char) {
        self.own = true;
        if c == '{' && self.variable {
            self.out.push(c);
            return;
        }
        self.variable = c == '$';
        self.escaped = c == '\\';
        if c == '"' && self.quoting {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    /// Puts the word so far into quotes.
    fn quote(&mut self) {
        if self.quoting {
            return;
        }
        self.quoting = true;
        let so_far = self.out.split_off(self.start);
        self.out.push('"');
        let mut escaped = false;
        for c in so_far.chars() {
            if c == '"' && !escaped {
                self.out.push('\\');
            }
            escaped = c == '\\' && !escaped;
            self.out.push(c);
        }
    }

    fn push_escaped(&mut self, c: char) {
        match c {
            '\\' | '"' | '\'' => {
                self.out.push('\\');
                self.out.push(c);
            }
            '\n' => self.out.push_str("\\n"),
            '\r' => self.out.push_str("\\r"),
            '\t' => self.out.push_str("\\t"),
            _ => self.out.push(c),
        }
    }

    /// Within `map {}` and its like a value may begin a line, but it may not read another file.
    fn refuse_include(&self, word: &str) -> Result<(), String> {
        if self.words == 0 && !self.own && word == "include" {
            return Err("a value would be the directive \"include\"".to_owned());
        }
        Ok(())
    }

    fn end_word(&mut self) -> Result<(), String> {
        if self.place != Place::Word {
            return Ok(());
        }
        self.place = Place::Between;
        self.variable = false;
        self.refuse_include(&self.out[self.start..])?;
        self.words += 1;
        if self.quoting {
            self.out.push('"');
        }
        Ok(())
    }
}

/// Whether it ends a word.
fn is_end(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '{')
}

/// Whether it is the same in and outside quotes, and within a regular expression's word as well.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-~:/@%+,=*[]".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::syntax::statements;
    use super::*;

    fn woven(template: &str, value: &str) -> Result<String, String> {
        weave(&template.replace('?', &mark(value)?))
    }

    #[test]
    fn a_harmless_value_stands_as_it_is() {
        for template in [
            "server ? weight=?;",
            "set $x \"a?b\";",
            "location ~^/? { }",
            "a '?';",
        ] {
            let expected = template.replace('?', "10.0.0.5:80");
            assert_eq!(woven(template, "10.0.0.5:80").unwrap(), expected);
        }
    }

    #[test]
    fn every_place_has_its_own_spelling() {
        for (template, value, expected) in [
            ("a ?;", "b; c", "a \"b; c\";"),
            ("a x=?y\"z;", "b}", "a \"x=b}y\\\"z\";"),
            ("a \\\"?;", " ", "a \"\\\" \";"),
            ("a \"?\";", "\"\\\n", "a \"\\\"\\\\\\n\";"),
            ("a '?';", "'", "a '\\'';"),
            ("a ?;", "#", "a \"#\";"),
            ("a; # ?\nb;", "x\nc;", "a; # x c;\nb;"),
            ("a ${b}?;", "{", "a \"${b}{\";"),
            ("?", "x y", "\"x y\""),
        ] {
            assert_eq!(woven(template, value).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn what_cannot_be_spelt_is_refused() {
        for (template, value, reason) in [
            ("a ?;", "$host", "variable"),
            ("a ?;", "\0", "\\u{0}"),
            ("a ?;", "\u{2};\u{1}", "\\u{2}"),
            ("a \\?;", "x", "backslash"),
            ("a \"b\"?;", "x", "closing quote"),
            ("a $?;", "x", "right behind a $"),
            ("? /etc/passwd;", "include", "include"),
            ("a; '?' /etc/passwd;", "include", "include"),
            ("a;\nb \\?;", "x", "line 2"),
        ] {
            let error = woven(template, value).unwrap_err();
            assert!(error.contains(reason), "{template}: {error}");
        }
    }

    /// Places in which the value of a record may stand, each with all kinds of neighbours.
    const TEMPLATES: [&str; 12] = [
        "a ?; b;",
        "a x?; b;",
        "a ?x; b;",
        "a x?y?z; b;",
        "a \"?\"; b;",
        "a 'x ?'; b;",
        "a ? ? { b; }",
        "a x\"?; b;",
        "a x\\ y?; b;",
        "a ${x}?; b;",
        "a; # ?\nb;",
        "a x=?\n?;b;",
    ];

    proptest! {
        #[test]
        fn no_value_ever_changes_which_words_there_are(
            value in "[a-z ;{}\"'\\\\#\n\r\t=()~|/é-]{1,12}",
            template in prop::sample::select(&TEMPLATES[..]),
        ) {
            let harmless = statements(&woven(template, "HERE").unwrap()).unwrap();
            let expected: Vec<Vec<String>> = harmless
                .into_iter()
                .map(|statement| statement.words.iter().map(|word| word.replace("HERE", &value)).collect())
                .collect();
            let found = statements(&woven(template, &value).unwrap()).unwrap();
            let found: Vec<_> = found.into_iter().map(|statement| statement.words).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
