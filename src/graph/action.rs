use super::{IndexWork, Node, Placement, Root, Work};
use crate::digest::{Describe, Digest, Visitor};
use crate::index::Settings;

/// Versions of what forge does itself: raised when its output changes for the same input.
const ARCHIVE: &str = "archive 1";
const COMMIT: &str = "commit 1";
const FILES: &str = "files 1";
const ACCEPT: &str = "accept 1";
const DOCKERFILE: &str = "dockerfile 1";
const REGISTRY: &str = "registry 1";
const SCRIPT: &str = "script 1";
const PACKAGE: &str = "package 1";
const INDEX: &str = "index 3";
const KEY: &str = "key 1";
const PUBLISH: &str = "publish 2";

/// The closed description of one piece of work: a node whose inputs are known by content.
pub struct Action<'a> {
    node: &'a Node,
    inputs: &'a [Digest],
}

impl<'a> Action<'a> {
    /// `inputs` are the trees of the node's inputs, in their order.
    pub fn new(node: &'a Node, inputs: &'a [Digest]) -> Self {
        debug_assert_eq!(node.inputs.len(), inputs.len());
        Self { node, inputs }
    }

    fn input(&self, visitor: &mut dyn Visitor, name: &str, input: usize) {
        visitor.field(name, &self.inputs[input].to_string());
    }
}

impl Describe for Action<'_> {
    fn describe(&self, v: &mut dyn Visitor) {
        match &self.node.work {
            Work::Archive(source) => {
                v.field("builtin", ARCHIVE);
                v.field("sha256", &source.sha256);
                v.field("strip", &source.strip.to_string());
            }
            Work::Commit(source) => {
                v.field("builtin", COMMIT);
                v.field("tree", &source.tree.to_string());
            }
            Work::Files => {
                v.field("builtin", FILES);
                self.input(v, "files", 0);
            }
            Work::Accept => {
                v.field("builtin", ACCEPT);
                self.input(v, "package", 0);
            }
            Work::Bootstrap(image) => image.locked.iter().for_each(|closure| closure.describe(v)),
            Work::Dockerfile(image) => {
                v.field("builtin", DOCKERFILE);
                v.field("dockerfile", &image.dockerfile);
                v.field("platform", &image.platform);
                self.input(v, "context", 0);
                v.enter("arg");
                image.args.iter().for_each(|(name, value)| v.field(name, value));
                v.leave();
                // By name and digest: this is what the Dockerfile is given, and may read.
                v.enter("base");
                for (name, base) in &image.bases {
                    base.locked.iter().for_each(|locked| v.field(name, &locked.to_string()));
                }
                v.leave();
            }
            // Whatever it is called: the digest says what it is.
            Work::Registry(image) => {
                v.field("builtin", REGISTRY);
                v.field("platform", &image.image.platform);
                image
                    .locked
                    .iter()
                    .for_each(|locked| v.field("digest", &format!("sha256:{}", locked.digest())));
            }
            Work::Script(script) => {
                v.field("builtin", SCRIPT);
                v.field("platform", &script.platform);
                match script.root {
                    Root::Host => v.field("image", "host"),
                    Root::Bare => v.field("image", "bare"),
                    Root::Input(input) => self.input(v, "image", input),
                }
                let cell = &self.node.cell;
                v.field("run", &script.text.of_script(cell));
                v.enter("env");
                script.env.iter().for_each(|(name, value)| v.field(name, &value.of(cell)));
                v.leave();
                v.enter("input");
                for placement in &script.placements {
                    match placement {
                        Placement::Into { input, path } => {
                            self.input(v, &format!("into {}", path.of(cell)), *input)
                        }
                        Placement::At { input, path } => {
                            self.input(v, &format!("at {}", path.of(cell)), *input)
                        }
                    }
                }
                v.leave();
                // A set: in which order they are declared changes nothing.
                match &script.outputs[..] {
                    [output] => v.field("output", output),
                    outputs => {
                        let mut outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
                        outputs.sort_unstable();
                        v.field("output", &outputs.join(" "));
                    }
                }
                v.field("network", if script.network { "true" } else { "false" });
                v.field("date", &script.date.to_string());
            }
            Work::Package(package) => {
                v.field("builtin", PACKAGE);
                package.package.describe(v);
                v.enter("content");
                for (input, path, to) in &package.contents {
                    self.input(v, &format!("{path} to {to}"), *input);
                }
                v.leave();
                package.generated.iter().for_each(|input| self.input(v, "generated", *input));
                package.copyright.iter().for_each(|input| self.input(v, "copyright", *input));
                package.signer.iter().for_each(|signer| v.field("signed by", &signer.fingerprint));
            }
            Work::Index(index) => {
                v.field("builtin", INDEX);
                self.index(v, index);
            }
            Work::Key(key) => {
                v.field("builtin", KEY);
                v.field("name", &key.name);
                if let Some(certificate) = &key.certificate {
                    v.field("fingerprint", &certificate.fingerprints.join(" "));
                    v.field("certificate", &certificate.digest.to_string());
                }
            }
            Work::Publish(publish) => {
                v.field("builtin", PUBLISH);
                for (at, repository) in publish.repositories.iter().enumerate() {
                    v.enter(&repository.prefix);
                    self.input(v, "catalog", at);
                    repository.index.describe(v);
                    if let (Settings::Rpm(_), Some(url)) = (&repository.index, &repository.url) {
                        v.field("url", url);
                    }
                    if let Some(keep) = repository.keep {
                        v.field("keep", &format!("versions={} days={}", keep.versions, keep.days));
                    }
                    v.leave();
                }
            }
        }
    }
}

impl Action<'_> {
    fn index(&self, v: &mut dyn Visitor, index: &IndexWork) {
        match index {
            IndexWork::Apt(apt) => {
                apt.index.describe(v);
                v.field("date", &apt.date.to_string());
                self.inputs_by_label(v, "package", &apt.suites);
            }
            IndexWork::Rpm(rpm) => {
                rpm.index.describe(v);
                v.field("date", &rpm.date.to_string());
                v.enter("package");
                let packages = self.inputs.len() - usize::from(rpm.has_updateinfo);
                (0..packages).for_each(|at| self.input(v, &at.to_string(), at));
                v.leave();
                if rpm.has_updateinfo {
                    self.input(v, "updateinfo", packages);
                }
            }
        }
    }

    /// Many inputs of one kind, in the order of their nodes.
    fn inputs_by_label(&self, v: &mut dyn Visitor, group: &str, labels: &[String]) {
        v.enter(group);
        for (at, label) in labels.iter().enumerate() {
            self.input(v, &format!("{at} {label}"), at);
        }
        v.leave();
    }
}
