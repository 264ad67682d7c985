//! What stands in the way of a node, told at its declaration.

use std::fmt::Display;

use crate::buildfile::{Diagnostic, Reference, Span};

/// No version of an upstream is locked.
pub fn nothing_locked(span: &Span, upstream: &str) -> Diagnostic {
    let message = format!("the lock has no version of upstream '{upstream}'");
    Diagnostic::error(span, message, "needed here").help(format!("run `forge update {upstream}`"))
}

/// The lock has versions of an upstream, and none of them is to stand on its axis.
pub fn nothing_stands(span: &Span, upstream: &str, locked: usize) -> Diagnostic {
    let message = format!("none of the {locked} locked versions of upstream '{upstream}' is to be built");
    let help = format!(
        "look at keep, versions and hold of the upstream, and run `forge update {upstream}`; or select a version"
    );
    Diagnostic::error(span, message, "needed here").help(help)
}

/// A version is listed upstream, and there is nothing to build.
pub fn unavailable(span: &Span, upstream: &str, version: &str) -> Diagnostic {
    let message = format!("{upstream} {version} is listed upstream, but its archive was not there");
    let help = "deselect this version, or run `forge update` when upstream has it";
    Diagnostic::error(span, message, "comes from here").help(help)
}

/// A bootstrap image is not in the lock, or the lock's was made for other packages.
pub fn image_not_locked(span: &Span, node: &str) -> Diagnostic {
    let message = format!("the lock does not say what {node} is made of");
    Diagnostic::error(span, message, "declared here").help("run `forge update`")
}

/// A text that was filled is not what its place takes.
pub fn unfit(span: &Span, node: &str, reason: impl Display) -> Diagnostic {
    Diagnostic::error(span, format!("{node}: {reason}"), "declared here")
}

/// A package names no copyright file.
pub fn no_copyright(span: &Span, target: &str) -> Diagnostic {
    let message = format!("a Debian package carries its copyright, and '{target}' names none");
    Diagnostic::error(span, message, "declared here")
        .help("add a copyright node with the path of a text file")
}

/// Packages agree with an index, and none is of its format.
pub fn no_package_of_format(span: &Span, node: &str, format: &str) -> Diagnostic {
    let message = format!("of the packages that agree with {node}, none is of format {format}");
    let help = format!("leave this cell out, for example by: where distro.format=\"{format}\"");
    Diagnostic::error(span, message, "declared here").help(help)
}

/// An alias names a suite that no package of its index is in, whatever is selected.
pub fn no_suite(of: &Reference) -> Diagnostic {
    let message = format!("no package of this index is ever in suite '{}'", of.name);
    let help = "look at suite \"…\" of the index: it is filled from the packages' cells";
    Diagnostic::error(&of.span, message, "an alias of nothing").help(help)
}

/// An rpm package names no license.
pub fn no_license(span: &Span, target: &str) -> Diagnostic {
    let message = format!("an rpm package names its license, and '{target}' has none");
    Diagnostic::error(span, message, "declared here").help("add for example: rpm { license \"Apache-2.0\"; }")
}

/// An rpm package has a version without a release.
pub fn no_release(span: &Span, target: &str) -> Diagnostic {
    let message = format!("an rpm package has a release after its version, and '{target}' has none");
    Diagnostic::error(span, message, "declared here").help("add for example: iteration=\"1\" to its version")
}

/// Something of a cell is needed, and no cell of the target agrees. The same goes for `more`
/// other nodes.
pub fn no_cell(span: &Span, node: &str, more: usize, used: &str) -> Diagnostic {
    let is_one_of = used.contains("' or '");
    let has_none =
        if is_one_of { "none of which has a cell that agrees" } else { "which has no cell that agrees" };
    let message = match more {
        0 => format!("{node} needs '{used}', {has_none} with it"),
        _ => format!("{node} and {more} more need '{used}', {has_none} with them"),
    };
    let help = match is_one_of {
        true => "look at what they span, and at where and exclude: one of them must have the cell".to_owned(),
        false => {
            format!("look at what '{used}' spans, and at where and exclude: both must have the same cells")
        }
    };
    Diagnostic::error(span, message, "used here").help(help)
}
