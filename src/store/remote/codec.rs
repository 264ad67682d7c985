//! zstd, with a bound on what comes out.

use std::io::{self, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Quick: what is compressed better costs more time than it saves on the way.
const LEVEL: i32 = 3;
/// How much of an object is tried.
const SAMPLE: usize = 256 << 10;

/// `bytes`, smaller.
pub fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(bytes, LEVEL)
}

/// The stream of what is read from `from`, smaller, into `to`.
pub fn compress_into(mut from: impl Read, to: impl io::Write) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(to, LEVEL)?;
    io::copy(&mut from, &mut encoder)?;
    encoder.finish()?.flush()
}

/// What was compressed. More than `most` bytes are an error: a few bytes can stand for very many.
pub fn decompress(bytes: &[u8], most: u64) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    let mut decoder = zstd::Decoder::new(bytes)?.take(most + 1);
    decoder.read_to_end(&mut plain)?;
    match plain.len() as u64 <= most {
        true => Ok(plain),
        false => Err(io::Error::other(format!("it has more than the {most} bytes that it may have"))),
    }
}

/// Whether an object that begins so gets smaller by a tenth. Packages and archives do not.
pub fn is_worthwhile(mut object: impl Read) -> io::Result<bool> {
    let mut sample = vec![0; SAMPLE];
    let mut filled = 0;
    while filled < SAMPLE {
        match object.read(&mut sample[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    let compressed = compress(&sample[..filled])?;
    Ok(compressed.len() < filled / 10 * 9)
}

/// JSON, compressed.
pub fn encode(record: &impl Serialize) -> io::Result<Vec<u8>> {
    compress(&serde_json::to_vec(record)?)
}

/// What [`encode`] made.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], most: u64) -> io::Result<T> {
    Ok(serde_json::from_slice(&decompress(bytes, most)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_is_bounded() {
        let bomb = compress(&vec![0; 1 << 20]).unwrap();
        assert!(bomb.len() < 1000);
        assert_eq!(decompress(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        assert!(decompress(&bomb, (1 << 20) - 1).unwrap_err().to_string().contains("more than the 1048575"));
        assert!(decompress(&bomb[..bomb.len() - 3], 1 << 20).is_err(), "torn");
    }

    #[test]
    fn only_what_compresses_is_compressed() {
        let text = "all work and no play ".repeat(1000);
        assert!(is_worthwhile(text.as_bytes()).unwrap());
        assert!(!is_worthwhile(compress(text.as_bytes()).unwrap().as_slice()).unwrap());
        assert!(!is_worthwhile(&b""[..]).unwrap());
    }
}
