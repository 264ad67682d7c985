use super::CommandError;
use super::words::Words;
use super::workspace::tell;
use crate::buildfile::{AxisValues, Buildfile, Diagnostic, Origin, Selection, Upstream};
use crate::matrix::selection_on;
use crate::store::LocalStore;
use crate::ui;
use crate::upstream::{Ask, Lock, LockedVersion, UpdateError, Updater};

/// A version that was looked up, since it is selected and the lock has it not.
pub struct Addition {
    /// The upstream.
    pub upstream: String,
    /// As it would be locked.
    pub locked: LockedVersion,
}

/// Looks upstream for versions that are selected and that `lock` has not, and adds them to it, in memory.
/// Says so for each.
pub fn complete(
    buildfile: &Buildfile,
    store: &LocalStore,
    words: &Words,
    lock: &mut Lock,
) -> Result<Vec<Addition>, CommandError> {
    let mut additions = Vec::new();
    for axis in &buildfile.axes {
        let AxisValues::Upstream(upstream) = &axis.values else { continue };
        let Some(upstream) = buildfile.upstream(upstream) else { continue };
        let selection = selection_on(&axis.name, buildfile, &words.selection);
        if is_met(upstream, &selection, lock) {
            continue;
        }
        let file = buildfile.lock.display();
        tell(&format!("{} is not met by {file}: looking upstream", selection.text()));
        let updater = Updater::new(store, buildfile.dir.to_path_buf(), None, &tell);
        let known = lock.available(&upstream.name);
        let change = updater
            .upstream(upstream, &Ask::Missing(selection.clone()), lock)
            .map_err(|error| not_found(&error, &selection, &file.to_string(), &known))?;
        for added in change.added {
            let (upstream, told) = (upstream.name.clone(), ui::told(&added.locked));
            tell(&format!(
                "{upstream} {} is not in {file}, and was found upstream: {told}",
                added.locked.version
            ));
            additions.push(Addition { upstream, locked: added.locked });
        }
        for (version, reason) in change.unavailable {
            tell(&format!("{} {version} is listed upstream, but not there: {reason}", upstream.name));
        }
    }
    Ok(additions)
}

fn is_met(upstream: &Upstream, selection: &Selection<'_>, lock: &Lock) -> bool {
    let is_followed = matches!(upstream.origin, Origin::Git { .. } | Origin::AptSource { .. });
    let known = || lock.selectable(&upstream.name, selection);
    selection.is_empty() || !is_followed || upstream.policy.is_met(&known(), selection)
}

fn not_found(
    error: &UpdateError,
    selection: &Selection<'_>,
    lock: &str,
    known: &[crate::buildfile::Version],
) -> CommandError {
    let message = format!("{lock} has nothing for {}, and upstream gave nothing: {error}", selection.text());
    let newest: Vec<&str> = known.iter().rev().take(8).map(|version| version.as_str()).collect();
    let is_final = matches!(error, UpdateError::NoSuchVersion { .. } | UpdateError::Held { .. });
    let again = (!is_final).then(|| "run again when upstream can be reached".to_owned());
    let others = (!newest.is_empty()).then(|| format!("select one of: {}", newest.join(", ")));
    let help: Vec<String> = again.into_iter().chain(others).collect();
    let diagnostic = Diagnostic::placeless(message);
    match help.is_empty() {
        true => diagnostic.into(),
        false => diagnostic.help(help.join(", or ")).into(),
    }
}
