//! What nginx makes of a text: directives, as lists of words.

use std::ops::Range;

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
    let found = scan(text)?.into_iter();
    Ok(found.map(|(statement, _)| statement).collect())
}

/// As [`statements`], with where in the text each stands, its block included.
pub(super) fn scan(text: &str) -> Result<Vec<(Statement, Range<usize>)>, &'static str> {
    let mut found: Vec<(Statement, Range<usize>)> = Vec::new();
    let mut words = Vec::new();
    // Where the words begin.
    let mut from = 0;
    // The directives whose blocks are open.
    let mut open = Vec::new();
    let mut rest = Rest(text);
    loop {
        let at = text.len() - rest.0.len();
        let Some(c) = rest.next() else { break };
        if words.is_empty() {
            from = at;
        }
        match c {
            ' ' | '\t' | '\r' | '\n' => {}
            '#' => while rest.next_if(|c| c != '\n').is_some() {},
            ';' | '{' => {
                if words.is_empty() {
                    return Err("a directive without a name");
                }
                let statement = Statement {
                    words: std::mem::take(&mut words),
                    depth: open.len(),
                    block: c == '{',
                };
                if statement.block {
                    open.push(found.len());
                }
                found.push((statement, from..at + 1));
            }
            '}' => {
                if !words.is_empty() {
                    return Err("a } within a directive");
                }
                let begun = open.pop().ok_or("a } too many")?;
                found[begun].1.end = at + 1;
            }
            '"' | '\'' => words.push(quoted(&mut rest, c)?),
            _ => words.push(bare(&mut rest, c)),
        }
    }
    match (words.is_empty(), open.is_empty()) {
        (true, true) => Ok(found),
        (true, false) => Err("a { too many"),
        (false, _) => Err("a directive without an end"),
    }
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn peek(&self) -> Option<char> {
        self.0.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        self.next_if(|_| true)
    }

    fn next_if(&mut self, wanted: impl FnOnce(char) -> bool) -> Option<char> {
        let next = self.peek().filter(|next| wanted(*next))?;
        self.0 = &self.0[next.len_utf8()..];
        Some(next)
    }
}

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
            !matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '{') || (c == '{' && variable)
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
    fn a_directive_is_found_with_its_whole_block() {
        let text = "a;\n# upstream x { }\nupstream \"y z\" { server é; if (x) { b; } } c d;";
        let found = scan(text).unwrap();
        let top: Vec<_> = found
            .iter()
            .filter(|(statement, _)| statement.depth == 0)
            .map(|(_, range)| &text[range.clone()])
            .collect();
        let block = "upstream \"y z\" { server é; if (x) { b; } }";
        assert_eq!(top, ["a;", block, "c d;"]);
    }

    #[test]
    fn punctuation_that_nginx_refuses_is_an_error() {
        for text in ["a", "a {", "}", ";", "a }", "a \"b", "a \"b\"c;"] {
            assert!(statements(text).is_err(), "{text}");
        }
    }
}
