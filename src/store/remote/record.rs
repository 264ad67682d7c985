use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{codec, pack};
use crate::digest::{Digest, key_of_fields};
use crate::store::{ActionResult, Earlier};

/// Raised when the form of a record changes; an older forge takes it for a miss.
const VERSION: u32 = 2;
/// Small objects of a result that have together no more bytes than this lie in its record: they come with it, by
/// the one request that a plan makes in any case.
pub const IN_RECORD: u64 = 16 << 10;
/// How long a record may be, in bytes, as it lies in the bucket and unpacked.
pub const LONGEST: u64 = 16 << 20;

/// Directories of the bucket, below its prefix.
pub const RESULTS: &str = "results";
pub const PACKS: &str = "packs";
pub const OBJECTS: &str = "objects";
pub const HISTORY: &str = "history";

/// What an object of the bucket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    Result(Digest),
    Pack(Digest),
    Object(Digest, Encoding),
    History(Digest),
}

/// How an object that lies alone is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    Plain,
    Zstd,
}

impl Name {
    /// The name of the history of a node.
    pub fn history(node: &str) -> Self {
        Self::History(Digest::of(node.as_bytes()))
    }

    /// Reads what was displayed.
    pub fn parse(text: &str) -> Option<Self> {
        let (room, rest) = text.split_once('/')?;
        let (_, name) = rest.split_once('/')?;
        let (hex, encoding) = match name.strip_suffix(".zst") {
            Some(hex) => (hex, Encoding::Zstd),
            None => (name, Encoding::Plain),
        };
        let digest = hex.parse().ok()?;
        let name = match room {
            RESULTS => Self::Result(digest),
            PACKS => Self::Pack(digest),
            OBJECTS => Self::Object(digest, encoding),
            HISTORY => Self::History(digest),
            _ => return None,
        };
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (room, digest, end) = match self {
            Self::Result(key) => (RESULTS, key, ""),
            Self::Pack(digest) => (PACKS, digest, ""),
            Self::Object(digest, Encoding::Plain) => (OBJECTS, digest, ""),
            Self::Object(digest, Encoding::Zstd) => (OBJECTS, digest, ".zst"),
            Self::History(digest) => (HISTORY, digest, ""),
        };
        let hex = digest.to_string();
        write!(f, "{room}/{}/{hex}{end}", &hex[..2])
    }
}

/// A result as it lies in the bucket, and where its objects are: a line of JSON, and after it the objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    pub result: ActionResult,
    pub places: Places,
    /// A pack, where the places say so, and else nothing.
    #[serde(skip)]
    pub objects: Vec<u8>,
}

/// Where the objects of a result are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// Whether all small objects, of all outputs, are in the record itself.
    pub in_record: bool,
    /// Packs by the name of the output that they are of.
    pub packs: BTreeMap<String, Vec<Packed>>,
    /// Objects that lie alone: large ones, and the log.
    pub alone: Vec<Alone>,
    /// Short manifests of output trees, so that a plan needs nothing but the record.
    pub manifests: Vec<String>,
}

/// A pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    pub name: Digest,
    /// Its length in bytes, not compressed.
    pub size: u64,
}

/// An object that lies alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alone {
    pub object: Digest,
    /// Its length in bytes, not compressed.
    pub size: u64,
    pub encoding: Encoding,
}

impl Alone {
    pub fn name(&self) -> Name {
        Name::Object(self.object, self.encoding)
    }
}

impl Places {
    /// Everything in the bucket that the result needs.
    pub fn names(&self) -> impl Iterator<Item = Name> + '_ {
        let packs = self.packs.values().flatten().map(|pack| Name::Pack(pack.name));
        packs.chain(self.alone.iter().map(Alone::name))
    }
}

impl Record {
    pub fn new(result: ActionResult, places: Places, objects: Vec<u8>) -> Self {
        Self { version: VERSION, result, places, objects }
    }

    /// As it lies in the bucket.
    pub fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut plain = serde_json::to_vec(self)?;
        plain.push(b'\n');
        plain.extend(&self.objects);
        codec::compress(&plain)
    }

    /// Whether nothing that its outputs need lies elsewhere.
    pub fn is_whole(&self) -> bool {
        let of_log = |alone: &Alone| Some(alone.object) == self.result.log;
        self.places.packs.values().all(Vec::is_empty) && self.places.alone.iter().all(of_log)
    }

    /// Reads what lies under `key`. Its own action has to be the one of that key: what was built for
    /// another cannot pass for this one. What it gave is for those to answer for who may write.
    pub fn read(bytes: &[u8], key: Digest) -> Result<Self, String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let plain = codec::decompress(bytes, LONGEST).map_err(|error| text(&error))?;
        let end = plain.iter().position(|byte| *byte == b'\n').unwrap_or(plain.len());
        let (json, objects) = (&plain[..end], plain.get(end + 1..).unwrap_or_default());
        let record: Self = serde_json::from_slice(json).map_err(|error| text(&error))?;
        if record.version != VERSION {
            return Err(format!("it has version {}, and this forge reads {VERSION}", record.version));
        }
        if record.places.in_record {
            pack::read(objects).map_err(|error| text(&error))?;
        }
        match key_of_fields(&record.result.action) == key {
            true => Ok(Self { objects: objects.to_vec(), ..record }),
            false => Err("it is the result of another action".to_owned()),
        }
    }
}

/// The latest results of a node as they lie in the bucket, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteHistory {
    pub entries: Vec<Earlier>,
}

impl RemoteHistory {
    /// Reads it, without the entries that are of other nodes or under keys not their own.
    pub fn read(bytes: &[u8], node: &str) -> Result<Self, String> {
        let mut history: Self = codec::decode(bytes, LONGEST).map_err(|error| error.to_string())?;
        let is_sound =
            |entry: &Earlier| entry.result.node == node && key_of_fields(&entry.result.action) == entry.key;
        history.entries.retain(is_sound);
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let digest = Digest::of(b"x");
        let hex = digest.to_string();
        let object = Name::Object(digest, Encoding::Zstd);
        assert_eq!(object.to_string(), format!("objects/{}/{hex}.zst", &hex[..2]));
        let plain = Name::Object(digest, Encoding::Plain);
        for name in [object, plain, Name::Pack(digest), Name::Result(digest), Name::history("n")] {
            assert_eq!(Name::parse(&name.to_string()), Some(name));
        }
        for text in
            [format!("objects/00/{hex}"), format!("packs/{}/{hex}.zst", &hex[..2]), "probe".to_owned()]
        {
            assert_eq!(Name::parse(&text), None, "{text}");
        }
    }
}
