//! Shell patterns: `*`, `?`, `[...]`, backslash.

/// Whether the whole `text` matches `pattern`.
///
/// Linear in memory and at most quadratic in time: only the last `*` is ever gone back to.
pub(super) fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p + 1, t));
            p += 1;
        } else if let Some(width) = matches_one(&pattern[p..], text[t]) {
            p += width;
            t += 1;
        } else if let Some((after, from)) = retry {
            retry = Some((after, from + 1));
            (p, t) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How many characters of the pattern match `c`.
fn matches_one(pattern: &[char], c: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '\\' if pattern.len() > 1 => (pattern[1] == c).then_some(2),
        '[' => match set(pattern) {
            Some((width, negated, members)) => {
                let inside = members.iter().any(|(low, high)| (*low..=*high).contains(&c));
                (inside != negated).then_some(width)
            }
            None => (c == '[').then_some(1),
        },
        literal => (literal == c).then_some(1),
    }
}

type Ranges = Vec<(char, char)>;

/// The width of a `[...]`, whether it is negated, and its members; `None` when it is not closed.
fn set(pattern: &[char]) -> Option<(usize, bool, Ranges)> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some('!' | '^'));
    at += usize::from(negated);
    let mut members = Ranges::new();
    let first = at;
    loop {
        let c = match *pattern.get(at)? {
            ']' if at > first => return Some((at + 1, negated, members)),
            '\\' => {
                at += 1;
                *pattern.get(at)?
            }
            c => c,
        };
        at += 1;
        let range = pattern.get(at) == Some(&'-') && pattern.get(at + 1).is_some_and(|c| *c != ']');
        if range {
            at += 1;
            if pattern[at] == '\\' {
                at += 1;
            }
            members.push((c, *pattern.get(at)?));
            at += 1;
        } else {
            members.push((c, c));
        }
    }
}

/// `text` without the part at its start or end that matches `pattern`.
pub(super) fn trim(pattern: &[char], text: &str, suffix: bool, longest: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let cut = |n: usize| if suffix { &chars[chars.len() - n..] } else { &chars[..n] };
    let mut lengths: Box<dyn Iterator<Item = usize>> =
        if longest { Box::new((0..=chars.len()).rev()) } else { Box::new(0..=chars.len()) };
    match lengths.find(|n| matches(pattern, cut(*n))) {
        Some(n) if suffix => chars[..chars.len() - n].iter().collect(),
        Some(n) => chars[n..].iter().collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        let check = |p: &str, t: &str| matches(&p.chars().collect::<Vec<_>>(), &t.chars().collect::<Vec<_>>());
        for (p, t) in
            [("*", ""), ("a*b*c", "aXbYbc"), ("[a-c]?", "b."), ("[!a]", "b"), ("\\*", "*"), ("[", "["), ("[]]", "]")]
        {
            assert!(check(p, t), "{p} {t}");
        }
        for (p, t) in [("a", "ab"), ("*b", "a"), ("[!a]", "a"), ("\\*", "x"), ("?", "")] {
            assert!(!check(p, t), "{p} {t}");
        }
    }
}
