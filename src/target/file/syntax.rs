//! A text as nginx parses it: directives, as lists of words.

use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

/// A directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Its name and its arguments, without quotes.
    pub(super) words: Vec<String>,
    /// How many blocks it stands in.
    pub(super) depth: usize,
    /// Whether it has a block itself.
    pub(super) block: bool,
    /// Where in the text it stands, its block included.
    pub(super) range: Range<usize>,
}

/// Reads a text as nginx does.
///
/// # Errors
///
/// When nginx would refuse its punctuation.
pub(super) fn statements(text: &str) -> Result<Vec<Statement>, &'static str> {
    let mut found: Vec<Statement> = Vec::new();
    let mut words = Vec::new();
    // Where the words begin.
    let mut from = 0;
    // The directives whose blocks are open.
    let mut open = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        if words.is_empty() {
            from = at;
        }
        match c {
            ' ' | '\t' | '\r' | '\n' => {}
            '#' => while rest.next_if(|(_, c)| *c != '\n').is_some() {},
            ';' | '{' if words.is_empty() => return Err("a directive without a name"),
            ';' | '{' => {
                let (number, depth, block) = (found.len(), open.len(), c == '{');
                found.push(Statement {
                    words: std::mem::take(&mut words),
                    depth,
                    block,
                    range: from..at + 1,
                });
                open.extend(block.then_some(number));
            }
            '}' if !words.is_empty() => return Err("a } within a directive"),
            '}' => {
                let begun = open.pop().ok_or("a } too many")?;
                found[begun].range.end = at + 1;
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

fn quoted(rest: &mut Peekable<CharIndices<'_>>, quote: char) -> Result<String, &'static str> {
    let mut word = String::new();
    loop {
        match rest.next().ok_or("a quote that is not closed")?.1 {
            '\\' => word.extend(rest.next().map(|(_, c)| c)),
            c if c == quote => break,
            c => word.push(c),
        }
    }
    match rest.peek() {
        Some((_, ' ' | '\t' | '\r' | '\n' | ';' | '{' | ')')) => Ok(word),
        _ => Err("no space behind a quoted word"),
    }
}

fn bare(rest: &mut Peekable<CharIndices<'_>>, first: char) -> String {
    let mut word = String::new();
    let (mut next, mut variable) = (Some(first), false);
    while let Some(c) = next {
        match c {
            '\\' => word.extend(rest.next().map(|(_, c)| c)),
            _ => word.push(c),
        }
        variable = c == '$' || (variable && c == '{');
        let ends = |c: char| " \t\r\n;".contains(c) || (c == '{' && !variable);
        next = rest.next_if(|(_, c)| !ends(*c)).map(|(_, c)| c);
    }
    word
}

#[cfg(test)]
mod tests;
