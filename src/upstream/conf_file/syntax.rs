//! What nginx makes of a text: directives, as lists of words.

/// A directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Its name and its arguments, without quotes.
    pub(super) words: Vec<String>,
    /// How many blocks it stands in.
    pub(super) depth: usize,
    /// Whether it has a block itself.
    pub(super) block: bool,
}

/// Reads a text as nginx does.
///
/// # Errors
///
/// Where nginx would refuse it for its punctuation.
pub(super) fn statements(text: &str) -> Result<Vec<Statement>, &'static str> {
    let mut found = Vec::new();
    let mut words = Vec::new();
    let mut depth = 0_usize;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => {}
            '#' => drop(rest.by_ref().find(|c| *c == '\n')),
            ';' | '{' => {
                if words.is_empty() {
                    return Err("a directive without a name");
                }
                let words = std::mem::take(&mut words);
                let block = c == '{';
                found.push(Statement {
                    words,
                    depth,
                    block,
                });
                depth += usize::from(block);
            }
            '}' => {
                if !words.is_empty() {
                    return Err("a } within a directive");
                }
                depth = depth.checked_sub(1).ok_or("a } too many")?;
            }
            '"' | '\'' => words.push(quoted(&mut rest, c)?),
            _ => words.push(bare(&mut rest, c)),
        }
    }
    match (words.is_empty(), depth) {
        (true, 0) => Ok(found),
        (true, _) => Err("a { too many"),
        (false, _) => Err("a directive without an end"),
    }
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn quoted(rest: &mut Rest<'_>, quote: char) -> Result<String, &'static str> {
    let mut word = String::new();
    loop {
        match rest.next().ok_or("a quote that is not closed")? {
            '\\' => unescape(&mut word, rest.next()),
            c if c == quote => break,
            c => word.push(c),
        }
    }
    match rest.peek() {
        Some(' ' | '\t' | '\r' | '\n' | ';' | '{' | ')') => Ok(word),
        _ => Err("no space behind a quoted word"),
    }
}

fn bare(rest: &mut Rest<'_>, first: char) -> String {
    let mut word = String::new();
    let mut next = Some(first);
    let mut variable = false;
    while let Some(c) = next {
        match c {
            '\\' => unescape(&mut word, rest.next()),
            _ => word.push(c),
        }
        variable = c == '$' || (variable && c == '{');
        next = rest.next_if(|c| {
            !matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '{') || (*c == '{' && variable)
        });
    }
    word
}

/// nginx keeps a backslash that escapes nothing.
fn unescape(word: &mut String, next: Option<char>) {
    match next {
        Some(c @ ('"' | '\'' | '\\')) => word.push(c),
        Some('t') => word.push('\t'),
        Some('r') => word.push('\r'),
        Some('n') => word.push('\n'),
        Some(c) => word.extend(['\\', c]),
        None => word.push('\\'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_as_nginx_reads_them() {
        let text = "# c;\nupstream a {\n server \"b c\" x\\\"y '\\'';}\nset $x ${y};";
        let found = statements(text).unwrap();
        let words: Vec<_> = found
            .iter()
            .map(|s| (s.depth, s.words.join("|"), s.block))
            .collect();
        assert_eq!(
            words,
            [
                (0, "upstream|a".to_owned(), true),
                (1, "server|b c|x\"y|'".to_owned(), false),
                (0, "set|$x|${y}".to_owned(), false),
            ]
        );
    }

    #[test]
    fn punctuation_that_nginx_refuses_is_an_error() {
        for text in ["a", "a {", "}", ";", "a }", "a \"b", "a \"b\"c;"] {
            assert!(statements(text).is_err(), "{text}");
        }
    }
}
