//! What a soak found, for people.

use super::tally::{Kind, Tally};

/// One publisher and one kind of clients.
pub struct Row {
    pub publisher: String,
    pub clients: &'static str,
    pub publishes: usize,
    pub tally: Tally,
}

/// All rows, as Markdown.
pub fn table(rows: &[Row]) -> String {
    let kinds = Kind::ALL.map(|kind| kind.name()).join(" | ");
    let mut text = format!("| publisher | clients | publishes | updates | installs | {kinds} |\n");
    text += &format!("|{}\n", " --- |".repeat(5 + Kind::ALL.len()));
    for Row { publisher, clients, publishes, tally } in rows {
        let counts = Kind::ALL.map(|kind| tally.count(kind).to_string()).join(" | ");
        let (updates, installs) = (tally.updates, tally.installs);
        text += &format!("| {publisher} | {clients} | {publishes} | {updates} | {installs} | {counts} |\n");
    }
    text
}
