/// A script that is run at a step of installation or removal: by dpkg (Debian policy 6), or by rpm
/// as its scriptlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaintainerScript {
    /// Before the files are unpacked.
    PreInst,
    /// After they are unpacked and the dependencies are configured.
    PostInst,
    /// Before the files are removed.
    PreRm,
    /// After they are removed.
    PostRm,
}

impl MaintainerScript {
    /// Every script, in order.
    pub const ALL: [Self; 4] = [Self::PreInst, Self::PostInst, Self::PreRm, Self::PostRm];

    /// The name of the control file, which is also that in a Buildfile.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::PreInst => "preinst",
            Self::PostInst => "postinst",
            Self::PreRm => "prerm",
            Self::PostRm => "postrm",
        }
    }
}

/// The script with its `#!` line. One without is for `/bin/sh`, and ends where a command fails.
pub fn with_interpreter(text: &str) -> String {
    match text.starts_with("#!") {
        true => text.to_owned(),
        false => format!("#!/bin/sh\nset -e\n{text}"),
    }
}
