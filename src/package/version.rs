/// A version as packages have it. What leads to a release (`28.0-rc1`) comes before it, which dpkg
/// and rpm know by a tilde (`28.0~rc1`); a hyphen would come after it for the one, and is no part
/// of a version for the other.
pub fn packaged_version(version: &str) -> String {
    let mut packaged = String::new();
    let mut rest = version.chars().peekable();
    while let Some(c) = rest.next() {
        let is_pre_release = c == '-' && rest.peek().is_some_and(char::is_ascii_alphabetic);
        packaged.push(if is_pre_release { '~' } else { c });
    }
    packaged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::testing::tool;

    #[test]
    fn a_pre_release_comes_before_its_release_for_dpkg() {
        assert_eq!(packaged_version("28.0-rc1"), "28.0~rc1");
        for unchanged in ["27.3.4.1", "1.18.3", "1.0-2", "2.0+dfsg", "1.0~beta"] {
            assert_eq!(packaged_version(unchanged), unchanged);
        }
        let rc = packaged_version("28.0-rc1") + "-1";
        let mut dpkg = tool("dpkg", "dpkg");
        assert!(dpkg.args(["--compare-versions", &rc, "lt", "28.0-1"]).status().unwrap().success());
    }
}
