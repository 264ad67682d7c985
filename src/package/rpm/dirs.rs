//! Directories that belong to the system, which no package owns beside its own `filesystem`.

/// Those that the `filesystem` packages of the RHEL family and of Fedora own, and what else every
/// such system has. Their modes differ between releases (`/usr/bin` is 0555 there), and a package
/// that owns them with another mode cannot be installed.
const SYSTEM: &str = "
    bin boot dev etc etc/X11 etc/X11/applnk etc/X11/fontpath.d etc/X11/xinit
    etc/X11/xinit/Xclients.d etc/X11/xinit/xinitrc.d etc/bash_completion.d etc/cron.d etc/cron.daily
    etc/default etc/init.d etc/ld.so.conf.d etc/logrotate.d etc/opt etc/pam.d etc/pki etc/pm
    etc/profile.d etc/rc.d etc/rc.d/init.d etc/security etc/skel etc/ssl etc/sudoers.d etc/sysconfig
    etc/sysctl.d etc/systemd etc/systemd/system etc/systemd/user etc/tmpfiles.d etc/udev
    etc/udev/rules.d etc/xdg etc/xdg/autostart etc/yum.repos.d home lib lib64 media mnt opt proc
    root run sbin srv sys tmp usr usr/bin usr/games usr/include usr/lib usr/lib/debug
    usr/lib/firewalld usr/lib/firewalld/services usr/lib/games usr/lib/locale usr/lib/modprobe.d
    usr/lib/modules usr/lib/modules-load.d usr/lib/pkgconfig usr/lib/rpm usr/lib/rpm/macros.d
    usr/lib/sse2 usr/lib/sysctl.d usr/lib/sysimage usr/lib/systemd usr/lib/systemd/system
    usr/lib/systemd/user usr/lib/sysusers.d usr/lib/tmpfiles.d usr/lib/udev usr/lib/udev/rules.d
    usr/lib64 usr/lib64/X11 usr/lib64/bpf usr/lib64/games usr/lib64/pkgconfig usr/lib64/pm-utils
    usr/libexec usr/local usr/sbin usr/share usr/share/X11 usr/share/X11/fonts usr/share/aclocal
    usr/share/appdata usr/share/applications usr/share/augeas usr/share/augeas/lenses
    usr/share/backgrounds usr/share/bash-completion usr/share/bash-completion/completions
    usr/share/bash-completion/helpers usr/share/desktop-directories usr/share/dict usr/share/doc
    usr/share/empty usr/share/fish usr/share/fish/vendor_completions.d usr/share/fonts
    usr/share/games usr/share/ghostscript usr/share/gnome usr/share/help usr/share/icons
    usr/share/idl usr/share/info usr/share/licenses usr/share/locale usr/share/man
    usr/share/metainfo usr/share/mime usr/share/mime-info usr/share/mime/packages usr/share/misc
    usr/share/omf usr/share/pixmaps usr/share/pkgconfig usr/share/polkit-1
    usr/share/polkit-1/actions usr/share/sounds usr/share/themes usr/share/wayland-sessions
    usr/share/xsessions usr/share/zsh usr/share/zsh/site-functions usr/src usr/src/debug
    usr/src/kernels usr/tmp var var/adm var/cache var/crash var/db var/empty var/ftp var/games
    var/gopher var/kerberos var/lib var/lib/games var/lib/misc var/lib/rpm-state var/local var/lock
    var/log var/mail var/nis var/opt var/preserve var/run var/spool var/spool/cron var/spool/lpd
    var/spool/mail var/tmp var/yp
";

/// Whether the directory at `path`, relative to the root, is the system's own.
pub(super) fn is_of_system(path: &str) -> bool {
    SYSTEM.split_whitespace().any(|dir| dir == path)
        || path.starts_with("usr/local/")
        || is_below(path, "usr/share/man")
        || is_below(path, "usr/share/locale")
}

/// Languages and their sections: `usr/share/man/man1`, `usr/share/man/de/man1`.
fn is_below(path: &str, parent: &str) -> bool {
    let rest = path.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/'));
    rest.is_some_and(|rest| rest.split('/').count() <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_owns_its_own_directories_alone() {
        for system in
            ["usr", "usr/bin", "etc", "opt", "usr/share/man/man1", "usr/share/man/de/man3", "usr/local/bin"]
        {
            assert!(is_of_system(system), "{system}");
        }
        for own in [
            "opt/sample",
            "usr/lib/sample",
            "etc/sample",
            "usr/share/doc/sample",
            "usr/share/licenses/sample",
        ] {
            assert!(!is_of_system(own), "{own}");
        }
    }
}
