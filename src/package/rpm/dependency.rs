use std::fmt;

use rpm::{DependencyFlags, IndexTag};
use serde::{Deserialize, Serialize};

/// A relation between packages, as rpm knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum RpmRelation {
    Provides,
    Requires,
    Conflicts,
    Obsoletes,
    Recommends,
    Suggests,
    Supplements,
    Enhances,
}

impl RpmRelation {
    /// Every relation, in order.
    pub const ALL: [Self; 8] = [
        Self::Provides,
        Self::Requires,
        Self::Conflicts,
        Self::Obsoletes,
        Self::Recommends,
        Self::Suggests,
        Self::Supplements,
        Self::Enhances,
    ];

    /// The tag of a spec file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Provides => "Provides",
            Self::Requires => "Requires",
            Self::Conflicts => "Conflicts",
            Self::Obsoletes => "Obsoletes",
            Self::Recommends => "Recommends",
            Self::Suggests => "Suggests",
            Self::Supplements => "Supplements",
            Self::Enhances => "Enhances",
        }
    }

    /// The tags of the header with the names, the flags and the versions.
    pub(super) fn tags(self) -> [IndexTag; 3] {
        use IndexTag::*;
        match self {
            Self::Provides => [RPMTAG_PROVIDENAME, RPMTAG_PROVIDEFLAGS, RPMTAG_PROVIDEVERSION],
            Self::Requires => [RPMTAG_REQUIRENAME, RPMTAG_REQUIREFLAGS, RPMTAG_REQUIREVERSION],
            Self::Conflicts => [RPMTAG_CONFLICTNAME, RPMTAG_CONFLICTFLAGS, RPMTAG_CONFLICTVERSION],
            Self::Obsoletes => [RPMTAG_OBSOLETENAME, RPMTAG_OBSOLETEFLAGS, RPMTAG_OBSOLETEVERSION],
            Self::Recommends => [RPMTAG_RECOMMENDNAME, RPMTAG_RECOMMENDFLAGS, RPMTAG_RECOMMENDVERSION],
            Self::Suggests => [RPMTAG_SUGGESTNAME, RPMTAG_SUGGESTFLAGS, RPMTAG_SUGGESTVERSION],
            Self::Supplements => [RPMTAG_SUPPLEMENTNAME, RPMTAG_SUPPLEMENTFLAGS, RPMTAG_SUPPLEMENTVERSION],
            Self::Enhances => [RPMTAG_ENHANCENAME, RPMTAG_ENHANCEFLAGS, RPMTAG_ENHANCEVERSION],
        }
    }
}

impl fmt::Display for RpmRelation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that a package provides, requires and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpmDependency {
    /// A package's name, another capability such as `libc.so.6()(64bit)` or `/bin/sh`, or a whole
    /// expression such as `(a or b)`.
    pub name: String,
    /// Which versions of it, `[epoch:]version[-release]`.
    pub version: Option<(Comparison, String)>,
    /// It has to be there before the package is installed (`Requires(pre)`, `Requires(post)`).
    pub pre: bool,
}

impl RpmDependency {
    /// Any version of `name`.
    pub(super) fn of(name: String) -> Self {
        Self { name, version: None, pre: false }
    }

    /// Exactly this version of `name`.
    pub(super) fn exactly(name: String, version: String) -> Self {
        Self { version: Some((Comparison::Equal, version)), ..Self::of(name) }
    }

    /// A line of rpm's own generators: `name`, or `name operator version`.
    pub(super) fn from_line(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [name] => Some(Self::of(name.to_owned())),
            [name, operator, version] if !name.starts_with('(') => {
                let comparison = Comparison::ALL.into_iter().find(|known| known.to_string() == operator)?;
                let version = Some((comparison, version.to_owned()));
                Some(Self { version, ..Self::of(name.to_owned()) })
            }
            [first, .., last] if first.starts_with('(') && last.ends_with(')') => {
                Some(Self::of(words.join(" ")))
            }
            _ => None,
        }
    }

    /// What the header's flags say of it: the comparison, and that it comes first.
    pub(super) fn flags(&self) -> DependencyFlags {
        let comparison = self.version.as_ref().map(|(comparison, _)| comparison.flags());
        let pre = if self.pre { DependencyFlags::SCRIPT_PRE } else { DependencyFlags::ANY };
        comparison.unwrap_or(DependencyFlags::ANY) | pre
    }

    pub(super) fn from_header(name: &str, flags: u32, version: &str) -> Self {
        let flags = DependencyFlags::from_bits_retain(flags);
        let pre = DependencyFlags::PREREQ | DependencyFlags::SCRIPT_PRE | DependencyFlags::SCRIPT_POST;
        let comparison = Comparison::from_flags(flags).filter(|_| !version.is_empty());
        Self {
            name: name.to_owned(),
            version: comparison.map(|comparison| (comparison, version.to_owned())),
            pre: flags.intersects(pre),
        }
    }
}

impl fmt::Display for RpmDependency {
    /// As rpm shows it: `name >= 1:2-3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.version {
            Some((comparison, version)) => write!(f, " {comparison} {version}"),
            None => Ok(()),
        }
    }
}

/// How versions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

impl Comparison {
    const ALL: [Self; 5] = [Self::Less, Self::LessOrEqual, Self::Equal, Self::GreaterOrEqual, Self::Greater];

    fn flags(self) -> DependencyFlags {
        match self {
            Self::Less => DependencyFlags::LESS,
            Self::LessOrEqual => DependencyFlags::LE,
            Self::Equal => DependencyFlags::EQUAL,
            Self::GreaterOrEqual => DependencyFlags::GE,
            Self::Greater => DependencyFlags::GREATER,
        }
    }

    fn from_flags(flags: DependencyFlags) -> Option<Self> {
        let of = |flag| flags.contains(flag);
        match (of(DependencyFlags::LESS), of(DependencyFlags::GREATER), of(DependencyFlags::EQUAL)) {
            (true, false, false) => Some(Self::Less),
            (true, false, true) => Some(Self::LessOrEqual),
            (false, false, true) => Some(Self::Equal),
            (false, true, true) => Some(Self::GreaterOrEqual),
            (false, true, false) => Some(Self::Greater),
            _ => None,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        })
    }
}
