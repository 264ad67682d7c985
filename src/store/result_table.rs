//! How results are written for [`ResultIndex`](super::ResultIndex): a table for each directory of them, in one mapped file.

use std::hint;
use std::ops::Range;
use std::sync::Arc;

use memmap2::Mmap;

use super::sighting::{Note, Reader, write_text};
use super::{Outputs, Sighting};
use crate::digest::Digest;

/// Results as they are written: their number, the start of each key with the place of what follows, in the order of the keys, and
/// each key with what there is to say of it. So one is found without a look at the others, and where is told by few bytes: they
/// stay in the processor's cache while thousands are asked for.
#[derive(Default)]
pub(super) struct Table {
    /// None if nothing is written.
    file: Option<Arc<Mmap>>,
    place: Range<usize>,
}

/// The bytes of the start of a key and of a place.
const ROW: usize = 8;

impl Table {
    /// What is written at this place of the file.
    pub fn at(file: Arc<Mmap>, place: Range<usize>) -> Self {
        Self { file: Some(file), place }
    }

    /// Adds the table of these.
    pub fn write(mut results: Vec<(Digest, Known)>, bytes: &mut Vec<u8>) {
        results.sort_unstable_by_key(|(key, _)| *key);
        bytes.extend_from_slice(&(results.len() as u32).to_le_bytes());
        let mut said = Vec::with_capacity(results.len() * 128);
        for (key, known) in &results {
            bytes.extend_from_slice(&start(*key).to_le_bytes());
            // What there is to say of a directory takes far less than 4 GiB.
            bytes.extend_from_slice(&(said.len() as u32).to_le_bytes());
            key.write(&mut said);
            known.write(&mut said);
        }
        bytes.extend_from_slice(&said);
    }

    fn bytes(&self) -> &[u8] {
        self.file.as_ref().and_then(|file| file.get(self.place.clone())).unwrap_or_default()
    }

    /// The rows, and what they lead to.
    fn parts(&self) -> Option<(&[[u8; ROW]], &[u8])> {
        let (count, rest) = self.bytes().split_first_chunk::<4>()?;
        let (rows, said) = rest.split_at_checked(u32::from_le_bytes(*count) as usize * ROW)?;
        Some((rows.as_chunks::<ROW>().0, said))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.parts().map_or(0, |(rows, _)| rows.len())
    }

    /// The result under `key`.
    pub fn get(&self, key: Digest) -> Option<Known> {
        Known::read(&mut self.said_of(key, self.row(key))?)
    }

    /// The first row that a key may have.
    pub fn row(&self, key: Digest) -> usize {
        self.parts().map_or(0, |(rows, _)| first(rows, start(key)))
    }

    /// What there is to say of a key whose first row is this.
    pub fn said_of(&self, key: Digest, row: usize) -> Option<Reader<'_>> {
        let (rows, said) = self.parts()?;
        // Nearly always their starts tell keys apart.
        let wanted = start(key);
        let alike = rows[row..].iter().take_while(|row| start_of(row) == wanted);
        let (_, said) = alike.filter_map(|row| Self::said(row, said)).find(|(own, _)| *own == key)?;
        // Most of it stands on two lines of the processor's cache beside that of its key: they come while others are looked for.
        hint::black_box([Sighting::LENGTH, Sighting::LENGTH + 40].map(|behind| said.peek(behind)));
        Some(said)
    }

    /// The key of a row, and what there is to say of it.
    fn said<'s>(row: &[u8; ROW], said: &'s [u8]) -> Option<(Digest, Reader<'s>)> {
        let place = u32::from_le_bytes(*row.last_chunk()?) as usize;
        let mut reader = Reader::new(said.get(place..)?);
        Some((Digest::read(&mut reader)?, reader))
    }

    /// All, in the order of their keys.
    pub fn all(&self) -> impl Iterator<Item = (Digest, Known)> {
        let (rows, said) = self.parts().unwrap_or_default();
        rows.iter().filter_map(move |row| {
            let (key, mut said) = Self::said(row, said)?;
            Some((key, Known::read(&mut said)?))
        })
    }
}

/// What tells a key from most others of its directory, as a number: the bytes behind the one that all have.
fn start(key: Digest) -> u32 {
    let [_, a, b, c, d, ..] = *key.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The same in a row.
fn start_of(row: &[u8; ROW]) -> u32 {
    let [a, b, c, d, ..] = *row;
    u32::from_le_bytes([a, b, c, d])
}

/// Where the rows begin whose keys do not start with less. Keys are digests, so the place is about where it is among all
/// numbers; rows are looked at around it.
fn first(rows: &[[u8; ROW]], wanted: u32) -> usize {
    let is_before = |row: &[u8; ROW]| start_of(row) < wanted;
    let guess = ((u64::from(wanted) * rows.len() as u64) >> u32::BITS) as usize;
    let mut reach = 16;
    loop {
        let (from, to) = (guess.saturating_sub(reach), rows.len().min(guess + reach));
        let is_behind = from == 0 || is_before(&rows[from - 1]);
        if is_behind && rows.get(to).is_none_or(|row| !is_before(row)) {
            return from + rows[from..to].partition_point(is_before);
        }
        reach *= 4;
    }
}

/// One result.
#[derive(Clone)]
pub(super) struct Known {
    pub seen: Sighting,
    pub outputs: Outputs,
    /// Where its objects are, if all of them were found; none if nobody looked.
    pub objects: Dirs,
}

impl Known {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.seen.write(bytes);
        self.objects.write(bytes);
        write_text(self.outputs.as_bytes(), bytes);
    }

    pub fn read(bytes: &mut Reader<'_>) -> Option<Self> {
        let (seen, objects) = (Sighting::read(bytes)?, Dirs::read(bytes)?);
        Some(Self { seen, outputs: Outputs::from_bytes(bytes.text()?), objects })
    }

    /// What was whole may be so no longer, if it has objects in directories that changed.
    pub fn doubted(self, changed: Dirs) -> Self {
        match self.objects.meet(changed) {
            true => Self { objects: Dirs::default(), ..self },
            false => self,
        }
    }
}

/// Directories of objects, by the first byte of a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dirs([u64; 4]);

impl Dirs {
    pub fn add(&mut self, at: u8) {
        self.0[usize::from(at / 64)] |= 1 << (at % 64);
    }

    pub fn is_empty(self) -> bool {
        self.0 == [0; 4]
    }

    pub fn meet(self, other: Self) -> bool {
        self.0.iter().zip(other.0).any(|(own, other)| own & other != 0)
    }

    fn has(self, at: u8) -> bool {
        self.0[usize::from(at / 64)] & 1 << (at % 64) != 0
    }

    /// Each by itself, after their number, since most results have objects in few; or all of a result with many as they are.
    fn write(self, bytes: &mut Vec<u8>) {
        let each: Vec<u8> = (0..=u8::MAX).filter(|at| self.has(*at)).collect();
        match u8::try_from(each.len()) {
            Ok(few) if few < FEW_DIRS => {
                bytes.push(few);
                bytes.extend(each);
            }
            _ => {
                bytes.push(FEW_DIRS);
                self.0.iter().for_each(|part| bytes.extend_from_slice(&part.to_le_bytes()));
            }
        }
    }

    fn read(bytes: &mut Reader<'_>) -> Option<Self> {
        let mut dirs = Self::default();
        match bytes.byte()? {
            FEW_DIRS => dirs.0 = [bytes.number()?, bytes.number()?, bytes.number()?, bytes.number()?],
            few => bytes.take(usize::from(few))?.iter().for_each(|at| dirs.add(*at)),
        }
        Some(dirs)
    }
}

/// So many directories take as many bytes by themselves as all do.
const FEW_DIRS: u8 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_wherever_it_is_and_where_it_would_be() {
        let row = |at: usize| {
            let mut row = [0; ROW];
            row[..4].copy_from_slice(&start(Digest::of(&at.to_le_bytes())).to_le_bytes());
            row
        };
        for count in [0, 1, 15, 16, 17, 400, 5000] {
            let mut rows: Vec<_> = (0..count).map(row).collect();
            // Some are not where they are to be expected.
            rows.iter_mut().take(count / 3).for_each(|row| row[1..4].fill(1));
            rows.sort_unstable_by_key(start_of);
            let asked = (0..count + 100).map(|at| start_of(&row(at))).chain(rows.iter().map(start_of));
            for wanted in asked.chain([0, u32::MAX]) {
                assert_eq!(first(&rows, wanted), rows.partition_point(|row| start_of(row) < wanted));
            }
        }
    }

    #[test]
    fn few_and_many_directories_round_trip() {
        for count in [0, 1, 31, 32, 33, 256] {
            let mut dirs = Dirs::default();
            (0..count).for_each(|at: u16| dirs.add((at * 3 % 256) as u8));
            let mut bytes = Vec::new();
            dirs.write(&mut bytes);
            let mut reader = Reader::new(&bytes);
            assert_eq!((Dirs::read(&mut reader), reader.len()), (Some(dirs), 0));
        }
    }
}
