//! The environment variable that leads a program to its supervisor's control page.

/// Name of the variable: `<16 hex digits of the cookie>:<absolute path of the control file>`.
pub const VARIABLE: &[u8] = b"CVMFS_RUN_CONTROL";

const DIGITS: usize = 16;

/// Cookie and path out of the variable's value; `None` if it is not well-formed.
pub fn parse(value: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, rest) = value.split_at_checked(DIGITS)?;
    let path = rest.strip_prefix(b":").filter(|path| path.starts_with(b"/"))?;
    let cookie = digits.iter().try_fold(0, |cookie: u64, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(cookie << 4 | u64::from(digit))
    })?;
    Some((cookie, path))
}

/// The variable's value.
#[cfg(feature = "std")]
pub fn value(cookie: u64, path: &std::path::Path) -> std::ffi::OsString {
    let mut value = std::ffi::OsString::from(std::format!("{cookie:016x}:"));
    value.push(path);
    value
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn what_is_written_is_read() {
        let value = value(0xfedc_ba98_0000_0001, std::path::Path::new("/a:b/c"));
        assert_eq!(parse(value.as_bytes()), Some((0xfedc_ba98_0000_0001, b"/a:b/c".as_slice())));
        for wrong in
            ["", "12:/a", "000000000000000g:/a", "0000000000000001", "0000000000000001:a", "000000000000001é/a"]
        {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
