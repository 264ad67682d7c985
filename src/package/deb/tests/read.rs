//! The reader, on sound packages and on hostile ones.

use std::io::{Read, Write};
use std::path::PathBuf;

use super::{LONG, rich_deb, rich_payload};
use crate::package::deb::testing::{Bench, deb, run, tool};
use crate::package::{Compression, Deb, DebInfo, PackageError};
use crate::store::{Kind, Tree};

fn read(bytes: &[u8]) -> Result<DebInfo, PackageError> {
    DebInfo::read(bytes)
}

fn fault(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

/// An ar archive of `members`.
fn package(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, body) in members {
        writeln!(bytes, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, "100644", body.len()).unwrap();
        bytes.extend_from_slice(body);
        if body.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// A tar archive of one entry, without its end.
fn tar_entry(kind: u8, name: &str, size: u64, body: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

const CONTROL: &[u8] = b"Package: x\nVersion: 1\nArchitecture: all\n";

fn control_tar() -> Vec<u8> {
    tar_entry(b'0', "./control", CONTROL.len() as u64, CONTROL)
}

fn with_data(data: &[u8]) -> Vec<u8> {
    package(&[("debian-binary", b"2.0\n"), ("control.tar", &control_tar()), ("data.tar", data)])
}

#[test]
fn what_was_written_is_read() {
    let bench = Bench::new();
    let payload = rich_payload(&bench);
    for compression in [Compression::Xz { level: 6 }, Compression::Zstd { level: 3 }, Compression::Gzip] {
        let deb = Deb { compression, ..rich_deb() };
        let path = bench.package(&deb, &payload);
        let info = DebInfo::read(std::fs::File::open(&path).unwrap()).unwrap();

        let mut paths = info.paths.clone();
        paths.sort();
        let own = ["changelog.Debian.gz", "copyright"].map(|f| format!("usr/share/doc/forge-sample/{f}"));
        let packed = payload.entries().iter().filter(|entry| entry.kind != Kind::Dir);
        let mut expected: Vec<PathBuf> = packed.map(|entry| PathBuf::from(&entry.path)).collect();
        expected.extend(own.map(PathBuf::from));
        expected.sort();
        assert_eq!(paths, expected);
        assert!(paths.contains(&PathBuf::from(LONG)));

        let stanza: String = info.fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        assert_eq!(stanza, run(tool("dpkg-deb", "dpkg").arg("--field").arg(&path)));
        assert_eq!(info.field("package"), Some("forge-sample"));
        assert_eq!(info.size, std::fs::metadata(&path).unwrap().len());
        for (sum, program) in [(&info.md5, "md5sum"), (&info.sha256, "sha256sum")] {
            assert!(run(tool(program, "coreutils").arg(&path)).starts_with(&format!("{sum} ")));
        }
    }
}

#[test]
fn packages_of_dpkg_deb_are_read() {
    let bench = Bench::new();
    let ours = bench.package(&rich_deb(), &rich_payload(&bench));
    let (tree, built) = (bench.path("tree"), bench.path("built.deb"));
    let dpkg_deb = || tool("dpkg-deb", "dpkg");
    run(dpkg_deb().arg("--raw-extract").args([&ours, &tree]));
    for compression in ["-Zxz", "-Zgzip", "-Zzstd", "-Znone"] {
        run(dpkg_deb().args(["--root-owner-group", compression, "--build"]).args([&tree, &built]));
        let info = DebInfo::read(std::fs::File::open(&built).unwrap()).unwrap();
        assert_eq!(info.paths.len(), 11, "{compression}");
        assert_eq!(info.field("Installed-Size"), Some("25"));
    }
}

#[test]
fn a_package_cut_anywhere_is_an_error_and_never_a_panic() {
    let bench = Bench::new();
    for compression in [Compression::Xz { level: 0 }, Compression::Zstd { level: 1 }, Compression::Gzip] {
        let bytes = bench.bytes(&Deb { compression, ..deb() }, &Tree::default());
        for length in 0..bytes.len() {
            // The last member may go without its padding.
            let padding = length + 1 == bytes.len() && bytes.ends_with(b"\n");
            assert!(padding || read(&bytes[..length]).is_err(), "{compression}: cut at {length}");
        }
        read(&bytes).unwrap();
    }
}

#[test]
fn a_package_with_any_byte_flipped_never_panics() {
    let bench = Bench::new();
    for compression in [Compression::Xz { level: 0 }, Compression::Zstd { level: 1 }, Compression::Gzip] {
        let mut bytes = bench.bytes(&Deb { compression, ..deb() }, &Tree::default());
        for at in 0..bytes.len() {
            bytes[at] ^= 0xff;
            let _ = read(&bytes);
            bytes[at] ^= 0xff;
        }
    }
}

#[test]
fn what_is_no_package_is_told_by_its_part() {
    let control = control_tar();
    let binary: (&str, &[u8]) = ("debian-binary", b"2.0\n");
    assert!(fault(b"").contains("!<arch>"));
    assert!(fault(b"PK\x03\x04 a zip file").contains("!<arch>"));
    assert!(fault(&package(&[("control.tar", &control)])).contains("debian-binary: it is not the first"));
    assert!(fault(&package(&[("debian-binary", b"3.0\n")])).contains("the format is not 2"));
    assert!(
        fault(&package(&[binary, ("data.tar", b"")]))
            .contains("expected control.tar, found the member 'data.tar'")
    );
    assert!(fault(&package(&[binary, ("control.tar.rar", b"")])).contains("cannot unpack '.rar'"));
    assert!(fault(&package(&[binary, ("control.tar", b"")])).contains("it has no control file"));
    assert!(fault(&package(&[binary, ("control.tar", &control)])).contains("ends too early"));
    assert!(fault(&package(&[binary, ("control.tar.xz", b"no xz")])).contains("control.tar: "));
    let nameless = tar_entry(b'0', "control", 11, b"Version: 1\n");
    assert!(fault(&package(&[binary, ("control.tar", &nameless)])).contains("it has no field Package"));
    let latin = tar_entry(b'0', "control", 12, b"Package: \xe9\xe9\n");
    assert!(fault(&package(&[binary, ("control.tar", &latin)])).contains("it is not UTF-8"));
}

#[test]
fn members_of_later_formats_are_passed_over_but_summed_up() {
    let members: [(&str, &[u8]); 5] = [
        ("debian-binary", b"2.1\nmore\n"),
        ("_first", b"abc"),
        ("control.tar/", &control_tar()),
        ("data.tar/", b""),
        ("later", b"x"),
    ];
    let bytes = package(&members);
    let info = read(&bytes).unwrap();
    assert_eq!(info.size, bytes.len() as u64);
    assert!(info.paths.is_empty());
}

#[test]
fn sizes_that_lie_are_errors() {
    let mut bytes = package(&[("debian-binary", b"2.0\n"), ("control.tar", b"")]);
    let at = bytes.len() - 12;
    bytes[at..at + 10].copy_from_slice(b"9999999999");
    assert!(fault(&bytes).contains("control.tar") || fault(&bytes).contains("ends too early"));
    bytes[at..at + 10].copy_from_slice(b"-1        ");
    assert!(fault(&bytes).contains("no size"));
    assert!(fault(&with_data(&tar_entry(b'0', "./a", u64::MAX, b"abc"))).contains("data.tar"));
    assert!(fault(&with_data(&tar_entry(b'0', "./a", 1 << 40, b"abc"))).contains("data.tar"));
}

#[test]
fn odd_entries_are_refused_as_dpkg_does() {
    assert!(fault(&with_data(&tar_entry(b'x', "pax", 0, b""))).contains("no tar entry of type 'x'"));
    assert!(fault(&with_data(&tar_entry(b'0', "./a\nb", 0, b""))).contains("line feed"));
    assert!(fault(&with_data(&tar_entry(b'0', ".", 0, b""))).contains("empty"));
    let dir_of_old = tar_entry(b'0', "./dir/", 0, b"");
    assert!(read(&with_data(&dir_of_old)).unwrap().paths.is_empty());
}

#[test]
fn bombs_do_not_fill_the_memory() {
    // A name of 64 MiB.
    let name = vec![b'a'; 64 << 20];
    let long = tar_entry(b'L', "././@LongLink", name.len() as u64, &name);
    assert!(fault(&with_data(&long)).contains("more than any package holds"));

    // A control file that unpacks to 256 MiB from a few KiB.
    let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let size = 256 << 20;
    packed.write_all(&tar_entry(b'0', "./control", size, b"")).unwrap();
    std::io::copy(&mut std::io::repeat(b'a').take(size), &mut packed).unwrap();
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 1 << 20);
    let bomb = package(&[("debian-binary", b"2.0\n"), ("control.tar.zst", &packed)]);
    assert!(fault(&bomb).contains("more than any package holds"));

    // An xz stream whose header asks for a dictionary of 3 GiB.
    let mut packed = liblzma::write::XzEncoder::new(Vec::new(), 0);
    packed.write_all(&control_tar()).unwrap();
    let mut packed = packed.finish().unwrap();
    assert_eq!(packed[12..16], [2, 0, 0x21, 1], "a block of one LZMA2 filter");
    packed[16] = 39;
    let mut sum = flate2::Crc::new();
    sum.update(&packed[12..20]);
    packed[20..24].copy_from_slice(&sum.sum().to_le_bytes());
    let bomb = package(&[("debian-binary", b"2.0\n"), ("control.tar.xz", &packed)]);
    assert!(fault(&bomb).to_lowercase().contains("memory"), "{}", fault(&bomb));
}
