use std::io::{self, Read, Seek, Write};
use std::num::NonZeroUsize;

use md5::Md5;
use rpm::{Header, HeaderEntry, IndexData, IndexSignatureTag, Lead, PackageMetadata};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::payload::Payload;
use super::{Rpm, RpmGenerated};
use crate::keys::{PacketSignature, SigningKeys};
use crate::package::layout::{Layout, Written};
use crate::package::object::{TempFile, hex};
use crate::package::{MaintainerScript, PackageError};
use crate::store::{LocalStore, StoreError, Tree};

impl Rpm {
    /// Writes the package to `out`: `payload`, whose paths are relative to `/` and whose bytes
    /// `store` holds, and what comes from this description; signed by the one key of `keys`, if there
    /// is one. It compresses on at most `threads` threads; their number never shows in the bytes. In
    /// memory there is the header, and what the compressor takes; the packed payload waits in a
    /// file of the store's.
    ///
    /// # Errors
    ///
    /// A field or path that no package may have; an object that is absent or damaged; more than
    /// 4 GiB; a full disk; a key that cannot sign. What was written to `out` by then is no package.
    pub fn write_on(
        &self,
        threads: NonZeroUsize,
        payload: &Tree,
        generated: &RpmGenerated,
        keys: Option<&SigningKeys>,
        store: &LocalStore,
        out: &mut dyn Write,
    ) -> Result<(), PackageError> {
        self.compression.check()?;
        self.check()?;
        let date = self.date()?;
        let layout = Layout::new(payload, self.written_files())?;
        self.check_conffiles(&layout)?;
        let mut payload = self.payload(&layout, store, threads, date)?;
        let header = self.header(&payload, generated, date)?;
        let lead = Lead::new(&format!("{}-{}", self.name, self.version.without_epoch()));
        let unsigned = Header::<IndexSignatureTag>::new_empty();
        let mut metadata = PackageMetadata { lead, signature: unsigned, header };
        let bytes = metadata.header_bytes().map_err(|error| PackageError::Write(io::Error::other(error)))?;
        let signature = keys.map(|keys| keys.sign_packet(&bytes, self.source_date_epoch)).transpose()?;
        metadata.signature = signature_header(&bytes, &mut payload, signature)?;
        metadata.write(&mut &mut *out).map_err(|error| PackageError::Write(io::Error::other(error)))?;
        io::copy(&mut payload.archive.file, out).map(|_| ()).map_err(PackageError::Write)
    }

    fn written_files(&self) -> Vec<Written> {
        let copyright = self.copyright.iter().map(|text| Written {
            path: format!("usr/share/licenses/{}/copyright", self.name),
            from: "copyright",
            bytes: format!("{}\n", text.trim_end()).into_bytes(),
        });
        copyright.collect()
    }

    /// rpm counts seconds in 32 bits, until 2106.
    fn date(&self) -> Result<u32, PackageError> {
        let fits = u32::try_from(self.source_date_epoch).ok().filter(|date| *date < u32::MAX - 86_400);
        fits.ok_or_else(|| PackageError::Field {
            field: "source date epoch",
            value: self.source_date_epoch.to_string(),
            expected: "seconds since 1970, before the year 2106",
        })
    }

    fn check(&self) -> Result<(), PackageError> {
        let one_line = |text: &str| !text.trim().is_empty() && !text.chars().any(char::is_control);
        let mut lines =
            vec![("packager", &self.packager), ("license", &self.license), ("summary", &self.summary)];
        for (field, text) in [("vendor", &self.vendor), ("group", &self.group), ("homepage", &self.homepage)]
        {
            lines.extend(text.iter().map(|text| (field, text)));
        }
        if let Some((field, value)) = lines.into_iter().find(|(_, text)| !one_line(text)) {
            let value = value.clone();
            return Err(PackageError::Field { field, value, expected: "one line of text" });
        }
        let of_lines = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
        for (field, text) in [("description", &self.description), ("changelog", &self.changelog)] {
            if !of_lines(text) || (field == "changelog" && text.trim().is_empty()) {
                let expected = "lines of text without tabs and other control characters";
                return Err(PackageError::Field { field, value: text.clone(), expected });
            }
        }
        self.scripts.iter().try_for_each(|(script, text)| check_script(*script, text))
    }

    fn check_conffiles(&self, layout: &Layout) -> Result<(), PackageError> {
        for path in &self.conffiles {
            let relative = path.strip_prefix('/').ok_or_else(|| PackageError::Field {
                field: "conffile",
                value: path.clone(),
                expected: "an absolute path such as `/etc/name.conf`",
            })?;
            if !layout.has_file(relative) {
                let reason = "it is a conffile, but the payload has no regular file there";
                return Err(PackageError::payload(relative, reason));
            }
        }
        Ok(())
    }
}

fn check_script(script: MaintainerScript, text: &str) -> Result<(), PackageError> {
    let first = text.lines().next().unwrap_or_default();
    let program = first.strip_prefix("#!").map(str::trim_start);
    match program.is_some_and(|program| program.starts_with('/')) && !text.contains('\0') {
        true => Ok(()),
        false => Err(PackageError::Field {
            field: script.file_name(),
            value: first.to_owned(),
            expected: "a script that begins with its interpreter, such as `#!/bin/sh`",
        }),
    }
}

/// Digests and the signature of the header, and the sizes that older releases of rpm want.
fn signature_header(
    header: &[u8],
    payload: &mut Payload,
    signature: Option<PacketSignature>,
) -> Result<Header<IndexSignatureTag>, PackageError> {
    use IndexSignatureTag::*;
    let mut entries = Vec::new();
    let mut add = |tag: IndexSignatureTag, data| entries.push(HeaderEntry::new(tag as u32, data));
    if let Some(PacketSignature { is_rsa, bytes }) = signature {
        add(if is_rsa { RPMSIGTAG_RSA } else { RPMSIGTAG_DSA }, IndexData::Bin(bytes));
    }
    add(RPMSIGTAG_SHA1, IndexData::StringTag(hex(&Sha1::digest(header))));
    add(RPMSIGTAG_SHA256, IndexData::StringTag(hex(&Sha256::digest(header))));
    let size = header.len() as u64 + payload.archive.size;
    let limit = u64::from(u32::MAX);
    let too_large = |_| PackageError::TooLarge { part: "the package".to_owned(), size, limit };
    add(RPMSIGTAG_SIZE, IndexData::Int32(vec![u32::try_from(size).map_err(too_large)?]));
    add(RPMSIGTAG_MD5, IndexData::Bin(md5_of(header, &mut payload.archive)?));
    add(RPMSIGTAG_PAYLOADSIZE, IndexData::Int32(vec![payload.unpacked_size]));
    Ok(Header::from_entries(entries, HEADER_SIGNATURES))
}

/// Of header and payload: what rpm before 4.14 (RHEL 7) has to notice a damaged payload by.
fn md5_of(header: &[u8], archive: &mut TempFile) -> Result<Vec<u8>, PackageError> {
    let mut md5 = Md5::new();
    md5.update(header);
    let mut buffer = vec![0; 1 << 16];
    let unreadable = |error| PackageError::from(StoreError::io("read", "the packed payload")(error));
    loop {
        match archive.file.read(&mut buffer).map_err(unreadable)? {
            0 => break,
            length => md5.update(&buffer[..length]),
        }
    }
    archive.file.rewind().map_err(unreadable)?;
    Ok(md5.finalize().to_vec())
}
