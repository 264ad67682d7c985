//! Keys that sign.

use std::path::PathBuf;

use super::super::reader::Reader;
use super::{names, single, target};
use crate::buildfile::{Body, Diagnostic, Key, KeySource, Target};

const KEY: [&str; 3] = ["env", "file", "passphrase-env"];

/// `key "archive" { file "keys/archive.asc" }`
pub fn key(mut reader: Reader<'_>) -> Option<Target> {
    let name = names::name(&mut reader);
    let span = reader.span();
    let (mut source, mut passphrase_env) = (None, None);
    for child in reader.children(&KEY) {
        match child.name() {
            "file" | "env" if source.is_some() => {
                let message = "a key comes from one place";
                let help = "file \"path\" names a file, env \"NAME\" an environment variable; keep one";
                child.push(Diagnostic::error(&child.span(), message, "the second place").help(help));
            }
            "file" => source = single(child, "a path").map(|text| KeySource::File(PathBuf::from(text.value))),
            "env" => source = single(child, "the name of a variable").map(|text| KeySource::Env(text.value)),
            "passphrase-env" => {
                passphrase_env = single(child, "the name of a variable").map(|text| text.value);
            }
            _ => child.unknown(&KEY),
        }
    }
    let has = |name: &str| reader.node().has_child(name);
    if !has("file") && !has("env") {
        let help = "add for example: file \"keys/archive.asc\"; `forge key new` makes one";
        reader.push(Diagnostic::error(&span, "a key is read from somewhere", "from where?").help(help));
    }
    reader.finish();
    let key = Key { source: source?, passphrase_env };
    target(name?, (Vec::new(), span), Vec::new(), Body::Key(key))
}
