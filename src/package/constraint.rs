/// Operator and version of `(>= 1:2)` (Debian policy 7.1).
pub(super) fn constraint(text: &str) -> Result<(&'static str, &str), String> {
    let inside = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'))
        .ok_or_else(|| format!("expected `(operator version)` after the name, found '{text}'"))?;
    let (operator, version) = ["<<", "<=", ">=", ">>", "="]
        .into_iter()
        .find_map(|operator| Some((operator, inside.trim().strip_prefix(operator)?)))
        .ok_or_else(|| format!("expected one of << <= = >= >> before the version, found '{inside}'"))?;
    Ok((operator, version.trim()))
}
