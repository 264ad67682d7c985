use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::graph::machine_platform;
use crate::store::{LocalStore, StoreError};

/// Where the kernel tells of registered emulators.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// Programs of a platform do not run on this machine.
#[derive(Debug, thiserror::Error)]
#[error("{machine} runs no program of {platform}: {reason}")]
pub struct NoEmulation {
    machine: String,
    platform: String,
    reason: &'static str,
    /// What to do about it.
    pub fix: String,
}

/// Whether programs of `platform` need an emulator on this machine.
pub fn is_foreign(platform: &str) -> bool {
    let machine = machine_platform();
    let is_part = machine == "linux/amd64" && platform == "linux/386";
    !is_part && platform != machine && !platform.starts_with(&format!("{machine}/"))
}

/// Tries whether programs of a foreign platform run here, in a root that holds nothing but
/// themselves, as actions and images are. A platform that is not in reach of the test passes.
pub fn try_emulation(platform: &str, store: &LocalStore) -> Result<Result<(), NoEmulation>, StoreError> {
    let Some(emulated) = Emulated::of(platform) else { return Ok(Ok(())) };
    let scratch = store.scratch()?;
    let root = scratch.path().join("root");
    let program = root.join("exit");
    fs::create_dir(&root).map_err(StoreError::io("create", &root))?;
    fs::write(&program, emulated.program()).map_err(StoreError::io("write", &program))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .map_err(StoreError::io("write", &program))?;
    if !fails_alone(&root)? {
        return Ok(Ok(()));
    }
    let runs_here = Command::new(&program).output().is_ok_and(|done| done.status.success());
    Ok(Err(emulated.missing(platform, runs_here)))
}

/// Whether the program in `root` cannot be started there; false where no root can be changed.
fn fails_alone(root: &Path) -> Result<bool, StoreError> {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.arg("--root").arg(root).arg("/exit").env("LC_ALL", "C");
    let done = command.output().map_err(StoreError::io("run", "unshare"))?;
    Ok(!done.status.success() && String::from_utf8_lossy(&done.stderr).contains("failed to execute"))
}

/// A processor that this can write a program for.
struct Emulated {
    /// As ELF numbers it (`e_machine`).
    machine: u16,
    /// As qemu calls it.
    qemu: &'static str,
    /// Its instructions for `exit(0)`.
    code: &'static [u8],
}

impl Emulated {
    fn of(platform: &str) -> Option<Self> {
        let architecture = platform.strip_prefix("linux/")?.split('/').next()?;
        let (machine, qemu, code): (_, _, &[u8]) = match architecture {
            // mov edi, 0; mov eax, 60; syscall
            "amd64" => (62, "x86_64", &[0xbf, 0, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]),
            // mov x0, #0; mov x8, #93; svc #0
            "arm64" => (183, "aarch64", &[0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4]),
            // li a0, 0; li a7, 93; ecall
            "riscv64" => (243, "riscv64", &[0x13, 5, 0, 0, 0x93, 8, 0xd0, 5, 0x73, 0, 0, 0]),
            _ => return None,
        };
        Some(Self { machine, qemu, code })
    }

    /// A static ELF program (64 bits, little-endian): the header, one segment, the code.
    fn program(&self) -> Vec<u8> {
        const BASE: u64 = 0x1_0000;
        const HEADERS: u64 = 64 + 56;
        let size = HEADERS + self.code.len() as u64;
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        let mut put = |value: u64, length: usize| bytes.extend(&value.to_le_bytes()[..length]);
        // e_type EXEC, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags
        for (value, length) in
            [(2, 2), (self.machine.into(), 2), (1, 4), (BASE + HEADERS, 8), (64, 8), (0, 8), (0, 4)]
        {
            put(value, length);
        }
        // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
        for value in [64, 56, 1, 0, 0, 0] {
            put(value, 2);
        }
        // p_type LOAD, p_flags read and execute, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
        for (value, length) in
            [(1, 4), (5, 4), (0, 8), (BASE, 8), (BASE, 8), (size, 8), (size, 8), (0x1_0000, 8)]
        {
            put(value, length);
        }
        bytes.extend(self.code);
        bytes
    }

    /// `runs_here` where the program is started if the emulator need not be found inside an image.
    fn missing(&self, platform: &str, runs_here: bool) -> NoEmulation {
        let reason = match runs_here {
            true => "its emulator is registered without the flag F, and is not to be found inside an image",
            false => "no emulator is registered with the kernel (binfmt_misc)",
        };
        let mount = match Path::new(BINFMT).join("register").exists() {
            true => String::new(),
            false => format!("mount -t binfmt_misc binfmt_misc {BINFMT} && "),
        };
        let fix = format!(
            "as root, on Debian and its like: {mount}apt-get install qemu-user-static binfmt-support && \
             update-binfmts --enable qemu-{}",
            self.qemu
        );
        NoEmulation { machine: machine_platform().to_string(), platform: platform.to_owned(), reason, fix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_platform_is_not_foreign() {
        let own = machine_platform();
        assert!(!is_foreign(own) && !is_foreign(&format!("{own}/v8")));
        assert!(is_foreign("linux/s390x"));
    }

    #[test]
    fn programs_that_do_nothing_run_here() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        for platform in ["linux/amd64", "linux/arm64"] {
            if let Err(error) = try_emulation(platform, &store).unwrap() {
                panic!("this test needs an emulator ({error}); {}", error.fix);
            }
        }
        assert_eq!(fs::read_dir(dir.path().join("scratch")).unwrap().count(), 0, "something is left");
    }

    #[test]
    fn what_is_missing_comes_with_the_command_that_brings_it() {
        let arm = Emulated::of("linux/arm64/v8").unwrap();
        let told = |runs_here| arm.missing("linux/arm64/v8", runs_here).to_string();
        assert!(told(false).contains("no emulator is registered"));
        assert!(told(true).contains("flag F"));
        assert!(arm.missing("", false).fix.contains("update-binfmts --enable qemu-aarch64"));
    }
}
