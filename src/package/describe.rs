use crate::digest::Visitor;

/// Numbered from 1, so that an explanation can tell two items apart.
pub(super) fn describe_list(visitor: &mut dyn Visitor, name: &str, items: &[String]) {
    visitor.enter(name);
    for (at, item) in items.iter().enumerate() {
        visitor.field(&(at + 1).to_string(), item);
    }
    visitor.leave();
}
