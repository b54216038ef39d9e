//! Variant symbolic links: `$(NAME)` and `$(NAME:-default)` in a link's target.

/// Whether expanding `target` could change it.
#[inline]
pub fn has_references(target: &[u8]) -> bool {
    target.windows(2).any(|window| window == b"$(")
}

/// Expands a link target, handing the pieces of the result to `emit` in order.
///
/// An undefined variable stands for its default, or for nothing. Values are not expanded again. An opening `$(`
/// that is not closed, or that ends the target, means itself.
pub fn expand<'v>(target: &[u8], value_of: impl Fn(&[u8]) -> Option<&'v [u8]>, mut emit: impl FnMut(&[u8])) {
    let mut rest = target;
    while let Some((literal, inside)) = split(rest, b"$(") {
        emit(literal);
        let Some((reference, after)) = split(inside, b")") else {
            emit(b"$(");
            rest = inside;
            continue;
        };
        let (name, default) = split(reference, b":-").unwrap_or((reference, &[]));
        emit(value_of(name).unwrap_or(default));
        rest = after;
    }
    emit(rest);
}

/// What is before and after the first `mark`.
fn split<'t>(text: &'t [u8], mark: &[u8]) -> Option<(&'t [u8], &'t [u8])> {
    let at = text.windows(mark.len()).position(|window| window == mark)?;
    Some((text.get(..at)?, text.get(at + mark.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_opened_reference_can_change_a_target() {
        for (target, result) in [("a/b", false), ("$A", false), ("a$(", true), ("$(A)", true), ("", false)] {
            assert_eq!(has_references(target.as_bytes()), result, "{target}");
        }
    }
}
