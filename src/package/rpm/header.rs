use std::collections::BTreeMap;

use rpm::{DependencyFlags, FileVerifyFlags, Header, HeaderEntry, IndexData, IndexTag};

use super::package::FORMAT;
use super::payload::{PackedFile, Payload};
use super::{Rpm, RpmDependency, RpmGenerated, RpmRelation};
use crate::package::{Compression, MaintainerScript, PackageError};

/// SHA-256, in the numbers of OpenPGP (RFC 9580, section 9.5).
const SHA256: u32 = 8;
const DAY: u32 = 86_400;
/// In place of the machine's name: what tells a reader that there is none.
const BUILD_HOST: &str = "reproducible";

/// The tags of a header as they are collected; the crate sorts them.
#[derive(Default)]
struct Tags(Vec<HeaderEntry>);

impl Tags {
    fn add(&mut self, tag: IndexTag, data: IndexData) {
        self.0.push(HeaderEntry::new(tag as u32, data));
    }

    fn text(&mut self, tag: IndexTag, text: impl Into<String>) {
        self.add(tag, IndexData::StringTag(text.into()));
    }

    fn optional(&mut self, tag: IndexTag, text: &Option<String>) {
        text.iter().for_each(|text| self.text(tag, text));
    }

    /// A text that may be there in several languages; here in none.
    fn translated(&mut self, tag: IndexTag, text: &str) {
        self.add(tag, IndexData::I18NString(vec![text.to_owned()]));
    }

    fn texts(&mut self, tag: IndexTag, texts: Vec<String>) {
        self.add(tag, IndexData::StringArray(texts));
    }

    fn number(&mut self, tag: IndexTag, number: u32) {
        self.numbers(tag, vec![number]);
    }

    fn numbers(&mut self, tag: IndexTag, numbers: Vec<u32>) {
        self.add(tag, IndexData::Int32(numbers));
    }
}

impl Rpm {
    /// The header: tags as rpmbuild has them, without what it says of the machine it runs on.
    pub(super) fn header(
        &self,
        payload: &Payload,
        generated: &RpmGenerated,
        date: u32,
    ) -> Result<Header<IndexTag>, PackageError> {
        let mut tags = Tags::default();
        self.names(&mut tags, date);
        self.scriptlets(&mut tags);
        self.all_relations(&mut tags, payload, generated);
        files(&mut tags, &payload.files, date)?;
        self.payload_tags(&mut tags, payload);
        self.changes(&mut tags, date);
        Ok(Header::from_entries(tags.0, IndexTag::RPMTAG_HEADERIMMUTABLE))
    }

    fn names(&self, tags: &mut Tags, date: u32) {
        use IndexTag::*;
        tags.texts(RPMTAG_HEADERI18NTABLE, vec!["C".to_owned()]);
        tags.text(RPMTAG_NAME, self.name.to_string());
        self.version.epoch().iter().for_each(|epoch| tags.number(RPMTAG_EPOCH, *epoch));
        tags.text(RPMTAG_VERSION, self.version.version());
        tags.text(RPMTAG_RELEASE, self.version.release());
        tags.translated(RPMTAG_SUMMARY, &self.summary);
        let description = match self.description.trim() {
            "" => &self.summary,
            text => text,
        };
        tags.translated(RPMTAG_DESCRIPTION, description);
        tags.number(RPMTAG_BUILDTIME, date);
        tags.text(RPMTAG_BUILDHOST, BUILD_HOST);
        tags.text(RPMTAG_LICENSE, &self.license);
        tags.translated(RPMTAG_GROUP, self.group.as_deref().unwrap_or("Unspecified"));
        tags.optional(RPMTAG_URL, &self.homepage);
        tags.optional(RPMTAG_VENDOR, &self.vendor);
        tags.text(RPMTAG_PACKAGER, &self.packager);
        tags.text(RPMTAG_OS, "linux");
        tags.text(RPMTAG_ARCH, self.architecture.to_string());
        // Without one it would be a source package itself.
        tags.text(RPMTAG_SOURCERPM, format!("{}-{}.src.rpm", self.name, self.version.without_epoch()));
        tags.text(RPMTAG_RPMVERSION, format!("forge {FORMAT}"));
        tags.text(RPMTAG_ENCODING, "utf-8");
    }

    fn scriptlets(&self, tags: &mut Tags) {
        for (script, text) in &self.scripts {
            let (body_tag, program_tag, _) = scriptlet_tags(*script);
            let (mut program, body) = interpreter(text);
            // As rpmbuild has it.
            tags.text(body_tag, body.trim_end_matches('\n'));
            match program.len() {
                1 => tags.text(program_tag, program.remove(0)),
                _ => tags.texts(program_tag, program),
            }
        }
    }

    fn payload_tags(&self, tags: &mut Tags, payload: &Payload) {
        use IndexTag::*;
        let (compressor, level) = match self.compression {
            Compression::Xz { level } => ("xz", level),
            Compression::Zstd { level } => ("zstd", level),
            Compression::Gzip => ("gzip", 9),
        };
        tags.text(RPMTAG_PAYLOADFORMAT, "cpio");
        tags.text(RPMTAG_PAYLOADCOMPRESSOR, compressor);
        tags.text(RPMTAG_PAYLOADFLAGS, level.to_string());
        tags.texts(RPMTAG_PAYLOADSHA256, vec![payload.sha256.clone()]);
        tags.number(RPMTAG_PAYLOADSHA256ALGO, SHA256);
        tags.texts(RPMTAG_PAYLOADSHA256ALT, vec![payload.unpacked_sha256.clone()]);
    }

    /// One entry, at noon as rpmbuild has it: in every time zone of the same day.
    fn changes(&self, tags: &mut Tags, date: u32) {
        use IndexTag::*;
        tags.number(RPMTAG_CHANGELOGTIME, date - date % DAY + DAY / 2);
        tags.texts(RPMTAG_CHANGELOGNAME, vec![format!("{} - {}", self.packager, self.version)]);
        tags.texts(RPMTAG_CHANGELOGTEXT, vec![changelog_entry(&self.changelog)]);
    }

    fn all_relations(&self, tags: &mut Tags, payload: &Payload, generated: &RpmGenerated) {
        let mut all: BTreeMap<RpmRelation, Vec<HeaderDependency>> = BTreeMap::new();
        for (relation, dependencies) in &self.relations {
            let declared =
                dependencies.iter().map(|dependency| HeaderDependency::of(dependency, DependencyFlags::ANY));
            all.entry(*relation).or_default().extend(declared);
        }
        for relation in &self.generated {
            let found = generated.requires().iter();
            let found =
                found.map(|dependency| HeaderDependency::of(dependency, DependencyFlags::FIND_REQUIRES));
            all.entry(*relation).or_default().extend(found);
        }
        all.entry(RpmRelation::Provides).or_default().extend(self.provides(payload, generated));
        all.entry(RpmRelation::Requires).or_default().extend(self.requires(payload));
        let features = self.features(payload, &all);
        all.entry(RpmRelation::Requires).or_default().extend(features);
        for (relation, mut dependencies) in all {
            dependencies.sort();
            dependencies.dedup();
            let [names, flags, versions] = relation.tags();
            tags.texts(names, dependencies.iter().map(|dependency| dependency.name.clone()).collect());
            tags.numbers(flags, dependencies.iter().map(|dependency| dependency.flags).collect());
            tags.texts(versions, dependencies.into_iter().map(|dependency| dependency.version).collect());
        }
    }

    /// Itself, its configuration, and what the generator found.
    fn provides(&self, payload: &Payload, generated: &RpmGenerated) -> Vec<HeaderDependency> {
        let (name, own) = (self.name.to_string(), self.version.to_string());
        let itself =
            |name: String, flags| HeaderDependency::of(&RpmDependency::exactly(name, own.clone()), flags);
        let mut provides = vec![itself(name.clone(), DependencyFlags::ANY)];
        if let Some(isa) = self.architecture.isa() {
            provides.push(itself(format!("{name}{isa}"), DependencyFlags::ANY));
        }
        if has_config(payload) {
            provides.push(itself(format!("config({name})"), DependencyFlags::CONFIG));
        }
        let found = generated.provides().iter();
        provides
            .extend(found.map(|dependency| HeaderDependency::of(dependency, DependencyFlags::FIND_PROVIDES)));
        provides
    }

    /// The interpreters of scriptlets, and its configuration.
    fn requires(&self, payload: &Payload) -> Vec<HeaderDependency> {
        let mut requires = Vec::new();
        for (script, text) in &self.scripts {
            let (.., when) = scriptlet_tags(*script);
            let program = interpreter(text).0.remove(0);
            requires.push(HeaderDependency::of(&RpmDependency::of(program), DependencyFlags::INTERP | when));
        }
        if has_config(payload) {
            let config = RpmDependency::exactly(format!("config({})", self.name), self.version.to_string());
            requires.push(HeaderDependency::of(&config, DependencyFlags::CONFIG));
        }
        requires
    }

    /// What rpm must know to read the package.
    fn features(
        &self,
        payload: &Payload,
        all: &BTreeMap<RpmRelation, Vec<HeaderDependency>>,
    ) -> Vec<HeaderDependency> {
        let any = |is: &dyn Fn(&HeaderDependency) -> bool| all.values().flatten().any(is);
        let is_rich = |dependency: &HeaderDependency| dependency.name.starts_with('(');
        let has =
            |mark: char| any(&|one| one.version.contains(mark) || is_rich(one) && one.name.contains(mark));
        let features = [
            ("CompressedFileNames", "3.0.4-1", !payload.files.is_empty()),
            ("FileDigests", "4.6.0-1", !payload.files.is_empty()),
            ("PayloadFilesHavePrefix", "4.0-1", true),
            ("PayloadIsXz", "5.2-1", matches!(self.compression, Compression::Xz { .. })),
            ("PayloadIsZstd", "5.4.18-1", matches!(self.compression, Compression::Zstd { .. })),
            ("RichDependencies", "4.12.0-1", any(&is_rich)),
            ("TildeInVersions", "4.10.0-1", has('~')),
            ("CaretInVersions", "4.15.0-1", has('^')),
        ];
        let needed = features.iter().filter(|(.., is_needed)| *is_needed);
        let feature = |(feature, version, _): &(&str, &str, bool)| HeaderDependency {
            name: format!("rpmlib({feature})"),
            version: (*version).to_owned(),
            flags: (DependencyFlags::LE | DependencyFlags::RPMLIB).bits(),
        };
        needed.map(feature).collect()
    }
}

/// In the order in which rpmbuild sorts them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct HeaderDependency {
    name: String,
    version: String,
    flags: u32,
}

impl HeaderDependency {
    fn of(dependency: &RpmDependency, flags: DependencyFlags) -> Self {
        Self {
            name: dependency.name.clone(),
            version: dependency.version.as_ref().map(|(_, version)| version.clone()).unwrap_or_default(),
            flags: (dependency.flags() | flags).bits(),
        }
    }
}

fn has_config(payload: &Payload) -> bool {
    payload.files.iter().any(|file| file.flags.contains(rpm::FileFlags::CONFIG))
}

/// The tags of a scriptlet's text and program, and when its program is needed.
fn scriptlet_tags(script: MaintainerScript) -> (IndexTag, IndexTag, DependencyFlags) {
    use IndexTag::*;
    match script {
        MaintainerScript::PreInst => (RPMTAG_PREIN, RPMTAG_PREINPROG, DependencyFlags::SCRIPT_PRE),
        MaintainerScript::PostInst => (RPMTAG_POSTIN, RPMTAG_POSTINPROG, DependencyFlags::SCRIPT_POST),
        MaintainerScript::PreRm => (RPMTAG_PREUN, RPMTAG_PREUNPROG, DependencyFlags::SCRIPT_PREUN),
        MaintainerScript::PostRm => (RPMTAG_POSTUN, RPMTAG_POSTUNPROG, DependencyFlags::SCRIPT_POSTUN),
    }
}

/// The words of a script's `#!` line, and what comes after it.
fn interpreter(text: &str) -> (Vec<String>, &str) {
    let (first, body) = text.split_once('\n').unwrap_or((text, ""));
    let words = first.strip_prefix("#!").unwrap_or_default().split_whitespace();
    (words.map(str::to_owned).collect(), body)
}

/// Text without items becomes one item; Debian's bullets become rpm's.
fn changelog_entry(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    let bullet = |line: &str| line.trim_start().starts_with(['*', '-']);
    let has_items = lines.iter().any(|line| bullet(line));
    let entry = lines.iter().enumerate().map(|(at, line)| {
        let line = line.trim_start();
        match (has_items, bullet(line), at) {
            _ if line.is_empty() => String::new(),
            (true, true, _) => format!("- {}", line[1..].trim_start()),
            (false, _, 0) => format!("- {line}"),
            _ => format!("  {line}"),
        }
    });
    entry.collect::<Vec<_>>().join("\n")
}

fn files(tags: &mut Tags, files: &[PackedFile], date: u32) -> Result<(), PackageError> {
    use IndexTag::*;
    let total = files.iter().map(|file| u64::from(file.size)).sum();
    let limit = u64::from(u32::MAX);
    let too_large =
        |_| PackageError::TooLarge { part: "all that is installed".to_owned(), size: total, limit };
    tags.number(RPMTAG_SIZE, u32::try_from(total).map_err(too_large)?);
    tags.number(RPMTAG_FILEDIGESTALGO, SHA256);
    if files.is_empty() {
        return Ok(());
    }
    let number = |of: &dyn Fn(&PackedFile) -> u32| files.iter().map(of).collect::<Vec<u32>>();
    let text = |of: &dyn Fn(&PackedFile) -> &str| files.iter().map(|f| of(f).to_owned()).collect::<Vec<_>>();
    tags.numbers(RPMTAG_FILESIZES, number(&|file| file.size));
    tags.add(RPMTAG_FILEMODES, IndexData::Int16(files.iter().map(|file| file.mode).collect()));
    tags.add(RPMTAG_FILERDEVS, IndexData::Int16(vec![0; files.len()]));
    tags.numbers(RPMTAG_FILEMTIMES, number(&|_| date));
    tags.texts(RPMTAG_FILEDIGESTS, text(&|file| &file.sha256));
    tags.texts(RPMTAG_FILELINKTOS, text(&|file| &file.link));
    tags.numbers(RPMTAG_FILEFLAGS, number(&|file| file.flags.bits()));
    tags.texts(RPMTAG_FILEUSERNAME, text(&|_| "root"));
    tags.texts(RPMTAG_FILEGROUPNAME, text(&|_| "root"));
    tags.numbers(RPMTAG_FILEVERIFYFLAGS, number(&|_| FileVerifyFlags::ALL_FLAGS.bits()));
    tags.numbers(RPMTAG_FILEDEVICES, number(&|_| 1));
    tags.numbers(RPMTAG_FILEINODES, (1..).take(files.len()).collect());
    tags.texts(RPMTAG_FILELANGS, text(&|_| ""));
    tags.numbers(RPMTAG_FILECOLORS, number(&|file| file.color));
    paths(tags, files);
    Ok(())
}

/// Names, and each directory once: in the order of the paths, which is that of their bytes.
fn paths(tags: &mut Tags, files: &[PackedFile]) {
    let (mut dirs, mut known) = (Vec::new(), BTreeMap::new());
    let (mut names, mut places) = (Vec::new(), Vec::new());
    for file in files {
        let (dir, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let next = dirs.len() as u32;
        let place = *known.entry(dir).or_insert(next);
        if place == next {
            dirs.push(if dir.is_empty() { "/".to_owned() } else { format!("/{dir}/") });
        }
        names.push(name.to_owned());
        places.push(place);
    }
    tags.texts(IndexTag::RPMTAG_BASENAMES, names);
    tags.numbers(IndexTag::RPMTAG_DIRINDEXES, places);
    tags.texts(IndexTag::RPMTAG_DIRNAMES, dirs);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changelog_has_rpm_s_bullets() {
        assert_eq!(changelog_entry("New release.\nWith more.\n"), "- New release.\n  With more.");
        assert_eq!(changelog_entry("  * One\n    more\n\n  * Two"), "- One\n  more\n\n- Two");
        assert_eq!(changelog_entry("- One"), "- One");
    }

    #[test]
    fn a_script_s_interpreter_may_have_arguments() {
        let (program, body) = interpreter("#! /usr/bin/env python3\nprint(1)\n");
        assert_eq!((program, body), (vec!["/usr/bin/env".to_owned(), "python3".to_owned()], "print(1)\n"));
    }
}
