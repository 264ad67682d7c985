use super::live::Live;
use super::remote::Remote;
use crate::publish::{Checked, PublishError};

/// Reads every file of the live generation and compares its digest.
pub(super) fn verify(remote: &Remote, live: &Live) -> Result<Checked, PublishError> {
    let mut checked = Checked::default();
    let place = remote.place();
    remote.for_each(
        live.generation().files(live.manifest.files.clone()),
        |remote, file| async move { Ok::<_, PublishError>((remote.digest(&file.path).await?, file)) },
        |(found, file)| {
            checked.files += 1;
            checked.bytes += file.size;
            match found {
                Some(found) if found == file.object => {}
                Some(_) => checked.faults.push(format!("{place}/{} has other bytes", file.path)),
                None => checked.faults.push(format!("{place}/{} is not there", file.path)),
            }
        },
    )?;
    if !live.state.finished {
        checked
            .faults
            .push(format!("the last publish to {place} was interrupted; publish again to finish it"));
    }
    checked.faults.sort();
    Ok(checked)
}
