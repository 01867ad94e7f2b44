//! Changes to one part of a JSON text.

use fastrand::Rng;
use serde_json::{Number, Value};

/// Changes a part of the value, at whatever depth.
pub(super) fn change(value: &mut Value, random: &mut Rng, words: &[Vec<u8>]) {
    let inside = random.usize(..4) > 0;
    let part = match value {
        Value::Array(parts) if inside && !parts.is_empty() => {
            let at = random.usize(..parts.len());
            parts.get_mut(at)
        }
        Value::Object(parts) if inside && !parts.is_empty() => {
            let at = random.usize(..parts.len());
            parts.values_mut().nth(at)
        }
        _ => None,
    };
    match part {
        Some(part) => change(part, random, words),
        None => *value = changed(value, random, words),
    }
}

fn changed(value: &Value, random: &mut Rng, words: &[Vec<u8>]) -> Value {
    match (value, random.usize(..6)) {
        (_, 0) => anything(random, words),
        (Value::String(old), _) => text(old, random, words).into(),
        (Value::Number(_), _) => number(random).into(),
        (Value::Bool(old), _) => (!old).into(),
        (Value::Null, _) => anything(random, words),
        (Value::Array(parts), _) => {
            let mut parts = parts.clone();
            let at = random.usize(..=parts.len());
            match random.usize(..3) {
                0 if at < parts.len() => drop(parts.remove(at)),
                1 if at < parts.len() && parts.len() < 300 => {
                    let part = vec![parts[at].clone(); random.usize(1..300)];
                    parts.splice(at..at, part);
                }
                _ => parts.insert(at, anything(random, words)),
            }
            parts.into()
        }
        (Value::Object(fields), _) => {
            let mut fields = fields.clone();
            let keys: Vec<_> = fields.keys().cloned().collect();
            let old = keys.get(random.usize(..keys.len().max(1)));
            match (old, random.usize(..4)) {
                (Some(old), 0) => drop(fields.remove(old)),
                (Some(old), 1) => {
                    let value = fields.remove(old).unwrap_or_default();
                    fields.insert(text(old, random, words), value);
                }
                (Some(old), 2) if fields.len() < 300 => {
                    let value = fields[old].clone();
                    for copy in 0..random.usize(1..300) {
                        fields.insert(format!("{old}{copy}"), value.clone());
                    }
                }
                _ => drop(fields.insert(word(random, words), anything(random, words))),
            }
            fields.into()
        }
    }
}

fn anything(random: &mut Rng, words: &[Vec<u8>]) -> Value {
    match random.usize(..8) {
        0 => Value::Null,
        1 => random.bool().into(),
        2 | 3 => number(random).into(),
        4 => Value::Array(
            (0..random.usize(..3))
                .map(|_| word(random, words).into())
                .collect(),
        ),
        5 => Value::Object([(word(random, words), Value::Null)].into_iter().collect()),
        _ => word(random, words).into(),
    }
}

fn number(random: &mut Rng) -> Number {
    let known = super::NUMBERS[random.usize(..super::NUMBERS.len())];
    known.parse().unwrap_or_else(|_| random.i64(..).into())
}

fn word(random: &mut Rng, words: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&words[random.usize(..words.len())]).into_owned()
}

/// Another text: some other one, or this one with something in it.
fn text(old: &str, random: &mut Rng, words: &[Vec<u8>]) -> String {
    let mut characters: Vec<char> = old.chars().collect();
    let at = random.usize(..=characters.len());
    match random.usize(..5) {
        0 => return word(random, words),
        1 => characters.truncate(at),
        2 if at < characters.len() => drop(characters.remove(at)),
        3 => {
            let times = [1, 10, 300][random.usize(..3)];
            characters.splice(at..at, std::iter::repeat_n(random.char(..), times));
        }
        _ => {
            let word = word(random, words);
            characters.splice(at..at, word.chars());
        }
    }
    characters.into_iter().collect()
}
