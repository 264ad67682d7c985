//! Files of an index in pieces.
//!
//! What an index says of its packages, in their order, is cut into pieces where the packages themselves say so, so that one
//! package more or less changes the piece that it is in and no other. Each piece is compressed by itself, on any core, and
//! remembered: what did not change is neither written nor compressed again. The file is made of the pieces, and is the
//! same whatever is remembered.

use std::ops::Range;

use rayon::prelude::*;

use super::{IndexCompression, IndexError, Member};
use crate::digest::{Digest, Hasher};
use crate::store::{LocalStore, StoreError};

/// How far around itself a line has to have the lowest lot to end a piece.
const LINES: usize = 1024;

/// Members in order, cut where a piece ends: after each that has the lowest lot of all that are at most `reach` before or after
/// it. So a piece has about twice as many members, hardly ever many more, and what is further away cannot change where it ends.
pub(super) fn runs<'m, 'a>(members: &'m [Member<'a>], reach: usize) -> Vec<&'m [Member<'a>]> {
    let lots: Vec<u32> = members.iter().map(Member::lot).collect();
    cut(&lots, reach).map(|range| &members[range]).collect()
}

/// Where pieces begin and end, by the lots of what they are made of.
pub(super) fn cut(lots: &[u32], reach: usize) -> impl Iterator<Item = Range<usize>> {
    let is_lowest = move |at: usize| {
        let before = &lots[at.saturating_sub(reach)..at];
        let after = &lots[at + 1..lots.len().min(at + 1 + reach)];
        // The first one of equals.
        before.iter().all(|lot| *lot > lots[at]) && after.iter().all(|lot| *lot >= lots[at])
    };
    let mut start = 0;
    let ends = (1..=lots.len()).filter(move |end| *end == lots.len() || is_lowest(end - 1));
    ends.map(move |end| std::mem::replace(&mut start, end)..end)
}

/// A piece of a file.
pub(super) enum Piece<'a, E> {
    /// A text that is at hand, and soon compressed.
    Text(String),
    /// Lines that are at hand.
    Lines(&'a str),
    /// A text that is made where none of its compressed forms is remembered.
    Made {
        /// The digest of everything that it is made of.
        key: Digest,
        make: Box<dyn Fn() -> Result<String, E> + Send + Sync + 'a>,
    },
}

impl<'a, E> Piece<'a, E> {
    /// What `kind` says of a run of packages; `kind` has to change whenever it would say something else.
    pub fn of_run(
        kind: &str,
        run: RunIdentity,
        make: impl Fn() -> Result<String, E> + Send + Sync + 'a,
    ) -> Self {
        Self::Made { key: run.key(kind), make: Box::new(make) }
    }
}

/// The digest of everything that an index says of a run of packages.
#[derive(Clone, Copy)]
pub(super) struct RunIdentity(Digest);

impl RunIdentity {
    pub fn of(run: &[Member<'_>]) -> Self {
        let mut hasher = Hasher::default();
        run.iter().for_each(|member| member.identify(&mut hasher));
        Self(hasher.digest())
    }

    /// The digest of everything that `kind` says of it.
    pub fn key(self, kind: &str) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(self.0.as_bytes());
        hasher.update(kind.as_bytes());
        hasher.digest()
    }
}

/// A sorted list of lines, cut between lines in the same way.
pub(super) fn of_lines<'a, E>(text: &'a str) -> Vec<Piece<'a, E>> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let lot = |line: &&str| {
        let mut sum = flate2::Crc::new();
        sum.update(line.as_bytes());
        sum.sum()
    };
    let lots: Vec<u32> = lines.iter().map(lot).collect();
    let mut rest = text;
    let pieces = cut(&lots, LINES).map(|range| {
        let length = lines[range].iter().map(|line| line.len()).sum();
        let (piece, after) = rest.split_at(length);
        rest = after;
        Piece::Lines(piece)
    });
    pieces.collect()
}

/// A file in its forms.
pub(super) struct Forms {
    /// Its pieces.
    pub plain: Vec<Vec<u8>>,
    /// Whole, in the order that was asked for.
    pub compressed: Vec<Vec<u8>>,
}

/// A piece in its forms.
struct PieceForms {
    plain: Vec<u8>,
    compressed: Vec<Vec<u8>>,
}

/// The file that is made of these pieces.
pub(super) fn join<E: From<IndexError> + Send>(
    pieces: &[Piece<'_, E>],
    compressions: &[IndexCompression],
    store: &LocalStore,
) -> Result<Forms, E> {
    // What is compressed has a form also where it is empty.
    let empty = [Piece::Text(String::new())];
    let pieces = if pieces.is_empty() { &empty } else { pieces };
    let made =
        pieces.par_iter().map(|piece| piece.forms(compressions, store)).collect::<Result<Vec<_>, E>>()?;
    let compressed = compressions.par_iter().enumerate().map(|(at, compression)| {
        let pieces = made.iter().map(|forms| forms.compressed[at].as_slice());
        compression.join(pieces).map_err(|error| fault(compression, error))
    });
    let compressed = compressed.collect::<Result<Vec<_>, _>>()?;
    Ok(Forms { plain: made.into_iter().map(|forms| forms.plain).collect(), compressed })
}

impl<E: From<IndexError> + Send> Piece<'_, E> {
    fn forms(&self, compressions: &[IndexCompression], store: &LocalStore) -> Result<PieceForms, E> {
        let key = match self {
            Self::Text(_) => None,
            Self::Lines(lines) => Some(Digest::of(lines.as_bytes())),
            Self::Made { key, .. } => Some(*key),
        };
        let known = |compression: &IndexCompression| store.piece(compression.name(), key?);
        let known: Vec<Option<Vec<u8>>> = compressions.iter().map(known).collect();
        let plain = match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Lines(lines) => lines.as_bytes().to_vec(),
            Self::Made { make, .. } => match unpacked(compressions, &known) {
                Some(plain) => plain,
                None => make()?.into_bytes(),
            },
        };
        let form = |(compression, known): (&IndexCompression, Option<Vec<u8>>)| {
            if let Some(known) = known {
                return Ok(known);
            }
            let made = compression.compress(&plain).map_err(|error| fault(compression, error))?;
            if let Some(key) = key {
                store.put_piece(compression.name(), key, &made)?;
            }
            Ok(made)
        };
        let compressed = compressions.par_iter().zip(known).map(form);
        let compressed = compressed.collect::<Result<Vec<_>, IndexError>>()?;
        Ok(PieceForms { plain, compressed })
    }
}

/// The text of what is known of its forms: it is not kept as it is, since to write all of it takes longer than to unpack it.
fn unpacked(compressions: &[IndexCompression], known: &[Option<Vec<u8>>]) -> Option<Vec<u8>> {
    let known = compressions
        .iter()
        .zip(known)
        .filter_map(|(compression, known)| Some((compression, known.as_ref()?)));
    let (compression, quickest) = known.max_by_key(|(compression, _)| compression.quickness())?;
    compression.decompress(quickest).ok()
}

fn fault(compression: &IndexCompression, error: std::io::Error) -> IndexError {
    StoreError::io("compress", format!("a piece of an index to {}", compression.extension()))(error).into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::index::fixture::Fixture;
    use crate::index::{CatalogEntry, Label};

    const ALL: [IndexCompression; 3] = [IndexCompression::Xz, IndexCompression::Gz, IndexCompression::Zst];

    fn entries(count: usize) -> Vec<CatalogEntry> {
        let entry = |at: usize| {
            let (name, version, architecture) =
                (format!("package-{at:06}"), "1".to_owned(), "all".to_owned());
            let object = Digest::of(name.as_bytes());
            let label = Label { suite: String::new(), name, version, architecture };
            CatalogEntry { label, size: 1, sha256: object.to_string(), object, record: object }
        };
        (0..count).map(entry).collect()
    }

    fn members(entries: &[CatalogEntry]) -> Vec<Member<'_>> {
        entries.iter().map(|entry| Member { entry, origin: None }).collect()
    }

    /// The index of these packages, and how many pieces had to be made for it.
    fn index(entries: &[CatalogEntry], store: &LocalStore) -> (Forms, usize) {
        const REACH: usize = 30;
        let (members, made) = (members(entries), AtomicUsize::new(0));
        let piece = |run: &[Member<'_>]| {
            let text: String = run.iter().map(|member| format!("{}\n", member.entry.label.name)).collect();
            let made = &made;
            Piece::of_run("names", RunIdentity::of(run), move || {
                made.fetch_add(1, Ordering::Relaxed);
                Ok::<_, IndexError>(text.clone())
            })
        };
        let pieces: Vec<_> = runs(&members, REACH).into_iter().map(piece).collect();
        let forms = join(&pieces, &ALL, store).unwrap();
        drop(pieces);
        (forms, made.into_inner())
    }

    #[test]
    fn one_package_more_or_less_makes_few_pieces_anew() {
        let fixture = Fixture::new();
        let all = entries(2000);
        let (whole, made) = index(&all, &fixture.store);
        assert!((25..45).contains(&made), "{made} pieces");
        assert_eq!(index(&all, &fixture.store).1, 0);
        for at in [0, 7, 999, 1999] {
            let mut fewer = all.clone();
            fewer.remove(at);
            assert!((1..=3).contains(&index(&fewer, &fixture.store).1), "without number {at}");
        }
        let (again, made) = index(&all, &fixture.store);
        assert_eq!((again.plain, again.compressed, made), (whole.plain, whole.compressed, 0));
    }

    #[test]
    fn what_is_remembered_and_how_many_cores_there_are_never_shows() {
        let (one, other) = (Fixture::new(), Fixture::new());
        let all = entries(700);
        // In the other store nothing is remembered, then only what is whole.
        let (expected, _) = index(&all, &one.store);
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        for _ in 0..2 {
            let (found, _) = alone.install(|| index(&all, &other.store));
            assert!(found.plain == expected.plain && found.compressed == expected.compressed);
            for (at, entry) in
                walkdir::WalkDir::new(other.store.root().join("pieces")).into_iter().enumerate()
            {
                let entry = entry.unwrap();
                if entry.file_type().is_file() {
                    let mut bytes = std::fs::read(entry.path()).unwrap();
                    match at % 3 {
                        0 => bytes.truncate(bytes.len() / 2),
                        1 => bytes[0] ^= 1,
                        _ => continue,
                    }
                    std::fs::write(entry.path(), bytes).unwrap();
                }
            }
        }
    }

    #[test]
    fn lists_are_cut_between_lines() {
        let fixture = Fixture::new();
        let text: String = (0..20_000).map(|at| format!("usr/share/{at}\tmisc/a\n")).collect();
        let pieces = of_lines::<IndexError>(&text);
        assert!((7..14).contains(&pieces.len()), "{}", pieces.len());
        assert!(join(&pieces, &ALL, &fixture.store).unwrap().plain.concat() == text.as_bytes());
        assert!(of_lines::<IndexError>("").is_empty());
    }

    #[test]
    fn a_text_is_made_where_none_of_its_forms_is_remembered() {
        for compression in ALL {
            let (fixture, made) = (Fixture::new(), AtomicUsize::new(0));
            let make = || {
                made.fetch_add(1, Ordering::Relaxed);
                Ok::<_, IndexError>("text\n".repeat(10_000))
            };
            let key = Digest::of(b"text");
            let index = |compressions: &[IndexCompression]| {
                join(&[Piece::Made { key, make: Box::new(make) }], compressions, &fixture.store).unwrap()
            };
            let alone = index(&[compression]);
            let all = index(&ALL);
            assert_eq!(made.load(Ordering::Relaxed), 1, "{compression:?}");
            assert_eq!(alone.plain.concat(), "text\n".repeat(10_000).as_bytes());
            assert_eq!(all.plain, alone.plain);
            assert!(all.compressed.contains(&alone.compressed[0]));
        }
    }

    #[test]
    fn an_empty_index_has_every_form() {
        let fixture = Fixture::new();
        let forms = join::<IndexError>(&[], &ALL, &fixture.store).unwrap();
        assert!(forms.plain.concat().is_empty() && forms.compressed.iter().all(|form| !form.is_empty()));
    }
}
