//! Changes to inputs: of bits, of words, of shapes. The same seed gives the same changes.

mod json;

use std::collections::BTreeSet;

use fastrand::Rng;
use serde_json::Value;

/// The longest input, in bytes: longer than any limit of a value in etcd.
const LONGEST: usize = 80 << 10;
/// Usual longest ones: of short ones more are tried in the same time.
const USUAL: [usize; 3] = [512, 2 << 10, 6 << 10];

/// Numbers on which something may turn.
const NUMBERS: [&str; 24] = [
    "0",
    "-1",
    "1",
    "00",
    "255",
    "256",
    "599",
    "600",
    "65535",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "340282366920938463463374607431768211456",
    "1e5",
    "1e308",
    "1e999",
    "0.1",
    "0x1f",
];

/// Texts that mean something somewhere.
const TEXTS: [&str; 44] = [
    "",
    " ",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\\"",
    "\"",
    "'",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{85}",
    "\u{202e}",
    "\u{feff}",
    "é",
    "\u{1F600}",
    "１",
    "null",
    "true",
    "[]",
    "{}",
    "{{",
    "}}",
    "${",
    ";",
    "#",
    "include",
    "..",
    "/",
    "//",
    "://",
    "@",
    "%0a",
    "::ffff:10.0.0.1",
    "[::1]:80",
    "fe80::1%eth0",
    "127.1",
    "9999999999999y",
    "1e5s",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:60.999999999999Z",
];

/// Makes inputs out of others.
#[derive(Debug)]
pub(crate) struct Mutator {
    random: Rng,
    /// Words of the corpus, and those that mean something somewhere.
    words: Vec<Vec<u8>>,
}

impl Mutator {
    pub(crate) fn new(seed: u64, corpus: &[Vec<u8>]) -> Self {
        let mut words = BTreeSet::new();
        for input in corpus {
            words.extend(words_of(input).map(|(from, to)| input[from..to].to_vec()));
        }
        let known = NUMBERS.iter().chain(&TEXTS);
        words.extend(known.map(|text| text.as_bytes().to_vec()));
        Self {
            random: Rng::with_seed(seed),
            words: words.into_iter().collect(),
        }
    }

    /// The next input: one of these with some changes.
    pub(crate) fn next(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        // What was found late is deeper inside.
        let late = pool.len() / 2;
        let at = match self.random.bool() {
            true => self.random.usize(..pool.len()),
            false => self.random.usize(late..pool.len()),
        };
        let mut input = pool[at].clone();
        let most = 1_usize << self.random.usize(..5);
        let value = self
            .random
            .bool()
            .then(|| serde_json::from_slice(&input).ok());
        let value: Option<Value> = value.flatten();
        match value {
            // Still JSON: what comes behind its parser is reached.
            Some(mut value) => {
                for _ in 0..=self.random.usize(..most) {
                    json::change(&mut value, &mut self.random, &self.words);
                }
                input = value.to_string().into_bytes();
            }
            None => {
                for _ in 0..=self.random.usize(..most) {
                    self.change(&mut input, pool);
                }
            }
        }
        let limit = match self.random.usize(..50) {
            0 => LONGEST,
            _ => USUAL[self.random.usize(..USUAL.len())].max(pool[at].len()),
        };
        input.truncate(limit);
        input
    }

    /// Puts an input in place of another.
    pub(crate) fn replace_one(&mut self, pool: &mut [Vec<u8>], input: Vec<u8>) {
        let at = self.random.usize(..pool.len());
        pool[at] = input;
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        match self.random.usize(..16) {
            0 => self.flip(input),
            1 => self.overwrite(input),
            2 => self.insert_bytes(input),
            3 => self.delete(input),
            4 => self.repeat(input),
            5 => self.splice(input, pool),
            6 => {
                let at = self.place(input);
                input.truncate(at);
            }
            7 => self.nest(input),
            8 | 9 => self.insert_word(input),
            10 => self.swap_words(input),
            11 => self.delete_word(input),
            12 => self.change_number(input),
            _ => self.replace_word(input),
        }
    }

    fn place(&mut self, input: &[u8]) -> usize {
        self.random.usize(..=input.len())
    }

    /// A part of the input, mostly a short one.
    fn part(&mut self, input: &[u8]) -> (usize, usize) {
        let from = self.place(input);
        let most = match self.random.usize(..4) {
            0 => input.len() - from,
            _ => (input.len() - from).min(16),
        };
        (from, from + self.random.usize(..=most))
    }

    fn flip(&mut self, input: &mut [u8]) {
        if let Some(at) = self.random.usize(..=input.len()).checked_sub(1) {
            input[at] ^= 1 << self.random.u8(..8);
        }
    }

    fn overwrite(&mut self, input: &mut [u8]) {
        if let Some(at) = self.random.usize(..=input.len()).checked_sub(1) {
            input[at] = self.random.u8(..);
        }
    }

    fn insert_bytes(&mut self, input: &mut Vec<u8>) {
        let at = self.place(input);
        let count = self.random.usize(1..9);
        let bytes: Vec<_> = (0..count).map(|_| self.random.u8(..)).collect();
        input.splice(at..at, bytes);
    }

    fn delete(&mut self, input: &mut Vec<u8>) {
        let (from, to) = self.part(input);
        input.drain(from..to);
    }

    fn repeat(&mut self, input: &mut Vec<u8>) {
        let (from, to) = self.part(input);
        let part = input[from..to].to_vec();
        let most = [3, 20, 300, 5000][self.random.usize(..4)];
        let room = LONGEST.saturating_sub(input.len()) / part.len().max(1);
        let times = self.random.usize(..most).min(room);
        input.splice(to..to, part.repeat(times));
    }

    fn splice(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let other = &pool[self.random.usize(..pool.len())];
        let (from, to) = self.part(other);
        let (begin, end) = self.part(input);
        input.splice(begin..end, other[from..to].iter().copied());
    }

    fn nest(&mut self, input: &mut Vec<u8>) {
        let pairs = [
            ("[", "]"),
            ("{\"a\":", "}"),
            ("{", "}"),
            ("(", ")"),
            ("a.", ""),
        ];
        let (open, close) = pairs[self.random.usize(..pairs.len())];
        let depth = [2, 50, 130, 3000][self.random.usize(..4)];
        let (from, to) = self.part(input);
        input.splice(to..to, close.repeat(depth).into_bytes());
        input.splice(from..from, open.repeat(depth).into_bytes());
    }

    fn word(&mut self) -> Vec<u8> {
        self.words[self.random.usize(..self.words.len())].clone()
    }

    fn insert_word(&mut self, input: &mut Vec<u8>) {
        let at = match self.random_word(input) {
            Some((from, _)) => from,
            None => self.place(input),
        };
        let word = self.word();
        input.splice(at..at, word);
    }

    fn replace_word(&mut self, input: &mut Vec<u8>) {
        if let Some((from, to)) = self.random_word(input) {
            let word = self.word();
            input.splice(from..to, word);
        }
    }

    fn delete_word(&mut self, input: &mut Vec<u8>) {
        if let Some((from, to)) = self.random_word(input) {
            input.drain(from..to);
        }
    }

    fn swap_words(&mut self, input: &mut Vec<u8>) {
        let (Some(one), Some(other)) = (self.random_word(input), self.random_word(input)) else {
            return;
        };
        let ((a, b), (c, d)) = (one.min(other), one.max(other));
        if b <= c {
            let (first, second) = (input[a..b].to_vec(), input[c..d].to_vec());
            input.splice(c..d, first);
            input.splice(a..b, second);
        }
    }

    fn change_number(&mut self, input: &mut Vec<u8>) {
        let is_number =
            |(from, to): &(usize, usize)| input[*from..*to].iter().all(u8::is_ascii_digit);
        let numbers: Vec<_> = words_of(input).filter(is_number).collect();
        if !numbers.is_empty() {
            let (from, to) = numbers[self.random.usize(..numbers.len())];
            let number = NUMBERS[self.random.usize(..NUMBERS.len())];
            input.splice(from..to, number.bytes());
        }
    }

    fn random_word(&mut self, input: &[u8]) -> Option<(usize, usize)> {
        // Near a place that any word may be at: listing all of them would take longer than most parsers.
        let at = self.place(input);
        let from = at.saturating_sub(64);
        let near = &input[from..(at + 64).min(input.len())];
        let words: Vec<_> = words_of(near).collect();
        let (begin, end) = *words.get(self.random.usize(..words.len().max(1)))?;
        Some((from + begin, from + end))
    }
}

/// Letters and digits that stand together, and every other byte alone: from where to where.
fn words_of(input: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = input.get(at..).filter(|rest| !rest.is_empty())?;
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
        let length = rest.iter().take_while(|byte| is_part(byte)).count().max(1);
        let from = at;
        at += length;
        Some((from, at))
    })
}
