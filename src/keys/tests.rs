use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::testing::{Gpg, KEY_TIME, NOW, gpgv, load_key, new_key, source};
use super::{Fault, KeyError, KeySource, Secret, SigningKeys, generate_key};

fn fault(path: &Path, now: u64) -> Fault {
    match SigningKeys::load(&[source(path.into())], now) {
        Err(KeyError::Unfit { fault, fingerprint, .. }) => {
            assert_eq!(fingerprint.len(), 40);
            fault
        }
        other => panic!("{other:?}"),
    }
}

/// Has gpgv check both kinds of signature over a text with all that the format makes difficult.
fn signs(keys: &SigningKeys, dir: &Path) -> String {
    let text = "Origin: x\n- dashed\n-----BEGIN\nFrom here\ntrailing spaces \t \n\nlast: line\n";
    let path = |name: &str, bytes: &[u8]| {
        fs::write(dir.join(name), bytes).unwrap();
        dir.join(name)
    };
    let ring = path("ring.gpg", &keys.public_binary().unwrap());
    let inline = path("InRelease", keys.sign_cleartext(text, NOW).unwrap().as_bytes());
    let detached = path("Release.gpg", keys.sign_detached(text.as_bytes(), NOW).unwrap().as_bytes());
    let status = gpgv(&ring, &[&inline]);
    let data = path("Release", text.as_bytes());
    let status_detached = gpgv(&ring, &[&detached, &data]);
    let good = |status: &str| status.lines().filter(|line| line.contains(" GOODSIG ")).count();
    let count = keys.fingerprints().len();
    assert_eq!((good(&status), good(&status_detached)), (count, count), "{status}\n{status_detached}");

    fs::write(&inline, fs::read_to_string(&inline).unwrap().replace("Origin: x", "Origin: y")).unwrap();
    let mut refused = Command::new("gpgv");
    assert!(!refused.arg("--keyring").arg(&ring).arg(&inline).output().unwrap().status.success());
    status
}

#[test]
fn a_generated_key_is_one_that_gnupg_takes_and_gpgv_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let keys = load_key(dir.path(), "key.asc", &new_key());
    let status = signs(&keys, dir.path());
    assert!(status.contains(&format!(" VALIDSIG {} ", keys.fingerprints()[0])), "{status}");

    let gpg = Gpg::new();
    gpg.run(&["--import", &dir.path().join("key.asc").display().to_string()]);
    assert_eq!(gpg.fingerprints(), keys.fingerprints());
    let list = gpg.run(&["--with-colons", "--list-secret-keys"]);
    let secret: Vec<&str> = list.lines().next().unwrap().split(':').collect();
    assert_eq!((secret[3], secret[5], secret[6], secret[11]), ("22", "1700000000", "", "scSC"), "{list}");
    // And GnuPG signs with it.
    gpg.run(&[
        "--output",
        &gpg.path("out"),
        "--detach-sign",
        &dir.path().join("key.asc").display().to_string(),
    ]);
}

#[test]
fn the_same_text_and_time_give_the_same_signature() {
    let dir = tempfile::tempdir().unwrap();
    let keys = load_key(dir.path(), "key.asc", &new_key());
    assert_eq!(keys.sign_cleartext("a\n", NOW).unwrap(), keys.sign_cleartext("a\n", NOW).unwrap());
    assert_ne!(keys.sign_cleartext("a\n", NOW).unwrap(), keys.sign_cleartext("a\n", NOW + 1).unwrap());
    assert_eq!(keys.sign_detached(b"a", NOW).unwrap(), keys.sign_detached(b"a", NOW).unwrap());
    assert_eq!(keys.public_armored().unwrap(), keys.public_armored().unwrap());
}

#[test]
fn two_keys_sign_during_a_rotation_and_an_environment_variable_may_hold_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one.asc");
    fs::write(&path, new_key()).unwrap();
    // A variable that cargo sets holds no key; it shows that the variable is read, and named.
    let wrong = KeySource { key: Secret::Env("CARGO_PKG_NAME".into()), passphrase: None };
    let error = SigningKeys::load(&[wrong], NOW).unwrap_err().to_string();
    assert!(error.starts_with("environment variable CARGO_PKG_NAME holds no OpenPGP key"), "{error}");

    let second = dir.path().join("two.asc");
    fs::write(&second, new_key()).unwrap();
    let sources = [source(path.clone()), source(second), source(path)];
    let keys = SigningKeys::load(&sources, NOW).unwrap();
    assert_eq!(keys.fingerprints().len(), 2, "the same key twice is one");
    signs(&keys, dir.path());
}

#[test]
fn keys_of_gnupg_sign() {
    for (algorithm, usage) in [("ed25519", "sign,cert"), ("rsa3072", "default"), ("nistp256", "sign,cert")] {
        let gpg = Gpg::new();
        let path = gpg.make("", algorithm, usage, "never");
        let keys = SigningKeys::load(&[source(path)], NOW).unwrap();
        let status = signs(&keys, gpg.dir.path());
        assert!(status.contains(&format!(" {}\n", gpg.fingerprints()[0])), "{status}");
    }
}

#[test]
fn the_subkey_for_signing_is_preferred() {
    let gpg = Gpg::new();
    gpg.make("", "ed25519", "cert", "never");
    let primary = gpg.fingerprints()[0].clone();
    assert_eq!(fault(&gpg.export(""), NOW), Fault::CannotSign);
    gpg.run(&["--passphrase", "", "--quick-add-key", &primary, "ed25519", "sign", "never"]);
    let keys = SigningKeys::load(&[source(gpg.export(""))], NOW).unwrap();
    assert_eq!(keys.fingerprints(), [primary.as_str()]);
    let status = signs(&keys, gpg.dir.path());
    assert!(status.contains(&format!(" VALIDSIG {} ", gpg.fingerprints()[1])), "{status}");

    // The primary key may stay at home: its secret part is then a stub.
    let path = gpg.path("subkeys.asc");
    gpg.run(&["--armor", "--output", &path, "--export-secret-subkeys"]);
    signs(&SigningKeys::load(&[source(path.into())], NOW).unwrap(), gpg.dir.path());
}

#[test]
fn a_locked_key_needs_its_passphrase() {
    let gpg = Gpg::new();
    let path = gpg.make("secret words", "ed25519", "sign,cert", "never");
    assert_eq!(fault(&path, NOW), Fault::Locked);
    let load = |passphrase: &str| {
        fs::write(gpg.path("passphrase"), passphrase).unwrap();
        let passphrase = Some(Secret::File(gpg.path("passphrase").into()));
        SigningKeys::load(&[KeySource { key: Secret::File(path.clone()), passphrase }], NOW)
    };
    signs(&load("secret words\n").unwrap(), gpg.dir.path());
    let error = load("other words").unwrap_err();
    assert!(matches!(error, KeyError::Unfit { fault: Fault::WrongPassphrase, .. }), "{error}");
    assert!(!error.to_string().contains("words"));
}

#[test]
fn unfit_keys_are_refused_with_the_reason() {
    let gpg = Gpg::new();
    let path = gpg.make("", "ed25519", "sign,cert", "30d");
    assert_eq!(fault(&path, KEY_TIME - 1), Fault::NotYet);
    assert!(SigningKeys::load(&[source(path.clone())], KEY_TIME + 29 * 86_400).is_ok());
    assert_eq!(fault(&path, KEY_TIME + 40 * 86_400), Fault::Expired(10));

    let public = gpg.path("public.asc");
    gpg.run(&["--armor", "--output", &public, "--export"]);
    assert_eq!(fault(Path::new(&public), KEY_TIME), Fault::PublicOnly);

    let fingerprint = gpg.fingerprints()[0].clone();
    let certificate = gpg.dir.path().join(format!("openpgp-revocs.d/{fingerprint}.rev"));
    let revocation = fs::read_to_string(certificate).unwrap().replace(":-----BEGIN", "-----BEGIN");
    fs::write(gpg.path("revocation"), revocation).unwrap();
    gpg.run(&["--import", &gpg.path("revocation")]);
    assert_eq!(fault(&gpg.export(""), KEY_TIME), Fault::Revoked);
}

#[test]
fn a_lifetime_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.asc");
    let day = Duration::from_secs(86_400);
    fs::write(&path, generate_key("Short <s@example.org>", KEY_TIME, Some(day)).unwrap()).unwrap();
    assert!(SigningKeys::load(&[source(path.clone())], KEY_TIME + 86_399).is_ok());
    assert_eq!(fault(&path, KEY_TIME + 86_400), Fault::Expired(0));
}

#[test]
fn missing_and_foreign_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let text = |path: &Path| SigningKeys::load(&[source(path.into())], NOW).unwrap_err().to_string();
    let absent = dir.path().join("absent.asc");
    assert!(text(&absent).contains("absent.asc: No such file"), "{}", text(&absent));
    for content in ["", "no key", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n"] {
        let path = dir.path().join("text");
        fs::write(&path, content).unwrap();
        assert!(text(&path).contains("holds no OpenPGP key"), "{content:?}: {}", text(&path));
    }
    let unset = KeySource { key: Secret::Env("FORGE_TEST_UNSET".into()), passphrase: None };
    let error = SigningKeys::load(&[unset], NOW).unwrap_err().to_string();
    assert!(error.contains("environment variable FORGE_TEST_UNSET: it is not set"), "{error}");
    assert!(matches!(SigningKeys::load(&[], NOW), Err(KeyError::None)));
}

#[test]
fn nothing_secret_is_shown_by_debug() {
    let dir = tempfile::tempdir().unwrap();
    let keys = load_key(dir.path(), "key.asc", &new_key());
    assert_eq!(format!("{keys:?}"), format!("SigningKeys([\"{}\"])", keys.fingerprints()[0]));
}
