use super::unpack::Rules;

/// What dpkg leaves out while it unpacks, in the image and whenever something is installed
/// into it later. Directories of manual pages stay: maintainer scripts rely on them. And no
/// flush for each file: what a crash leaves of an image is thrown away.
pub(super) const DPKG_OPTIONS: [&str; 10] = [
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/linda/*",
    "path-exclude=/usr/share/groff/*",
    "path-exclude=/usr/share/gnome/help/*",
];

/// Directories that stay, empty: what is in them is of one machine or one moment.
const EMPTIED: [&str; 18] = [
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
    "etc/apt/sources.list.d",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "var/cache/apparmor",
    "var/cache/apt",
    "var/cache/fontconfig",
    "var/cache/ldconfig",
    "var/cache/man",
    "var/lib/apt/lists",
    "var/lib/systemd/catalog",
    "var/log",
    "var/tmp",
];

/// Files of one machine or one moment, locks, and copies of what was before.
const LEFT_OUT: [&str; 22] = [
    "etc/.pwd.lock",
    "etc/apt/sources.list",
    "etc/group-",
    "etc/gshadow-",
    "etc/hostname",
    "etc/hosts",
    "etc/machine-id",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/lib/apt/extended_states",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/triggers/Lock",
];

/// The rules for an installed system.
pub(super) struct Image;

impl Rules for Image {
    fn place(&self, path: &str) -> Option<String> {
        let emptied =
            EMPTIED.iter().any(|dir| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/')));
        let manual = path.strip_prefix("usr/share/man/").is_some_and(|rest| rest.contains('/'));
        // Compiled when a package is configured, and not always to the same bytes.
        let compiled = path.split('/').any(|part| part == "__pycache__");
        let kept = !(emptied || manual || compiled || LEFT_OUT.contains(&path));
        kept.then(|| path.to_owned())
    }

    /// Without owners, a setuid or setgid bit would give somebody else's rights: those of root.
    fn mode(&self, mode: u32, _is_dir: bool) -> u32 {
        mode & 0o1777
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_one_machine_is_left_out_and_the_rest_stays() {
        for path in
            ["var/log/apt/term.log", "etc/resolv.conf", "dev/null", "usr/lib/python3/__pycache__/a.pyc"]
        {
            assert_eq!(Image.place(path), None, "{path}");
        }
        for path in ["var/log", "dev", "etc/apt/trusted.gpg.d/a.asc", "usr/share/man/man1", "devices/x"] {
            assert_eq!(Image.place(path).as_deref(), Some(path));
        }
    }

    #[test]
    fn only_the_sticky_bit_stays() {
        assert_eq!((Image.mode(0o1777, true), Image.mode(0o6755, false)), (0o1777, 0o755));
    }
}
