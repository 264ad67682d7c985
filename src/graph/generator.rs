//! The step that asks a distribution's own dependency generator: `package.depends`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::build::Builder;
use super::*;
use crate::buildfile::{Diagnostic, Target};
use crate::matrix::Cell;
use crate::upstream::Wanted;

/// Puts the payload together as it will be installed: where a file is counts as well as what it is.
const ASSEMBLE: &str = r#"mkdir root
take() {
    if [ -d "$1" ] && ! [ -L "$1" ]; then
        mkdir -p "$2"
        cp -a "$1/." "$2/"
    else
        mkdir -p "$(dirname "$2")"
        cp -a "$1" "$2"
    fi
    # The next part may go to the same place.
    find root -type d -exec chmod u+wx {} +
}
"#;

/// Finds what the shared libraries of a payload need, in the words of dpkg-shlibdeps. The
/// payload's own libraries are searched first, so it does not ask for itself.
const DEB: &str = r#"mkdir debian
printf 'Source: payload\n\nPackage: payload\nArchitecture: any\n' > debian/control
find root -type f -exec sh -c '
    for file; do head -c 4 "$file" | LC_ALL=C grep -q "^.ELF" && printf "%s\n" "$file"; done; :
' sh {} + | LC_ALL=C sort > binaries
mkdir "$OUT/substvars"
set --
while IFS= read -r file; do
    # Objects and archives of a toolchain are ELF as well; only what is loaded has needs.
    LC_ALL=C readelf -d "$file" 2>/dev/null | grep -q NEEDED && set -- "$@" "-e$file"
done < binaries
if [ $# -gt 0 ]; then
    dpkg-shlibdeps -O -Sroot --ignore-missing-info --warnings=0 "$@" > "$OUT/substvars/substvars"
else
    echo 'shlibs:Depends=' > "$OUT/substvars/substvars"
fi
"#;

/// Asks rpmdeps, which runs the generators that the distribution has for each kind of file. As with
/// rpmbuild, what the payload needs of itself stays: its own provides answer it.
const RPM: &str = r#"rpmdeps=/usr/lib/rpm/rpmdeps
if ! [ -x $rpmdeps ]; then
    echo "the package's image has no $rpmdeps: install rpm-build in it (on Debian: rpm and file)" >&2
    exit 1
fi
find "$PWD/root" ! -type d | LC_ALL=C sort > files
export RPM_BUILD_ROOT="$PWD/root"
mkdir "$OUT/depends"
$rpmdeps --requires < files > requires
$rpmdeps --provides < files > provides
LC_ALL=C sort -u requires > "$OUT/depends/requires"
LC_ALL=C sort -u provides > "$OUT/depends/provides"
"#;

/// Whose generator is asked.
pub(super) enum Generator {
    /// dpkg-shlibdeps, for the libraries of Debian's architecture of this name.
    Deb(String),
    /// rpm's generators, which ask no other package.
    Rpm,
}

impl Generator {
    /// The step's output.
    pub fn output(&self) -> &'static str {
        match self {
            Self::Deb(_) => "substvars",
            Self::Rpm => "depends",
        }
    }

    fn script(&self, contents: &[(usize, String, String)]) -> String {
        let mut script = ASSEMBLE.to_owned();
        for (at, (_, path, to)) in contents.iter().enumerate() {
            let (from, to) = (format!("/forge/payload/{at}/{path}"), format!("root/{to}"));
            writeln!(script, "take {} {}", quoted(&from), quoted(&to)).expect("a String takes every write");
        }
        script
            + match self {
                Self::Deb(_) => DEB,
                Self::Rpm => RPM,
            }
    }

    /// dpkg's tools look for the libraries of the image's own architecture, unless they are told.
    fn env(&self, platform: &str) -> BTreeMap<String, String> {
        match self {
            Self::Deb(own) if own != "all" && own != debian_architecture(platform) => {
                [("DEB_HOST_ARCH".to_owned(), own.clone())].into()
            }
            _ => BTreeMap::new(),
        }
    }
}

/// Debian's name of what is `linux/arm64` to a Docker Engine.
fn debian_architecture(platform: &str) -> &str {
    match platform.strip_prefix("linux/").unwrap_or(platform) {
        "386" => "i386",
        "arm" | "arm/v7" => "armhf",
        "arm/v5" | "arm/v6" => "armel",
        "ppc64le" => "ppc64el",
        other => other.split('/').next().unwrap_or(other),
    }
}

/// As one word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.trim_end_matches('/').replace('\'', r"'\''"))
}

impl Builder<'_> {
    pub(super) fn generator(
        &mut self,
        target: &Target,
        cell: &Cell,
        image: NodeId,
        generator: &Generator,
        (inputs, contents): (&[Input], &[(usize, String, String)]),
    ) -> NodeId {
        if let Generator::Deb(own) = generator {
            self.check_has_libraries(target, own, image);
        }
        let image = Input::Node { node: image, output: "root".to_owned() };
        let platform = self.platform(Some(&image));
        let mut taken = vec![image];
        let mut placements = Vec::new();
        for (input, _, _) in contents {
            let path = format!("/forge/payload/{}", placements.len());
            placements.push(Placement::At { input: taken.len(), path: Text::Written(path) });
            taken.push(inputs[*input].clone());
        }
        let script = Script {
            text: Text::Written(generator.script(contents)),
            root: Root::Input(0),
            env: generator
                .env(&platform)
                .into_iter()
                .map(|(name, value)| (name, Text::Written(value)))
                .collect(),
            placements,
            outputs: [generator.output().to_owned()].into(),
            network: false,
            date: 1,
            platform: platform.into(),
        };
        let step = format!("{}.depends", target.name);
        let work = Work::Script(Arc::new(script));
        let declared = Declared::step(step.into(), "target", target.span.clone());
        let node = Node::new(declared.into(), cell.clone(), work);
        self.add(node.taking(taken))
    }

    /// A bootstrap image must have libraries of the package's architecture: what they are called
    /// and who has them is told by their packages.
    fn check_has_libraries(&mut self, target: &Target, architecture: &str, image: NodeId) {
        let node = self.graph.node(image);
        let Work::Bootstrap(bootstrap) = &node.work else { return };
        let Wanted { arch, foreign, .. } = &bootstrap.wanted;
        if architecture != "all" && architecture != arch && !foreign.iter().any(|own| own == architecture) {
            let message = format!(
                "\"auto\" of '{}' asks '{}' for the libraries of {architecture}, and it holds those of {arch} alone",
                target.name, node.declared.target
            );
            let help =
                format!("name an image of {architecture}, or add to this one: foreign \"{architecture}\"");
            let diagnostic = Diagnostic::error(&target.span, message, "declared here").help(help);
            self.report.push_new(diagnostic.also(&node.declared.span.clone(), "the image"));
        }
    }
}
