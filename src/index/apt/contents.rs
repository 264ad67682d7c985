use rayon::prelude::*;

use super::build::REACH;
use super::package::Record;
use crate::index::pieces::{RunIdentity, runs};
use crate::index::{IndexError, Member, Records};
use crate::store::LocalStore;

/// The Contents index: one line for each path, then the packages that install it, as
/// `[section/]package` with commas between (DebianRepository/Format, "Contents indices").
pub(super) fn contents<E: From<IndexError> + Send>(
    members: &[Member<'_>],
    store: &LocalStore,
    records: &Records<'_, E>,
) -> Result<String, E> {
    let runs = runs(members, REACH);
    let lists = runs.par_iter().map(|run| paths(run, store, records)).collect::<Result<Vec<_>, E>>()?;
    let lines = lists.par_iter().flat_map_iter(|list| list.lines());
    let mut lines: Vec<(&str, &str)> =
        lines.map(|line| line.rsplit_once('\t').unwrap_or((line, ""))).collect();
    lines.par_sort_unstable();
    lines.dedup();
    let mut text = String::new();
    for owners in lines.chunk_by(|a, b| a.0 == b.0) {
        text.push_str(owners[0].0);
        for (at, (_, owner)) in owners.iter().enumerate() {
            text.push(if at == 0 { '\t' } else { ',' });
            text.push_str(owner);
        }
        text.push('\n');
    }
    Ok(text)
}

/// The paths of a run of packages, each with its owner: `path<TAB>owner`.
fn paths<E: From<IndexError> + Send>(
    run: &[Member<'_>],
    store: &LocalStore,
    records: &Records<'_, E>,
) -> Result<String, E> {
    const KIND: &str = "apt paths 1";
    let key = RunIdentity::of(run).key(KIND);
    if let Some(known) = store.piece(KIND, key).and_then(|known| String::from_utf8(known).ok()) {
        return Ok(known);
    }
    let mut text = String::new();
    for member in run {
        let record = member.record::<Record, E>(records)?;
        text.extend(record.owned(&member.entry.label.name));
    }
    store.put_piece(KIND, key, text.as_bytes()).map_err(IndexError::from)?;
    Ok(text)
}
