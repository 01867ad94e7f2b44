//! What `tests/fuzz` calls.

/// The assignments of a file of variables, or every mistake.
///
/// # Errors
/// The mistakes.
pub fn env_file(text: &str) -> Result<Vec<(String, String)>, Vec<String>> {
    let assignments = super::parse(text, "file")?;
    let pairs = assignments.into_iter().map(|one| (one.name, one.value));
    Ok(pairs.collect())
}
