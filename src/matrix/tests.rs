//! The rules of the matrix, on a small one: three versions, three distributions, two
//! architectures.

use std::fs;

use super::*;
use crate::buildfile::{self, Buildfile, Dimension, Predicate};
use crate::upstream::Lock;

const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A Buildfile of the matrix and `more`.
fn declared(more: &str, profile: Option<&str>) -> Buildfile {
    let versions = ["27.3", "26.2.5", "27.10", "28.0-rc1"]
        .map(|version| format!("version \"{version}\" sha256=\"{DIGEST}\"\n"))
        .concat();
    let text = format!(
        r#"
        upstream "otp" {{ {versions} }}
        axis "otp" from="otp"
        axis "distro" {{
            value "debian-12" format="deb" codename="bookworm"
            value "debian-13" format="deb" codename="trixie"
            value "rocky-9" format="rpm"
        }}
        axis "arch" {{ value "amd64"; value "arm64" }}
        {more}
        "#
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("Buildfile.kdl");
    fs::write(&path, text).unwrap();
    buildfile::load(&path, profile, None).unwrap().0
}

fn resolved(buildfile: &Buildfile, selection: &[&str]) -> Result<Axes, String> {
    let selection: Vec<Predicate> = selection.iter().map(|text| Predicate::parse(text).unwrap()).collect();
    Axes::resolve(buildfile, &Lock::default(), &selection).map_err(|faults| faults.to_string())
}

fn dimensions(over: &str) -> Vec<Dimension> {
    let dimension = |word: &str| match word.split_once('.') {
        Some((axis, attribute)) => Dimension { axis: axis.into(), attribute: Some(attribute.into()) },
        None => Dimension { axis: word.into(), attribute: None },
    };
    over.split_whitespace().map(dimension).collect()
}

/// The selected values of an axis.
fn names(axes: &Axes, axis: &str) -> Vec<String> {
    let (_, axis) = axes.get(axis).unwrap();
    axis.selected_places().into_iter().map(|at| axis.points[at].name.to_string()).collect()
}

/// The cells over `over`, limited by `filter`, of a matrix with these rules.
fn cells(rules: &str, over: &str, filter: &[&str]) -> Vec<String> {
    let buildfile = declared(rules, None);
    let axes = resolved(&buildfile, &[]).unwrap();
    let filter: Vec<Predicate> = filter.iter().map(|text| Predicate::parse(text).unwrap()).collect();
    let mut expander = Expander::new(&axes, &buildfile.rules);
    expander.cells_over(&dimensions(over), &filter).iter().map(Cell::to_string).collect()
}

#[test]
fn versions_stand_oldest_first_and_values_as_declared() {
    let axes = resolved(&declared("", None), &[]).unwrap();
    assert_eq!(names(&axes, "otp"), ["26.2.5", "27.3", "27.10", "28.0-rc1"]);
    assert_eq!(names(&axes, "distro"), ["debian-12", "debian-13", "rocky-9"]);
}

#[test]
fn a_target_over_nothing_has_one_cell() {
    assert_eq!(cells("", "", &[]), [""]);
}

#[test]
fn cells_are_all_combinations_in_the_order_of_the_axes() {
    let all = cells("", "arch distro", &[]);
    assert_eq!(all.len(), 6);
    assert_eq!(all[..2], ["distro=debian-12,arch=amd64", "distro=debian-12,arch=arm64"]);
    assert_eq!(all[5], "distro=rocky-9,arch=arm64");
}

#[test]
fn an_attribute_groups_its_axis() {
    assert_eq!(cells("", "otp.major", &[]), ["otp.major=26", "otp.major=27", "otp.major=28"]);
    assert_eq!(cells("", "distro.format", &[]), ["distro.format=deb", "distro.format=rpm"]);
}

#[test]
fn a_group_is_there_as_long_as_one_of_its_values_is() {
    assert_eq!(cells("exclude otp=\"27.3\"", "otp.major", &["otp=<28"]), ["otp.major=26", "otp.major=27"]);
    assert_eq!(cells("exclude otp=\"27\"", "otp.major", &["otp=<28"]), ["otp.major=26"]);
}

#[test]
fn a_value_without_the_attribute_is_in_no_group() {
    assert_eq!(cells("", "distro.codename", &[]), ["distro.codename=bookworm", "distro.codename=trixie"]);
}

#[test]
fn a_filter_limits_a_target_by_values_and_attributes() {
    assert_eq!(cells("", "distro", &["distro.format=deb"]), ["distro=debian-12", "distro=debian-13"]);
    assert_eq!(cells("", "distro", &["distro.format=deb", "distro!=debian-12"]), ["distro=debian-13"]);
    assert_eq!(cells("", "otp", &["otp=>=27", "otp=<28"]), ["otp=27.3", "otp=27.10"]);
}

#[test]
fn a_rule_touches_targets_that_span_all_its_axes() {
    let rule = "exclude otp=\"26\" distro=\"rocky-9\"";
    assert_eq!(cells(rule, "otp distro", &[]).len(), 11);
    assert_eq!(cells(rule, "otp", &[]).len(), 4);
    assert_eq!(cells(rule, "distro arch", &[]).len(), 6);
}

#[test]
fn a_later_include_takes_cells_in_again() {
    let rules = r#"
        exclude distro="rocky-9"
        include otp="27.10" distro="rocky-9"
    "#;
    let rocky = cells(rules, "otp distro", &["distro=rocky-9"]);
    assert_eq!(rocky, ["otp=27.10,distro=rocky-9"]);
}

#[test]
fn the_last_rule_that_is_met_decides() {
    let rules = r#"
        include otp="27.10" distro="rocky-9"
        exclude distro="rocky-9"
    "#;
    assert!(cells(rules, "otp distro", &["distro=rocky-9"]).is_empty());
}

#[test]
fn idle_rules_are_told() {
    let buildfile = declared("exclude otp=\"<26\" arch=\"arm64\"\nexclude otp=\"26\"", None);
    let axes = resolved(&buildfile, &[]).unwrap();
    let mut expander = Expander::new(&axes, &buildfile.rules);
    expander.cells_over(&dimensions("otp arch"), &[]);
    assert_eq!(expander.idle_rules().len(), 1);
}

/// What of a target over `used` belongs to each cell of one over `user`: (cell, all, best).
fn joined(used: &str, user: &str) -> Vec<(String, Vec<String>, Option<String>)> {
    joined_with(used, user, &[])
}

/// The same, where the user fixes coordinates.
fn joined_with(used: &str, user: &str, fixed: &[&str]) -> Vec<(String, Vec<String>, Option<String>)> {
    let fixed: Vec<Predicate> = fixed.iter().map(|text| Predicate::parse(text).unwrap()).collect();
    let buildfile = declared("", None);
    let axes = resolved(&buildfile, &[]).unwrap();
    let mut expander = Expander::new(&axes, &buildfile.rules);
    let (used, user) = (dimensions(used), dimensions(user));
    let made = expander.cells_over(&used, &[]);
    let items = made.iter().cloned().enumerate().map(|(at, cell)| (cell, at)).collect();
    let join = Join::new(&axes, &used, &user, &fixed, items);
    let name = |at: usize| made[at].to_string();
    let users = expander.cells_over(&user, &[]);
    users
        .iter()
        .map(|cell| {
            (cell.to_string(), join.all(cell).into_iter().map(name).collect(), join.best(cell).map(name))
        })
        .collect()
}

#[test]
fn cells_join_where_they_agree_on_what_both_span() {
    for (cell, all, best) in joined("distro arch", "otp distro arch") {
        assert!(cell.ends_with(&all[0]), "{cell} {all:?}");
        assert_eq!((all.len(), best.as_ref()), (1, all.first()));
    }
}

#[test]
fn a_target_over_nothing_gathers_everything() {
    let joined = joined("otp distro", "");
    assert_eq!((joined.len(), joined[0].1.len()), (1, 12));
}

#[test]
fn what_spans_nothing_serves_every_cell() {
    assert!(joined("", "otp").iter().all(|(_, all, _)| all == &[String::new()]));
}

#[test]
fn a_group_gathers_its_values_and_a_value_finds_its_group() {
    let gathered = joined("otp", "otp.major");
    assert_eq!(gathered[1].1, ["otp=27.3", "otp=27.10"]);
    let found = joined("otp.major", "otp");
    assert_eq!(found[2], ("otp=27.10".into(), vec!["otp.major=27".into()], Some("otp.major=27".into())));
}

#[test]
fn the_newest_version_serves_where_one_is_needed() {
    let gathered = joined("otp distro", "otp.major");
    assert_eq!(gathered[1].2.as_deref(), Some("otp=27.10,distro=debian-12"));
}

#[test]
fn the_value_declared_first_serves_where_one_is_needed() {
    assert_eq!(joined("distro arch", "")[0].2.as_deref(), Some("distro=debian-12,arch=amd64"));
    assert_eq!(joined("distro", "distro.format")[0].2.as_deref(), Some("distro=debian-12"));
}

#[test]
fn a_fixed_coordinate_stands_for_the_cells_own() {
    for (cell, all, _) in joined_with("distro arch", "distro arch", &["arch=amd64"]) {
        let distro = cell.split(',').next().unwrap();
        assert_eq!(all, [format!("{distro},arch=amd64")]);
    }
    // Whatever else agrees still has to.
    let of_old = joined_with("otp distro", "otp.major", &["otp=26", "distro.format=rpm"]);
    assert!(of_old.iter().all(|(_, all, _)| all == &["otp=26.2.5,distro=rocky-9"]), "{of_old:?}");
    assert!(
        joined_with("otp", "otp", &["otp=25"]).iter().all(|(_, all, best)| all.is_empty() && best.is_none())
    );
    // A group agrees if one of its values does.
    assert_eq!(joined_with("otp.major", "distro", &["otp=27.10"])[0].1, ["otp.major=27"]);
}

/// The cells over `over` that agree with `agrees` where `selection` was made.
fn beyond(selection: &[&str], over: &str, agrees: impl Fn(&str) -> bool) -> Vec<String> {
    let buildfile = declared("exclude distro=\"rocky-9\" arch=\"arm64\"", None);
    let axes = resolved(&buildfile, selection).unwrap();
    let mut expander = Expander::new(&axes, &buildfile.rules);
    let cells = expander.cells_beyond(&dimensions(over), &[], |_, point| agrees(&point.name));
    cells.iter().map(Cell::to_string).collect()
}

#[test]
fn what_is_needed_is_found_beyond_the_selection_where_nothing_in_it_agrees() {
    let is_native = |value: &str| value != "arm64";
    assert_eq!(
        beyond(&["arch=arm64", "distro=debian-12"], "distro arch", is_native),
        ["distro=debian-12,arch=amd64"],
        "distro stays within the selection, arch does not"
    );
    assert_eq!(beyond(&["distro=debian-13"], "distro arch", |_| true).len(), 2);
    // Rules hold beyond the selection as well.
    assert!(beyond(&["distro=debian-12"], "distro arch", |v| v == "rocky-9" || v == "arm64").is_empty());
}

const PROFILES: &str = r#"
    profile "base" { choose otp="27.3" distro="debian-12" }
    profile "small" base="base" {
        choose otp="26"
        axis "arch" { value "riscv64" }
    }
"#;

#[test]
fn a_profile_chooses_and_its_base_does_where_it_does_not() {
    let axes = resolved(&declared(PROFILES, Some("base")), &[]).unwrap();
    assert_eq!(
        (names(&axes, "otp"), names(&axes, "distro")),
        (vec!["27.3".into()], vec!["debian-12".into()])
    );
    let axes = resolved(&declared(PROFILES, Some("small")), &[]).unwrap();
    assert_eq!(names(&axes, "otp"), ["26.2.5"]);
    assert_eq!(names(&axes, "distro"), ["debian-12"]);
    assert_eq!(names(&axes, "arch"), ["riscv64"]);
}

#[test]
fn a_selection_stands_for_the_choice_on_its_axis() {
    let buildfile = declared(PROFILES, Some("base"));
    let axes = resolved(&buildfile, &["otp=27"]).unwrap();
    assert_eq!(names(&axes, "otp"), ["27.3", "27.10"]);
    assert_eq!(names(&axes, "distro"), ["debian-12"]);
}

#[test]
fn selections_hold_together() {
    let buildfile = declared("", None);
    let axes = resolved(&buildfile, &["otp=>=27", "otp!=28", "distro.format=deb"]).unwrap();
    assert_eq!(names(&axes, "otp"), ["27.3", "27.10"]);
    assert_eq!(names(&axes, "distro"), ["debian-12", "debian-13"]);
    assert!(resolved(&buildfile, &["otp=26", "otp=27"]).unwrap_err().contains("nothing is left"));
}
