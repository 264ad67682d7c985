//! Files of an index in pieces.
//!
//! What an index says of its packages, in their order, is cut into pieces where the packages themselves say so, so that one
//! package more or less changes the piece that it is in and no other. Each piece is compressed by itself, on any core, and
//! remembered: what did not change is neither written nor compressed again. The file is made of the pieces, and is the
//! same whatever is remembered.

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::{IndexCompression, IndexError, Making, Member};
use crate::digest::{Digest, Hasher};
use crate::store::{LocalStore, StoreError};

/// How many lines a piece has at least.
const LINES: usize = 1536;

/// Members in order, [cut] into pieces by what they are.
pub(super) fn runs<'m, 'a>(members: &'m [Member<'a>], reach: usize) -> Vec<&'m [Member<'a>]> {
    let lots: Vec<u32> = members.iter().map(|member| member.entry.lot()).collect();
    cut(&lots, reach).into_iter().map(|range| &members[range]).collect()
}

/// Where pieces begin and end, by the lots of what they are made of: after each that has the lowest lot of all that are at most
/// `reach` before or after it, so that what is further away cannot change it. What is more than twice as long as the reach is cut
/// again, since the longer a piece is, the more often something in it changes. All but the first and the last one are at least as
/// long as the reach.
pub(crate) fn cut(lots: &[u32], reach: usize) -> Vec<Range<usize>> {
    let is_lowest = |at: usize| {
        let before = &lots[at.saturating_sub(reach)..at];
        let after = &lots[at + 1..lots.len().min(at + 1 + reach)];
        // The first one of equals.
        before.iter().all(|lot| *lot > lots[at]) && after.iter().all(|lot| *lot >= lots[at])
    };
    let (mut pieces, mut start) = (Vec::new(), 0);
    for end in (1..=lots.len()).filter(|end| *end == lots.len() || is_lowest(end - 1)) {
        cut_again(lots, start..end, reach, &mut pieces);
        start = end;
    }
    pieces
}

/// Where the lowest lot is that leaves the reach on both sides.
fn cut_again(lots: &[u32], mut rest: Range<usize>, reach: usize, pieces: &mut Vec<Range<usize>>) {
    while rest.len() > 2 * reach
        && let Some(lowest) = (rest.start + reach - 1..rest.end - reach).min_by_key(|at| lots[*at])
    {
        cut_again(lots, rest.start..lowest + 1, reach, pieces);
        rest.start = lowest + 1;
    }
    pieces.push(rest);
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
        let mut told = Vec::new();
        run.iter().for_each(|member| member.identify(&mut told));
        Self(Digest::of(&told))
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
    let pieces = cut(&lots, LINES).into_iter().map(|range| {
        let length = lines[range].iter().map(|line| line.len()).sum();
        let (piece, after) = rest.split_at(length);
        rest = after;
        Piece::Lines(piece)
    });
    pieces.collect()
}

/// A file that is made of pieces, in its forms.
///
/// What is remembered is read as it is written, piece by piece: where one piece is new, to hold all of them would take longer
/// than anything else.
pub(super) struct Forms<'p, 'a, E> {
    pieces: Vec<Forming<'p, 'a, E>>,
    compressions: &'p [IndexCompression],
    memory: &'p LocalStore,
    /// Where it goes, for messages.
    place: &'p Path,
}

/// A piece whose forms are asked for.
struct Forming<'p, 'a, E> {
    piece: &'p Piece<'a, E>,
    /// What its forms are remembered by.
    key: Option<Digest>,
    /// The text of a [`Piece::Made`], and who makes it.
    made: OnceLock<String>,
    making: Mutex<()>,
}

impl<'p, 'a, E: From<IndexError> + Send> Forms<'p, 'a, E> {
    /// The file of these pieces, plain and in these compressions.
    pub fn new(
        pieces: &'p [Piece<'a, E>],
        compressions: &'p [IndexCompression],
        making: &'p Making<'_, E>,
    ) -> Self {
        let forming = |piece: &'p Piece<'a, E>| {
            let key = match piece {
                Piece::Text(_) => None,
                Piece::Lines(lines) => Some(Digest::of(lines.as_bytes())),
                Piece::Made { key, .. } => Some(*key),
            };
            Forming { piece, key, made: OnceLock::new(), making: Mutex::default() }
        };
        let (memory, place) = (making.memory, making.shelf.place());
        Self { pieces: pieces.iter().map(forming).collect(), compressions, memory, place }
    }

    /// Writes it plain.
    pub fn write_plain(&self, out: &mut dyn Write) -> Result<(), E> {
        for piece in &self.pieces {
            out.write_all(&self.text(piece)?).map_err(self.fault("write an index to"))?;
        }
        Ok(())
    }

    /// Writes it in one of its compressions. What is new is compressed first, on all cores.
    pub fn write(&self, compression: IndexCompression, out: &mut dyn Write) -> Result<(), E> {
        let new = self.pieces.par_iter().map(|piece| match self.is_remembered(piece, compression) {
            true => Ok(None),
            false => self.compress(piece, compression).map(Some),
        });
        let new = new.collect::<Result<Vec<_>, E>>()?;
        let mut joined = compression.join(out);
        for (piece, new) in self.pieces.iter().zip(new) {
            let bytes = new.map_or_else(|| self.compressed(piece, compression), Ok)?;
            joined.add(&bytes).map_err(self.fault("write an index to"))?;
        }
        // What is compressed has a form also where it is empty.
        if self.pieces.is_empty() {
            let bytes = compression.compress(b"").map_err(self.fault("compress an index for"))?;
            joined.add(&bytes).map_err(self.fault("write an index to"))?;
        }
        Ok(joined.finish().map_err(self.fault("write an index to"))?)
    }

    fn is_remembered(&self, piece: &Forming<'p, 'a, E>, compression: IndexCompression) -> bool {
        piece.key.is_some_and(|key| self.memory.knows_piece(compression.name(), key))
    }

    /// A piece compressed, as it is remembered; compressed again where that is damaged.
    fn compressed(&self, piece: &Forming<'p, 'a, E>, compression: IndexCompression) -> Result<Vec<u8>, E> {
        let known = piece.key.and_then(|key| self.memory.piece(compression.name(), key));
        known.map_or_else(|| self.compress(piece, compression), Ok)
    }

    fn compress(&self, piece: &Forming<'p, 'a, E>, compression: IndexCompression) -> Result<Vec<u8>, E> {
        let made = compression.compress(&self.text(piece)?).map_err(self.fault("compress an index for"))?;
        if let Some(key) = piece.key {
            self.memory.put_piece(compression.name(), key, &made).map_err(IndexError::from)?;
        }
        Ok(made)
    }

    /// The text of a piece. It is made by one for all, so nothing that rayon does may make it.
    fn text<'t>(&self, piece: &'t Forming<'p, 'a, E>) -> Result<Cow<'t, [u8]>, E> {
        let make = match piece.piece {
            Piece::Text(text) => return Ok(text.as_bytes().into()),
            Piece::Lines(lines) => return Ok(lines.as_bytes().into()),
            Piece::Made { make, .. } => make,
        };
        let is_making = piece.making.lock().unwrap_or_else(PoisonError::into_inner);
        if piece.made.get().is_none() {
            if let Some(unpacked) = self.unpacked(piece) {
                return Ok(unpacked.into());
            }
            let text = make()?;
            piece.made.get_or_init(|| text);
        }
        drop(is_making);
        Ok(piece.made.get().map(|text| text.as_bytes().into()).unwrap_or_default())
    }

    /// The text of what is remembered of its forms: it is not kept as it is, since to write all of it takes longer than to unpack it.
    fn unpacked(&self, piece: &Forming<'p, 'a, E>) -> Option<Vec<u8>> {
        let known = self.compressions.iter().filter(|one| self.is_remembered(piece, **one));
        let compression = known.max_by_key(|one| one.quickness())?;
        let bytes = self.memory.piece(compression.name(), piece.key?)?;
        compression.decompress(&bytes).ok()
    }

    fn fault(&self, doing: &'static str) -> impl FnOnce(io::Error) -> IndexError {
        let fault = StoreError::io(doing, self.place);
        |error| fault(error).into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rand::{Rng, SeedableRng, rngs::StdRng};

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
        entries.iter().map(|entry| Member { entry, record: None, origin: None }).collect()
    }

    /// A file plain and in the compressions that were asked for.
    #[derive(PartialEq, Eq)]
    struct Written {
        plain: Vec<u8>,
        compressed: Vec<Vec<u8>>,
    }

    fn written(
        pieces: &[Piece<'_, IndexError>],
        compressions: &[IndexCompression],
        store: &LocalStore,
    ) -> Written {
        let record = |record| Ok(store.get(record)?);
        let making = Making { date: 0, memory: store, shelf: store, records: &record };
        let forms = Forms::new(pieces, compressions, &making);
        let bytes = |write: &dyn Fn(&mut dyn Write) -> Result<(), IndexError>| {
            let mut bytes = Vec::new();
            write(&mut bytes).unwrap();
            bytes
        };
        let compressed = |one: &IndexCompression| bytes(&|out| forms.write(*one, out));
        let (compressed, plain) = rayon::join(
            || compressions.par_iter().map(compressed).collect(),
            || bytes(&|out| forms.write_plain(out)),
        );
        Written { plain, compressed }
    }

    /// The index of these packages, and how many pieces had to be made for it.
    fn index(entries: &[CatalogEntry], store: &LocalStore) -> (Written, usize) {
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
        let written = written(&pieces, &ALL, store);
        drop(pieces);
        (written, made.into_inner())
    }

    #[test]
    fn pieces_are_as_long_as_the_reach_and_no_longer_than_twice() {
        let mut rng = StdRng::seed_from_u64(1);
        let drawn: Vec<u32> = (0..5000).map(|_| rng.gen_range(0..1 << 20)).collect();
        for lots in [drawn, vec![7; 5000], (0..5000).collect(), (0..5000).rev().collect(), vec![1; 3], vec![]]
        {
            let pieces = cut(&lots, 100);
            let ends: Vec<usize> = pieces.iter().map(|piece| piece.end).collect();
            assert!(
                pieces.iter().map(|piece| piece.start).eq([0].into_iter().chain(ends).take(pieces.len()))
            );
            assert_eq!(pieces.iter().map(Range::len).sum::<usize>(), lots.len());
            assert!(pieces.iter().all(|piece| piece.len() <= 200));
            let inner = pieces.get(1..pieces.len().max(2) - 1).unwrap_or_default();
            assert!(inner.iter().all(|piece| piece.len() >= 100));
        }
    }

    #[test]
    fn one_package_more_or_less_makes_few_pieces_anew() {
        let fixture = Fixture::new();
        let all = entries(2000);
        let (whole, made) = index(&all, &fixture.store);
        assert!((45..60).contains(&made), "{made} pieces");
        assert_eq!(index(&all, &fixture.store).1, 0);
        for at in [0, 7, 999, 1999] {
            let mut fewer = all.clone();
            fewer.remove(at);
            assert!((1..=3).contains(&index(&fewer, &fixture.store).1), "without number {at}");
        }
        let (again, made) = index(&all, &fixture.store);
        assert!(again == whole && made == 0);
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
            assert!(found == expected);
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
        assert!(written(&pieces, &ALL, &fixture.store).plain == text.as_bytes());
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
                written(&[Piece::Made { key, make: Box::new(make) }], compressions, &fixture.store)
            };
            let alone = index(&[compression]);
            let all = index(&ALL);
            assert_eq!(made.load(Ordering::Relaxed), 1, "{compression:?}");
            assert_eq!(alone.plain, "text\n".repeat(10_000).as_bytes());
            assert_eq!(all.plain, alone.plain);
            assert!(all.compressed.contains(&alone.compressed[0]));
        }
    }

    #[test]
    fn an_empty_index_has_every_form() {
        let fixture = Fixture::new();
        let forms = written(&[], &ALL, &fixture.store);
        assert!(forms.plain.is_empty() && forms.compressed.iter().all(|form| !form.is_empty()));
    }
}
